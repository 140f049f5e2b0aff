"""MOL trained with all its heads in one call, as a benchmark's row.

``fit`` gets the training clips of one fold, as of any recognizer without gradients: the joint loss
needs targets that no common trainer of folds knows. Labels may be hidden for a share of the clips;
their flow and landmarks still teach. Each step sees as many labelled clips with and without the
other heads, every class as often, so that rows of a table differ in the heads alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from tqdm import trange

from deft_llm.config import validate_settings
from deft_llm.data.raw_frames import RAW_SIDE
from deft_llm.recognizers.mol import MOL
from deft_llm.recognizers.mol_examples import (
    JointSettings,
    JointTargets,
    known_share,
    neighbour_flow,
)
from deft_llm.recognizers.mol_losses import NO_CLASS, Targets, joint_losses
from deft_llm.training.schedule import LearningRate, Shape

Floats = NDArray[np.float32]
_CLIPS_AT_ONCE = 8  # in prediction


class JointTraining(JointSettings, LearningRate):
    """How MOL is trained in a fold.

    Attributes:
        steps: Optimizer steps.
        batch_size: Labelled clips of a step; as many without a label come along where there are
            such clips and heads that learn from them.
    """

    # Weight decay is that of the public code, which takes 1,000 steps of 32 clips at 1e-4.
    learning_rate: float = Field(default=5e-4, gt=0)
    shape: Shape = "cosine"
    weight_decay: float = Field(default=1e-3, ge=0)
    steps: int = Field(default=600, ge=1)
    batch_size: int = Field(default=16, ge=1)


class MolJoint:
    """MOL as a recognizer with ``fit`` and ``predict_proba``.

    Args:
        classes: Number of classes.
        training: Settings of ``JointTraining``.
        flow: Whether the flow head is trained.
        landmarks: Whether the landmark head is trained.
        flow_width: Width of the flow head.
        seed: Of initial weights, order, mirroring, shifts, and of which labels are hidden.
        **options: Further options of ``MOL``.
    """

    inputs: tuple[str, ...] = ("sub_clips", "landmarks")

    def __init__(
        self,
        classes: int,
        training: dict[str, Any] | None = None,
        flow: bool = True,
        landmarks: bool = True,
        flow_width: float = 0.0625,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.training = validate_settings(JointTraining, training or {}, "mol_joint: training")
        heads: dict[str, Any] = {"flow": flow, "landmarks": landmarks, "flow_width": flow_width}
        self.classes, self.options, self.seed = classes, {**heads, **options}, seed
        self.network = self._fresh()

    def _fresh(self) -> MOL:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return MOL(self.classes, **self.options)

    def fit(self, inputs: dict[str, Floats], labels: NDArray[np.int64]) -> None:
        """Train all heads of a new network on N clips; labels are class indices."""
        self.network = self._fresh()
        clips = torch.from_numpy(inputs["sub_clips"])
        known = known_share(len(labels), self.training.labelled, self.seed)
        shown = torch.where(known, torch.from_numpy(labels), NO_CLASS)
        targets = self._targets(inputs)
        rng = np.random.default_rng([self.seed, 32])
        optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.training.weight_decay
        )
        self.network.train()
        with trange(self.training.steps, desc="MOL", unit="step") as bar:
            for step in bar:
                self.training.set_rate(optimizer, step, self.training.steps)
                loss = self._loss(clips, shown, targets, rng)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                bar.set_postfix(loss=f"{float(loss.detach()):.3f}")

    def _targets(self, inputs: dict[str, Floats]) -> JointTargets:
        flow = points = None
        if self.network.flow is not None:
            # Bytes, which the estimators of flow read.
            grey = (255 * inputs["sub_clips"]).round().astype(np.uint8)
            flow = torch.from_numpy(neighbour_flow(grey, self.training.flow_target))
        if self.network.landmarks is not None:
            # From shares of the side to pixels, whose middles are whole numbers.
            points = RAW_SIDE * torch.from_numpy(inputs["landmarks"]) - 0.5
        skipped = int(self.network.release)
        return JointTargets(flow, points, self.training.shift, skipped)

    def _loss(
        self, clips: Tensor, labels: Tensor, targets: JointTargets, rng: np.random.Generator
    ) -> Tensor:
        """The joint loss of one batch."""
        also = targets.flow is not None or targets.points is not None
        rows = drawn(labels.numpy(), self.training.batch_size, also, rng)
        flipped = torch.from_numpy(rng.random(len(rows)) < 0.5)
        chosen = clips[rows]
        chosen = torch.where(flipped.view(-1, 1, 1, 1, 1), chosen.flip(-1), chosen)
        batch = targets.batch(chosen, rows, flipped, rng)
        wanted = Targets(labels[rows], batch.get("flow"), batch.get("landmarks"))
        found = self.network.joint(batch["frames"])
        return joint_losses(found, wanted, self.training.weights)["loss"]

    @torch.no_grad()
    def predict_proba(self, inputs: dict[str, Floats]) -> NDArray[np.float64]:
        """Class probabilities (N, classes): the mean over the sub-clips of a clip."""
        self.network.eval()
        parts = torch.from_numpy(inputs["sub_clips"]).split(_CLIPS_AT_ONCE)
        found = [self.network({"sub_clips": part}).double().exp() for part in parts]
        return np.asarray(torch.cat(found).numpy(), np.float64)


def drawn(
    labels: NDArray[np.int64], size: int, unlabelled: bool, rng: np.random.Generator
) -> Tensor:
    """Rows of a batch: labelled clips, every class as often, and as many clips without a label.

    Args:
        labels: (N,) class indices, or ``NO_CLASS``.
        size: Labelled clips.
        unlabelled: Whether to draw the others, if there are any.
        rng: Draws them.
    """
    known = np.flatnonzero(labels != NO_CLASS)
    # Of a clip, so that every class is drawn as often.
    chance = 1 / np.bincount(labels[known])[labels[known]]
    rows = rng.choice(known, size, p=chance / chance.sum())
    others = np.flatnonzero(labels == NO_CLASS)
    if unlabelled and len(others):
        rows = np.concatenate([rows, rng.choice(others, size)])
    return torch.from_numpy(rows)
