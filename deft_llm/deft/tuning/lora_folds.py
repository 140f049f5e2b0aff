"""DEFT-LLM on flow images, tuned by LoRA within each fold of a benchmark.

The training question asks for the class of a clip, in the wording of stage 3; the answers are the
labels of the fold's training clips. The experts are frozen, so that their tokens are computed once
per fold. The adapters on the language model are merged into a copy of it for the fold's test
clips.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor

from deft_llm.config import validate_settings
from deft_llm.deft.inference.calibration import LABEL_SETS
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.flow_classifier import DeftFlowClassifier, OffsetPhase
from deft_llm.deft.inference.scoring import answered
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftProcessor, padded
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.motion.encoding import mirror_flow
from deft_llm.training.loop import Batch, fit
from deft_llm.training.schedule import Schedule

LABELS = "three"
_ENCODED = 64  # images encoded at a time
_EXPERT = "expert_tokens."  # name prefix: a batch of the loop is a flat dictionary of tensors


class DeftLora(DeftFlowClassifier):
    """A classical recognizer (``recognizers/base.py``): LoRA tuning on a fold's training clips.

    Every step draws all classes equally often, because the score is a mean over classes. Images
    and their mirror images are equally likely. The settings are our own choice, made on simulated
    people.

    Args:
        classes: Must be 3, the classes of MEGC2019.
        checkpoint: Folder of the model that each fold starts from.
        offset_phase: See ``DeftFlowClassifier``.
        rank: Rank of the adapters; their scale is twice the rank.
        steps: Optimizer steps of AdamW, with a cosine schedule.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        seed: Seed of adapters and order.

    Raises:
        UserError: If the checkpoint cannot be read, or a setting is invalid.
    """

    def __init__(
        self,
        classes: int,
        checkpoint: str,
        offset_phase: OffsetPhase = "opposite",
        rank: int = 8,
        steps: int = 60,
        batch_size: int = 24,
        learning_rate: float = 1.5e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, checkpoint, offset_phase)
        self.rank, self.batch_size, self.seed = rank, batch_size, seed
        rates = {"learning_rate": learning_rate, "shape": "cosine", "warmup": 0, "weight_decay": 0}
        self.schedule = validate_settings(Schedule, {"steps": steps, **rates}, "deft_lora")
        # fit replaces explainer; every fold must start from the same untuned model.
        self.start = self.explainer

    def fit(self, inputs: dict[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        """Tune a copy of the model on N clips; labels are class indices (N,)."""
        torch.manual_seed(self.seed)
        tokens, processor = self._encoded(inputs["flow_uvs"]), self.start.processor
        text = TextModel(lora_rank=self.rank, lora_alpha=2 * self.rank)
        tuned = with_adapters(
            # A copy, because PEFT puts its layers into the model itself.
            copy.deepcopy(self.start.model),
            text,
            processor.tokenizer,
            freeze_experts=True,
        )
        task = FoldTask(tuned, processor, tokens, labels, self.batch_size, self.seed)
        fit(task, self.schedule, None, cpu=True)  # the explainer's model is on the CPU as well
        merged: DeftForConditionalGeneration = tuned.merge_and_unload()
        self.explainer = Explainer(merged, processor, self.start.calibration)

    @torch.no_grad()
    def _encoded(self, flow_uvs: NDArray[np.float32]) -> dict[str, Tensor]:
        """Expert tokens of N images, followed by those of their mirror images."""
        both = np.concatenate([flow_uvs, mirror_flow(flow_uvs)])
        found = [self.encode(both[i : i + _ENCODED]) for i in range(0, len(both), _ENCODED)]
        return {name: torch.cat([tokens[name] for tokens in found]) for name in found[0]}


class FoldTask:
    """Class questions about a fold's clips, as a task for ``training/loop.py``.

    Args:
        model: DEFT-LLM with adapters.
        processor: Its processor.
        tokens: Expert -> tokens (2 N, T, D) of N clips, followed by their mirror images.
        labels: Class indices (N,).
        batch_size: Clips per step.
        seed: Seed of the order.
    """

    def __init__(
        self,
        model: PeftModel,
        processor: DeftProcessor,
        tokens: dict[str, Tensor],
        labels: NDArray[np.int64],
        batch_size: int,
        seed: int,
    ) -> None:
        self.model: torch.nn.Module = model
        self.adapted, self.tokens, self.labels = model, tokens, labels
        self.batch_size, self.seed = batch_size, seed
        kind, names = LABEL_SETS[LABELS]
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
