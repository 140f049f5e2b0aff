"""Learning rate and length of training: the settings that all trainings share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from deft_llm.config import Settings

if TYPE_CHECKING:
    from torch.optim import Optimizer

Shape = Literal["constant", "onecycle", "cosine", "whole_cosine"]


class LearningRate(Settings):
    """Learning rate and weight decay, independent of the length of the run.

    Attributes:
        learning_rate: Peak learning rate.
        shape: "constant" stays at the peak from the first step on. "onecycle" falls linearly and
            "cosine" along half a cosine, both after the warm-up. "whole_cosine" is half a cosine
            over all steps, damped by the warm-up at the beginning.
        warmup: Share of the steps with a rising rate.
        weight_decay: Weight decay of the optimizer.
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    shape: Shape = "onecycle"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a 0-based step in a run of ``steps`` steps."""
        if self.shape == "constant":
            return self.learning_rate
        peak, rising = self.learning_rate, self.warmup * steps
        if step < rising:
            # + 1, so that the first step already has a rate above zero.
            peak = peak * (step + 1) / (rising + 1)
            if self.shape != "whole_cosine":
                return peak
        begun = 0.0 if self.shape == "whole_cosine" else rising
        if self.shape == "onecycle":
            # Reaches 0 one step after the last, so that the last one still learns.
            return peak * (1 - (step - begun) / (steps - begun))
        return peak * 0.5 * (1 + math.cos(math.pi * (step - begun) / (steps - begun)))

    def set_rate(self, optimizer: Optimizer, step: int, steps: int) -> None:
        """Give all groups of an optimizer the :meth:`rate` of a step."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(step, steps)


class Schedule(LearningRate):
    """Training schedule in optimizer steps.

    Attributes:
        steps: Optimizer steps.
        accumulate: Batches per optimizer step.
        optimizer: "adamw", or "muon" for linear layers and convolutions with AdamW for the rest.
        clip: Largest norm of the gradient; 0 does not clip.
        bf16: Run under bfloat16 autocast if the machine is fast at it (``takes_bfloat16``).
        save_every: Steps between checkpoints.
        log_every: Steps between rows of the log.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        loaders: Processes that prepare batches; 0 prepares them in the training process.
    """

    steps: int = Field(ge=1)
    accumulate: int = Field(default=1, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    clip: float = Field(default=1.0, ge=0)
    bf16: bool = False
    save_every: int = Field(default=500, ge=1)
    log_every: int = Field(default=20, ge=1)
    evaluate_every: int = Field(default=0, ge=0)
    loaders: int = Field(default=0, ge=0)
