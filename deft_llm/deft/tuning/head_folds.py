"""DEFT-LLM's emotion head on measured clips, tuned within each fold of a benchmark.

Experts and language model stay as they are. The head is small and the clips of a fold are few, so
every step sees all of them and their mirror images, each class with the same weight.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from deft_llm.config import Settings, validate_settings
from deft_llm.deft.inference.clip_classifier import DeftHeads
from deft_llm.deft.tuning.lora_folds import Arrays, both_sides
from deft_llm.resources import EMBEDDED

_LEAST = 1e-9  # probability of a class that the head does not know


class HeadTuning(Settings):
    """How the head of a fold is trained; our own choice.

    Attributes:
        steps: Steps of AdamW, each over all clips.
        learning_rate: Constant.
        weight_decay: Of AdamW.
    """

    steps: int = Field(default=60, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class DeftHeadsTuned(DeftHeads):
    """A classical recognizer (``recognizers/base.py``): the head learns the labels of a fold.

    Args:
        classes: Number of classes.
        labels: Their names.
        checkpoint: Folder of the model that each fold starts from.
        **tuning: Fields of :class:`HeadTuning`.

    Raises:
        UserError: If the checkpoint cannot be read, or a setting is invalid.
    """

    def __init__(
        self, classes: int, labels: Sequence[str], checkpoint: str = EMBEDDED, **tuning: Any
    ) -> None:
        super().__init__(classes, labels, checkpoint)
        self.tuning = validate_settings(HeadTuning, tuning, "deft_heads_tuned")

    def fit(self, inputs: Arrays, labels: NDArray[np.int64]) -> None:
        """Tune a copy of the head on N clips; labels are class indices (N,)."""
        tokens = both_sides(self, inputs)
        truth = torch.from_numpy(np.concatenate([labels, labels]))
        # From the checkpoint's again: the head may have been fitted before.
        self.heads = copy.deepcopy(self.explainer.model.heads)
        self.heads.emotion.train().requires_grad_(True)
        optimizer = torch.optim.AdamW(
            self.heads.emotion.parameters(),
            lr=self.tuning.learning_rate,
            weight_decay=self.tuning.weight_decay,
        )
        for _ in range(self.tuning.steps):
            optimizer.zero_grad()
            self._loss(tokens, truth).backward()
            optimizer.step()
        self.heads.eval()

    def _loss(self, tokens: dict[str, Tensor], truth: Tensor) -> Tensor:
        """Cross-entropy, averaged within each class present and then over classes."""
        rows = self._probabilities(tokens).clamp(min=_LEAST).log()
        losses = -rows[torch.arange(len(truth)), truth]
        return torch.stack([losses[truth == c].mean() for c in truth.unique()]).mean()
