"""How fast and how long to learn: the settings that all trainings share, and the rate of a step."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from deft_llm.config import Settings

Shape = Literal["constant", "onecycle", "cosine", "whole_cosine"]


class LearningRate(Settings):
    """How fast to learn, whatever a run is counted in.

    Attributes:
        learning_rate: Its peak.
        shape: "constant" stays at the peak from the first step on. "onecycle" falls linearly and
            "cosine" along half a cosine, both after the warm-up. "whole_cosine" is half a cosine
            over all steps, which the warm-up damps at its beginning.
        warmup: Share of the steps with a rising rate.
        weight_decay: The optimizer's.
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    shape: Shape = "onecycle"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, 0-based, of a run of so many steps."""
        if self.shape == "constant":
            return self.learning_rate
        peak, rising = self.learning_rate, self.warmup * steps
        if step < rising:
            peak = peak * (step + 1) / (rising + 1)
            if self.shape != "whole_cosine":
                return peak
        begun = 0.0 if self.shape == "whole_cosine" else rising
        if self.shape == "onecycle":
            return peak * (1 - (step - begun) / (steps - begun))
        return peak * 0.5 * (1 + math.cos(math.pi * (step - begun) / (steps - begun)))


class Schedule(LearningRate):
    """How fast and how long to learn, in optimizer steps.

    Attributes:
        steps: Optimizer steps.
        accumulate: Batches per optimizer step.
        optimizer: "adamw", or "muon" for linear layers and convolutions with AdamW for the rest.
        clip: Largest norm of the gradient; 0 leaves it.
        bf16: Run under bfloat16 autocast, where the machine is fast at it (``takes_bfloat16``).
        save_every: Steps between checkpoints.
        log_every: Steps between rows of the log.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        loaders: Processes that prepare batches; 0 prepares them in this one.
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
