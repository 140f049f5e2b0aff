"""DEFT-LLM on measured clips as a row of recognition tables: as it is, and its heads alone.

Neither learns from the clips that a benchmark trains on. As it is, the class is the label that the
language model finds likeliest as the whole answer, weighed with published codings of the AUs
(``codings.py``), so nothing has to be parsed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS
from deft_llm.data.features import Features
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED

_BATCH = 32
_FINE = "seven"  # label sets whose temperatures are used
_COARSE = "three"


class DeftRecognizer(ABC):
    """A classical recognizer (``recognizers/base.py``) that is not trained on its folds.

    Args:
        classes: Number of classes.
        labels: Their names: coarse classes ("negative") or emotions ("disgust").
        checkpoint: Folder of the model; "embedded" is the one that comes along.

    Raises:
        UserError: If the checkpoint cannot be read.
    """

    inputs: tuple[str, ...] = ("onset", "texture", "flow", "regions")

    def __init__(self, classes: int, labels: Sequence[str], checkpoint: str = EMBEDDED) -> None:
        assert classes == len(labels), (classes, labels)
        self.labels = tuple(labels)
        self.coarse = set(labels) <= set(COARSE_LABELS)
        self.question = "class" if self.coarse else "emotion"
        self.explainer = _loaded(checkpoint)

    def fit(self, inputs: dict[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        """Keep nothing: the model is used as it is."""
        del inputs, labels

    @torch.inference_mode()
    def predict_proba(self, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Class probabilities (N, classes).

        Raises:
            UserError: If the clips were measured for another size of maps.
        """
        tokens = self.encoded(inputs)
        count = len(next(iter(inputs.values())))
        parts = [
            self._probabilities({name: x[i : i + _BATCH] for name, x in tokens.items()})
            for i in range(0, count, _BATCH)
        ]
        found: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
        return found

    @torch.no_grad()
    def encoded(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, Tensor]:
        """Expert tokens of N clips.

        Raises:
            UserError: If the clips were measured for another size of maps.
        """
        self._require_sizes(inputs)
        clips: list[Features] = [
            dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)
        ]
        found = [self.explainer.encode(clips[i : i + _BATCH]) for i in range(0, len(clips), _BATCH)]
        return {name: torch.cat([tokens[name] for tokens in found]) for name in found[0]}

    @abstractmethod
    def _probabilities(self, tokens: dict[str, Tensor]) -> Tensor:
        """Class probabilities (B, classes) of encoded clips."""

    def _require_sizes(self, inputs: dict[str, NDArray[np.float32]]) -> None:
        sizes = self.explainer.sizes
        wanted = {
            "onset": (sizes.structure, sizes.structure, 3),
            "texture": (sizes.texture_frames, sizes.texture, sizes.texture),
            "flow": (2, 3, sizes.flow, sizes.flow),
        }
        for name, shape in wanted.items():
            if inputs[name].shape[1:] != shape:
                raise UserError(
                    f"DEFT-LLM: {name} of shape {inputs[name].shape[1:]}; this checkpoint expects "
                    f"{shape}: take one with the usual sizes"
                )


class DeftClipClassifier(DeftRecognizer):
    """The whole model by label likelihood, over the labels of the benchmark alone."""

    def _probabilities(self, tokens: dict[str, Tensor]) -> Tensor:
        label_set = _COARSE if self.coarse else _FINE
        found = self.explainer.label_scores(tokens, self.question, self.labels, label_set)
        return self.explainer.calibration.probabilities(label_set, found)


class DeftHeads(DeftRecognizer):
    """The emotion head on the experts' tokens; the language model does not run.

    Args:
        classes: Number of classes.
        labels: Their names.
        checkpoint: Folder of the model.

    Raises:
        UserError: If the checkpoint cannot be read.
    """

    def __init__(self, classes: int, labels: Sequence[str], checkpoint: str = EMBEDDED) -> None:
        super().__init__(classes, labels, checkpoint)
        self.heads = self.explainer.model.heads

    def _probabilities(self, tokens: dict[str, Tensor]) -> Tensor:
        emotions, _ = self.heads(tokens)
        columns = emotions.softmax(-1).cpu()
        found = torch.zeros(len(columns), len(self.labels))
        for k, name in enumerate(self.explainer.model.config.emotions):
            label = self._label_of(name)
            if label is not None:
                # Several emotions may fall into one class: their probabilities add up.
                found[:, self.labels.index(label)] += columns[:, k]
        # Over the benchmark's classes alone, whatever the head gives to others.
        return found / found.sum(1, keepdim=True).clamp(min=1e-12)

    def _label_of(self, emotion: str) -> str | None:
        """The class of one of the head's emotions; None for another, and for no emotion."""
        if emotion not in facs.LABELS:
            return None
        label = facs.to_scheme(emotion, "4") if self.coarse else emotion
        return label if label in self.labels else None


class DeftAus(DeftRecognizer):
    """The AU head, asked for one action unit: absent, or present on either side.

    Args:
        classes: Two.
        labels: "absent" and "present".
        au: FACS number.
        checkpoint: Folder of the model.
    """

    def __init__(
        self, classes: int, labels: Sequence[str], au: int, checkpoint: str = EMBEDDED
    ) -> None:
        super().__init__(classes, labels, checkpoint)
        self.au = au

    def _probabilities(self, tokens: dict[str, Tensor]) -> Tensor:
        _, aus = self.explainer.model.heads(tokens)
        known = list(self.explainer.model.config.aus)
        # A unit without an output is never named.
        named = torch.zeros(len(aus))
        if self.au in known:
            named = aus[:, known.index(self.au)].sigmoid().amax(-1).cpu()
        return torch.stack([1 - named, named], dim=1)


@lru_cache(maxsize=2)
def _loaded(checkpoint: str) -> Explainer:
    # Cached: each fold makes a new recognizer, and all of them use the same checkpoint.
    return Explainer.load(checkpoint)
