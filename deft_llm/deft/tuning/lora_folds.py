"""DEFT-LLM on flow images or measured clips, tuned by LoRA within each fold of a benchmark.

The training question asks for the class of a clip, in the wording of stage 3; the answers are the
labels of the fold's training clips. The experts are frozen, so that their tokens are computed once
per fold. The adapters on the language model are merged into a copy of it for the fold's test
clips.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from pydantic import Field
from torch import Tensor

from deft_llm.config import Settings, validate_settings
from deft_llm.data.inputs import mirror_inputs
from deft_llm.deft.inference.calibration import LABEL_SETS
from deft_llm.deft.inference.clip_classifier import DeftClipClassifier, DeftRecognizer
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.flow_classifier import DeftFlowClassifier, OffsetPhase
from deft_llm.deft.inference.scoring import answered
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftProcessor, padded
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.motion.encoding import mirror_flow
from deft_llm.resources import EMBEDDED
from deft_llm.training.loop import Batch, fit
from deft_llm.training.schedule import Schedule

LABELS = "three"
_ENCODED = 64  # clips encoded at a time
_EXPERT = "expert_tokens."  # name prefix: a batch of the loop is a flat dictionary of tensors
Arrays = dict[str, NDArray[np.float32]]


class LoraTuning(Settings):
    """How the adapters of a fold are trained; our own choice, made on simulated people.

    Every step draws all classes equally often, because the score is a mean over classes. Clips and
    their mirror images are equally likely.

    Attributes:
        rank: Rank of the adapters; their scale is twice the rank.
        steps: Optimizer steps of AdamW, with a cosine schedule.
        batch_size: Clips per step.
        learning_rate: Peak learning rate.
        seed: Seed of adapters and order.
    """

    rank: int = Field(default=8, ge=1)
    steps: int = Field(default=60, ge=1)
    batch_size: int = Field(default=24, ge=1)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    seed: int = 0

    @property
    def schedule(self) -> Schedule:
        """For the loop."""
        rates: dict[str, Any] = {"learning_rate": self.learning_rate, "shape": "cosine"}
        return Schedule(steps=self.steps, **rates, warmup=0, weight_decay=0)


class DeftLora(DeftFlowClassifier):
    """A classical recognizer (``recognizers/base.py``): LoRA tuning on a fold's flow images.

    Args:
        classes: Must be 3, the classes of MEGC2019.
        checkpoint: Folder of the model that each fold starts from.
        offset_phase: See ``DeftFlowClassifier``.
        **tuning: Fields of :class:`LoraTuning`.

    Raises:
        UserError: If the checkpoint cannot be read, or a setting is invalid.
    """

    def __init__(
        self,
        classes: int,
        checkpoint: str,
        offset_phase: OffsetPhase = "opposite",
        **tuning: Any,
    ) -> None:
        super().__init__(classes, checkpoint, offset_phase)
        self.tuning = validate_settings(LoraTuning, tuning, "deft_lora")
        # fit replaces explainer; every fold must start from the same untuned model.
        self.start = self.explainer

    def fit(self, inputs: Arrays, labels: NDArray[np.int64]) -> None:
        """Tune a copy of the model on N clips; labels are class indices (N,)."""
        images = inputs["flow_uvs"]
        both = np.concatenate([images, mirror_flow(images)])
        with torch.no_grad():
            tokens = _joined(self.encode(both[i]) for i in _parts(len(both)))
        self.explainer = tuned(self.start, tokens, labels, LABEL_SETS[LABELS], self.tuning)


class DeftClipsLora(DeftClipClassifier):
    """The same on measured clips, with all experts, for any label scheme.

    Args:
        classes: Number of classes.
        labels: Their names.
        checkpoint: Folder of the model that each fold starts from.
        **tuning: Fields of :class:`LoraTuning`.

    Raises:
        UserError: If the checkpoint cannot be read, or a setting is invalid.
    """

    def __init__(
        self, classes: int, labels: Sequence[str], checkpoint: str = EMBEDDED, **tuning: Any
    ) -> None:
        super().__init__(classes, labels, checkpoint)
        self.tuning = validate_settings(LoraTuning, tuning, "deft_clips_lora")
        self.start = self.explainer

    def fit(self, inputs: Arrays, labels: NDArray[np.int64]) -> None:
        """Tune a copy of the model on N clips; labels are class indices (N,)."""
        # From the start again: the model may have been fitted before.
        self.explainer = self.start
        asked = (self.question, self.labels)
        self.explainer = tuned(self.start, both_sides(self, inputs), labels, asked, self.tuning)


def both_sides(model: DeftRecognizer, inputs: Arrays) -> dict[str, Tensor]:
    """Expert tokens (2 N, T, D) of N clips, followed by those of their mirror images."""
    clips = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
    mirrored = {name: x.numpy() for name, x in mirror_inputs(clips).items()}
    with torch.no_grad():
        return _joined(model.encoded(part) for part in (inputs, mirrored))


def tuned(
    start: Explainer,
    tokens: dict[str, Tensor],
    labels: NDArray[np.int64],
    asked: tuple[str, Sequence[str]],
    tuning: LoraTuning,
) -> Explainer:
    """A copy of a model with adapters, trained and merged.

    Args:
        start: The model, which stays as it is.
        tokens: Expert tokens (2 N, T, D) of N clips, followed by those of their mirror images.
        labels: Class indices (N,).
        asked: Kind of question, and the answer of each class.
        tuning: Settings.
    """
    torch.manual_seed(tuning.seed)
    text = TextModel(lora_rank=tuning.rank, lora_alpha=2 * tuning.rank)
    # A copy, because PEFT puts its layers into the model itself.
    adapted = with_adapters(
        copy.deepcopy(start.model), text, start.processor.tokenizer, freeze_experts=True
    )
    task = FoldTask(adapted, start.processor, tokens, labels, asked, tuning)
    fit(task, tuning.schedule, None, cpu=True)  # the explainer's model is on the CPU as well
    merged: DeftForConditionalGeneration = adapted.merge_and_unload()
    return Explainer(merged, start.processor, start.calibration)


def _parts(count: int) -> list[slice]:
    return [slice(i, i + _ENCODED) for i in range(0, count, _ENCODED)]


def _joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    found = list(parts)
    return {name: torch.cat([tokens[name] for tokens in found]) for name in found[0]}


class FoldTask:
    """Class questions about a fold's clips, as a task for ``training/loop.py``.

    Args:
        model: DEFT-LLM with adapters.
        processor: Its processor.
        tokens: Expert -> tokens (2 N, T, D) of N clips, followed by their mirror images.
        labels: Class indices (N,).
        asked: Kind of question, and the answer of each class.
        tuning: Clips per step, and the seed of the order.
    """

    def __init__(
        self,
        model: PeftModel,
        processor: DeftProcessor,
        tokens: dict[str, Tensor],
        labels: NDArray[np.int64],
        asked: tuple[str, Sequence[str]],
        tuning: LoraTuning,
    ) -> None:
        self.model: torch.nn.Module = model
        self.adapted, self.tokens, self.labels = model, tokens, labels
        self.batch_size, self.seed = tuning.batch_size, tuning.seed
        kind, names = asked
        self.conversations = answered(processor, processor.prompts[kind], names)
        self.pad = processor.tokenizer.pad_token_id

    def batch(self, index: int) -> dict[str, Tensor]:
        """Batch number ``index``: conversations about clips, each randomly mirrored or not."""
        rng = np.random.default_rng([self.seed, index])
        rows = balanced_rows(self.labels, self.batch_size, rng)
        # Rows N..2N of the tokens are the mirror images; a class has no side, so the label stays.
        shown = torch.from_numpy(rows + len(self.labels) * rng.integers(0, 2, len(rows)))
        return {
            **padded([self.conversations[self.labels[row]] for row in rows], self.pad),
            **{f"{_EXPERT}{name}": tokens[shown] for name, tokens in self.tokens.items()},
        }

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The language model's loss on the answers."""
        return {"loss": self._output(batch).loss}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Logits of the conversations' tokens (B, L, vocabulary)."""
        logits: Tensor = self._output(batch).logits
        return logits

    def _output(self, batch: Batch) -> Any:
        words = {name: x for name, x in batch.items() if not name.startswith(_EXPERT)}
        tokens = {n.removeprefix(_EXPERT): x for n, x in batch.items() if n.startswith(_EXPERT)}
        return self.model(**words, expert_tokens=tokens)

    def evaluate(self) -> dict[str, float]:
        """No scores: all training clips of a fold are used for training."""
        return {}

    def save(self, folder: Path) -> None:
        """Save the adapters."""
        self.adapted.save_pretrained(folder)


def balanced_rows(
    labels: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows drawn with replacement, from each class present in turn."""
    present = np.unique(labels)
    classes = present[np.arange(count) % len(present)]
    return np.array([rng.choice(np.flatnonzero(labels == c)) for c in classes])
