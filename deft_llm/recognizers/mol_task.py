"""Joint training of MOL by a recipe: emotion, flow between neighbours and landmarks.

Each step takes one sub-clip of each clip (``mol_examples.py``).

Letters: B batch, T = 8 frames, S = 128 pixels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from deft_llm.config import read_recipe
from deft_llm.data.labelled import LabelledClips
from deft_llm.recognizers.mol import MOL, Joint
from deft_llm.recognizers.mol_examples import (
    JointSettings,
    JointTargets,
    known_share,
    neighbour_flow,
)
from deft_llm.recognizers.mol_losses import NO_CLASS, Targets, joint_losses
from deft_llm.recognizers.task import RecognizerRecipe, RecognizerTask, train_recipe
from deft_llm.training.loop import Batch


class MolRecipe(RecognizerRecipe, JointSettings):
    """A file of ``train_configs/recognizers`` with ``task: mol``.

    Attributes:
        recognizer: Always "mol"; heads are switched by its options ``flow`` and ``landmarks``.
    """

    recognizer: Literal["mol"] = "mol"


def train(values: dict[str, Any], where: str) -> None:
    """Train MOL from a recipe; ``training/tasks.py`` calls this. Writes what its sibling writes.

    Raises:
        UserError: As ``recognizers.task.train``.
    """
    recipe = read_recipe(MolRecipe, values, where)
    train_recipe(recipe, where, partial(MolTask, recipe=recipe))


class _AllHeads(nn.Module):
    """The three heads in one forward pass, as training in several processes requires."""

    def __init__(self, network: MOL) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Joint:
        """(B, T, S, S) to the answers of all heads."""
        return self.network.joint(frames)


class MolTask(RecognizerTask):
    """Training of all heads of MOL.

    Args:
        model: The network.
        train: Training clips with sub-clips and landmarks.
        *others: As of ``RecognizerTask``.
        recipe: The recipe.
    """

    def __init__(self, model: MOL, train: LabelledClips, *others: Any, recipe: MolRecipe) -> None:
        super().__init__(model, train, *others)
        self.model = _AllHeads(model).train()
        self.recipe = recipe
        points = flow = None
        if model.landmarks is not None:
            points = torch.from_numpy(train.clips.stack("landmarks").astype(np.float32))
        if model.flow is not None:
            found = neighbour_flow(train.clips.stack("sub_clips"), recipe.flow_target)
            flow = torch.from_numpy(found)
        # The release's landmark head leaves out the first frame.
        self.targets = JointTargets(flow, points, recipe.shift, int(model.release))
        self.known = known_share(len(train), recipe.labelled, self.seed)

    def batch(self, index: int) -> dict[str, Tensor]:
        """One sub-clip (B, T, S, S) of each clip, and the targets that are known."""
        rows, flipped = self.drawn(index)
        made = self.examples.batch(rows, flipped)
        rng = np.random.default_rng([self.seed, index, 2])  # 2: apart from the mirroring's stream
        return {
            "labels": torch.where(self.known[rows], made["labels"], NO_CLASS),
            **self.targets.batch(made["sub_clips"], rows, flipped, rng),
        }

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the heads."""
        targets = Targets(batch["labels"], batch.get("flow"), batch.get("landmarks"))
        return joint_losses(self.model(batch["frames"]), targets, self.recipe.weights)
