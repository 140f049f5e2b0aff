"""DEFT-LLM on precomputed flow images: the motion expert alone, without labels of the data.

Published flow images (``data/flow_images.py``) hold the direction of the motion from onset to
apex, but neither its amplitude, nor the motion after the apex, nor the face. Structure and texture
are ablated, amplitude and region table are withheld as in training (``amplitude_dropout``). The
class is the language model's likeliest label.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft_llm import facs
from deft_llm.answers import stated_aus
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.processing_deft import CLIP_TOKEN
from deft_llm.errors import UserError
from deft_llm.motion.encoding import encode_flow, mirror_flow

ABLATED = ("structure", "texture")
_BATCH = 32
_ANSWER = 60  # token limit of an answer that names AUs
OffsetPhase = Literal["opposite", "none"]


class DeftFlowClassifier:
    """A classical recognizer (``recognizers/base.py``) that is not trained on its folds.

    Args:
        classes: Must be 3, the classes of MEGC2019.
        checkpoint: Folder of the model.
        offset_phase: Substitute for the missing offset phase: "opposite", the onset phase
            reversed (a micro-expression returns the way it came; our own choice), or "none",
            zeros.
    """

    inputs: tuple[str, ...] = ("flow_uvs",)

    def __init__(
        self, classes: int, checkpoint: str, offset_phase: OffsetPhase = "opposite"
    ) -> None:
        if classes != len(facs.THREE_CLASSES):
            raise UserError(
                f"DEFT-LLM on flow: {classes} classes; expected {', '.join(facs.THREE_CLASSES)}"
            )
        if offset_phase not in ("opposite", "none"):
            raise UserError(
                f"DEFT-LLM on flow: offset_phase {offset_phase!r}; expected 'opposite' or 'none'"
            )
        self.explainer, self.offset_phase = _loaded(checkpoint), offset_phase

    def fit(self, inputs: dict[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        """Do nothing: the model is used as it is."""

    @torch.inference_mode()
    def predict_proba(self, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Calibrated class probabilities (N, 3) of ``flow_uvs`` (N, 3, S, S).

        Log-likelihoods are averaged over an image and its mirror image, as a class has no side.
        """
        parts = []
        for first in range(0, len(inputs["flow_uvs"]), _BATCH):
            images = inputs["flow_uvs"][first : first + _BATCH]
            seen = [
                self.explainer.likelihoods(self.encode(flow), "three").double()
                for flow in (images, mirror_flow(images))
            ]
            both = torch.stack(seen).mean(0)
            parts.append(self.explainer.calibration.probabilities("three", both))
        probabilities: NDArray[np.float64] = torch.cat(parts).cpu().numpy()
        return probabilities

    @torch.inference_mode()
    def named_aus(self, flow_uvs: NDArray[np.float32]) -> list[frozenset[int]]:
        """AU numbers named in the generated answers, for ``flow_uvs`` (N, 3, S, S)."""
        question = self.explainer.processor.prompts["aus"]
        asked = [{"role": "user", "content": CLIP_TOKEN + question}]
        answers: list[str] = []
        for first in range(0, len(flow_uvs), _BATCH):
            tokens = self.encode(flow_uvs[first : first + _BATCH])
            answers += self.explainer.generate(tokens, asked, max_new_tokens=_ANSWER)
        return [stated_aus(text) for text in answers]

    def encode(self, flow_uvs: NDArray[np.float32]) -> dict[str, Tensor]:
        """Expert tokens of flow images (N, 3, S, S) in the encoding ``medsqrt``."""
        model = self.explainer.model
        clips = clip_inputs(model.config, flow_uvs, self.offset_phase)
        return model.get_clip_features(
            ABLATED, **{name: values.to(model.device) for name, values in clips.items()}
        )


def clip_inputs(
    config: DeftConfig, flow_uvs: NDArray[np.float32], offset_phase: OffsetPhase = "opposite"
) -> dict[str, Tensor]:
    """The experts' inputs for flow images; inputs that the images lack are zero.

    Args:
        config: The model's configuration.
        flow_uvs: (N, 3, S, S) in the encoding ``medsqrt``.
        offset_phase: See ``DeftFlowClassifier``.
    """
    onset_phase = as_trained(flow_uvs, config.map_size)
    back = torch.zeros_like(onset_phase)
    if offset_phase == "opposite":
        back = onset_phase * torch.tensor([-1.0, -1.0, 1.0]).view(
            3, 1, 1
        )  # strain has no direction
    clips = len(onset_phase)
    side, frames = config.texture_size, config.texture_frames
    return {
        "structure": torch.zeros(clips, 3, config.structure_size, config.structure_size),
        "texture": torch.zeros(clips, frames, side, side),
        "flow": torch.stack([onset_phase, back], dim=1),
        # Zeros with a zero availability flag: the form that amplitude dropout gives in training.
        "flow_scale": torch.zeros(clips, 2, 4),
        "regions": torch.zeros(clips, 2, len(facs.REGIONS), len(REGION_COLUMNS)),
    }


@lru_cache(maxsize=2)
def _loaded(checkpoint: str) -> Explainer:
    # Cached: each fold creates a new recognizer, and all of them use the same checkpoint.
    return Explainer.load(Path(checkpoint))


def as_trained(flow_uvs: NDArray[np.float32], side: int) -> Tensor:
    """``medsqrt`` images -> the motion expert's training encoding, (N, 3, side, side).

    The square root is undone before the images are enlarged. ``medsqrt`` has moved the zero of the
    strain to its median. Strain is not negative and is zero somewhere, so its minimum is its zero.
    """
    flow = torch.from_numpy(np.sign(flow_uvs) * flow_uvs**2)
    flow[:, 2] -= flow[:, 2].amin((1, 2), keepdim=True)
    larger = F.interpolate(flow, size=(side, side), mode="bilinear", align_corners=False)
    return torch.from_numpy(encode_flow(larger.numpy())[0])
