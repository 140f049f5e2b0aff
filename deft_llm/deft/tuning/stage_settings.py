"""Settings of the stages of ``train_configs/deft``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from deft_llm.deft.inference.said import STRUCTURED
from deft_llm.deft.inference.verifier import WEIGHTS
from deft_llm.errors import did_you_mean
from deft_llm.training.schedule import Schedule

ModuleName = Literal["experts", "heads", "projectors", "language_model"]
LABELS = "labels"
"""The one reward that reads a label, for comparison; its weight is 0 unless a recipe says more."""


class Stage(Schedule):
    """One stage of training, on ``transformers.Trainer``.

    Attributes:
        steps: Optimizer steps; 0 skips the stage.
        batch_size: Clips (experts) or conversations (projectors, instruct) per step and process.
        learning_rates: Module of the model -> its own peak. Adapters count as the language model.
        gradient_checkpointing: Recompute the language model's activations in the backward pass
            instead of storing them.
        packing: Tokens of a row that conversations share without seeing each other, in place of
            padding (projectors, instruct); 0 gives each a row of its own.
        freeze_experts: Freeze experts and heads (instruct only).
        perturb: Change every clip a little each time it is shown (experts only;
            ``data/perturbation.py``).
        evaluate_every: Always 0: ``validation`` of the recipe is for all stages.
        loaders: Always 0: batches are prepared in the training process.
    """

    steps: int = Field(ge=0)
    batch_size: int = Field(default=32, ge=1)
    learning_rates: dict[ModuleName, float] = Field(default_factory=dict)
    shape: Literal["constant", "onecycle", "cosine"] = "cosine"
    weight_decay: float = Field(default=0.01, ge=0)
    bf16: bool = True
    gradient_checkpointing: bool = False
    save_every: int = Field(default=200, ge=1)
    packing: int = Field(default=0, ge=0)
    freeze_experts: bool = False
    perturb: bool = False
    evaluate_every: Literal[0] = 0
    loaders: Literal[0] = 0


class RewardStage(Stage):
    """The stage that rewards what the measurement bears out (``reward.py``).

    Attributes:
        batch_size: Clips per step and process; each is answered ``samples`` times.
        samples: Answers to a question, the group that an advantage is normalised in.
        temperature: Of the sampling, and of the likelihoods that are trained.
        longest: Tokens after which an answer is cut off.
        tokens: Length from which an answer loses reward.
        kl: Weight of the divergence from the model before, per token.
        most_kl: Mean divergence per token of a batch at which the stage stops, with the weights of
            the last step below it.
        questions: Type of question -> how often it is asked about each clip and its mirror image
            in an epoch; "query" asks a question of the chat, whose answer is a call of the tool.
        weights: Reward -> its weight (``verifier.WEIGHTS``); those left out keep theirs. "labels"
            rewards the coded class and AUs, to compare with.
        measured_on: "another" rewards by the measurement of another clip: the control that must
            gain nothing.
        freeze_experts: Always true: experts and heads stay, and their tokens are kept.
    """

    steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    samples: int = Field(default=8, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    longest: int = Field(default=320, ge=8)
    tokens: int = Field(default=256, ge=8)
    kl: float = Field(default=0.02, ge=0)
    most_kl: float = Field(default=1.0, gt=0)
    questions: dict[str, int] = Field(default={STRUCTURED: 3, "class": 1}, min_length=1)
    weights: dict[str, float] = Field(default_factory=dict, validate_default=True)
    measured_on: Literal["own", "another"] = "own"
    packing: Literal[0] = 0
    perturb: Literal[False] = False
    freeze_experts: Literal[True] = True

    @field_validator("questions")
    @classmethod
    def _asked_about_one_clip(cls, questions: dict[str, int]) -> dict[str, int]:
        for name, times in questions.items():
            if name not in QUESTIONS:
                hint = did_you_mean(name, QUESTIONS) or f"; expected some of {', '.join(QUESTIONS)}"
                raise ValueError(f"{name!r} is no question that is rewarded{hint}")
            if times < 0:
                raise ValueError(f"{name}: {times}, expected 0 or more")
        if not any(questions.values()):
            raise ValueError("nothing is asked: give one of them a number above 0")
        return questions

    @field_validator("weights")
    @classmethod
    def _complete(cls, weights: dict[str, float]) -> dict[str, float]:
        known = {**WEIGHTS, LABELS: 0.0}
        for name, weight in weights.items():
            if name not in known:
                hint = did_you_mean(name, known) or f"; expected some of {', '.join(known)}"
                raise ValueError(f"{name!r} is no reward{hint}")
            if weight < 0:
                raise ValueError(f"{name}: {weight}, expected 0 or more")
        complete = {**known, **weights}
        if not any(complete.values()):
            raise ValueError("all weights are 0: nothing would be rewarded")
        return complete


QUESTIONS: tuple[str, ...] = (STRUCTURED, "class", "emotion", "aus", "motion", "why", "query")
"""Types of questions that the reward stage asks."""
