"""One model on one test set: what every measure is taken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.evaluation.explanation.replies import Reply, ask
from deft_llm.evaluation.explanation.scores import class_uf1
from deft_llm.simulator.scene.clip_spec import ClipSpec


@dataclass(frozen=True)
class Trial:
    """One model on one test set.

    Attributes:
        explainer: The model.
        train: Recipes of its training clips.
        clips: The test clips.
        replies: Its replies, one per clip.
        label_sets: Some of "three", "seven".
        numbers: FACS numbers of the AUs that are scored.
        probe: Clips of the identity probe; empty if it is not run.
        train_data: Data folder that the logistic regression is trained on, or None.
    """

    explainer: Explainer
    train: Sequence[ClipSpec]
    clips: Sequence[MeasuredClip]
    replies: Sequence[Reply]
    label_sets: Sequence[str]
    numbers: Sequence[int]
    probe: Sequence[MeasuredClip] = ()
    train_data: Path | None = None

    @cached_property
    def uf1(self) -> float:
        """UF1 of three classes, by label likelihood."""
        return class_uf1(self.clips, (r.likeliest("three") for r in self.replies))

    def ablated_uf1(self, *experts: str) -> float:
        """The same with these experts ablated."""
        replies = ask(self.explainer, self.clips, experts, write=False)
        return class_uf1(self.clips, (r.likeliest("three") for r in replies))
