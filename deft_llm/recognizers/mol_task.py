"""Joint training of MOL: emotion, flow between neighbours and landmarks of measured clips.

Each step takes one sub-clip of each clip, mirrored or not, shifted by up to 8 pixels (MOL crops 128
from 144). Flow targets are estimated on the frames as they are stored; landmark targets are those
of the alignment. Labels may be known for a share of the clips only: the others still teach flow and
landmarks.

Letters: N clips, K sub-clips, B batch, T = 8 frames, S = 128 pixels.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from deft_llm import facs
from deft_llm.config import read_recipe
from deft_llm.data.labelled import LabelledClips
from deft_llm.motion.flow import flow_estimator
from deft_llm.recognizers.mol import MOL, Joint
from deft_llm.recognizers.mol_losses import NO_CLASS, Targets, Weights, joint_losses
from deft_llm.recognizers.task import RecognizerRecipe, RecognizerTask, train_recipe
from deft_llm.training.loop import Batch


class MolRecipe(RecognizerRecipe):
    """A file of ``train_configs/recognizers`` with ``task: mol``.

    Attributes:
        recognizer: Always "mol"; heads are switched by its options ``flow`` and ``landmarks``.
        weights: Weights of the three losses.
        flow_target: Estimator of the flow to learn (``motion.flow``); the paper's is "tvl1".
        labelled: Share of the training clips whose emotion is known.
        shift: Most pixels that a sub-clip is shifted by.
    """

    recognizer: Literal["mol"] = "mol"
    weights: Weights = Weights()
    flow_target: str = "lk"
    labelled: float = Field(default=1.0, gt=0, le=1)
    shift: int = Field(default=8, ge=0)


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
        self.points = self.flow = None
        if model.landmarks is not None:
            self.points = torch.from_numpy(train.clips.stack("landmarks").astype(np.float32))
        if model.flow is not None:
            self.flow = torch.from_numpy(
                neighbour_flow(train.clips.stack("sub_clips"), recipe.flow_target)
            )
        order = np.random.default_rng([self.seed, 31]).permutation(len(train))
        self.known = torch.zeros(len(train), dtype=torch.bool)
        self.known[order[: max(1, round(recipe.labelled * len(train)))]] = True

    def batch(self, index: int) -> dict[str, Tensor]:
        """One sub-clip (B, T, S, S) of each clip, and the targets that are known."""
        rows, flipped = self.drawn(index)
        rng = np.random.default_rng([self.seed, index, 2])
        made = self.examples.batch(rows, flipped)
        clips, reach = made["sub_clips"], self.recipe.shift
        which = torch.from_numpy(rng.integers(0, clips.shape[1], len(rows)))
        shift = torch.from_numpy(rng.integers(-reach, reach + 1, (len(rows), 2)))
        batch = {
            "frames": shifted(clips[torch.arange(len(rows)), which], shift),
            "labels": torch.where(self.known[rows], made["labels"], NO_CLASS),
        }
        if self.flow is not None:
            flow = self.flow[rows, which].float()
            # u points to the image's right, so it changes sign in the mirror.
            mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
            flow = torch.where(flipped.view(-1, 1, 1, 1, 1), mirrored, flow)
            batch["flow"] = shifted(flow.flatten(1, 2), shift).view_as(flow)
        if self.points is not None:
            points = self.points[rows]
            points = torch.where(flipped.view(-1, 1, 1), mirrored_points(points), points)
            # All frames have the clip's landmarks: their motion is far below the error.
            frames = clips.shape[2] - self._without_first
            batch["landmarks"] = (points + shift[:, None])[:, None].expand(-1, frames, -1, -1)
        return batch

    @property
    def _without_first(self) -> int:
        """1 if the landmark head leaves out the first frame, as in the release."""
        assert isinstance(self.network, MOL)
        return int(self.network.release)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the heads."""
        targets = Targets(batch["labels"], batch.get("flow"), batch.get("landmarks"))
        return joint_losses(self.model(batch["frames"]), targets, self.recipe.weights)


def neighbour_flow(sub_clips: NDArray[np.uint8], method: str) -> NDArray[np.float16]:
    """Flow from each frame to the next.

    Args:
        sub_clips: (N, K, T, S, S) grey.
        method: A name of ``motion.flow.FLOW_METHODS``.

    Returns:
        (N, K, T - 1, 2, S, S) pixels.

    Raises:
        UserError: If the method is unknown.
    """
    estimate = flow_estimator(method)
    count, clips, frames, side = sub_clips.shape[:4]
    found = np.empty((count * clips, frames - 1, 2, side, side), np.float16)
    flat = sub_clips.reshape(-1, *sub_clips.shape[2:])
    for into, clip in zip(found, tqdm(flat, desc="flow targets", unit="sub-clip"), strict=True):
        into[:] = [estimate(a, b) for a, b in pairwise(clip)]
    return found.reshape(count, clips, frames - 1, 2, side, side)


def mirrored_points(points: Tensor, side: int = 128) -> Tensor:
    """Landmarks (B, 68, 2) of the left-right flipped frames."""
    flipped = points[:, list(facs.MIRROR_68)]
    return torch.stack([side - 1 - flipped[..., 0], flipped[..., 1]], -1)


def shifted(maps: Tensor, shift: Tensor) -> Tensor:
    """Maps (B, C, S, S) moved by (B, 2) whole pixels, x before y; their border goes on."""
    reach = int(shift.abs().max())
    if reach == 0:
        return maps
    padded, side = F.pad(maps, (reach,) * 4, mode="replicate"), maps.shape[-1]
    corners = (reach - shift).tolist()
    cut = [m[:, y : y + side, x : x + side] for m, (x, y) in zip(padded, corners, strict=True)]
    return torch.stack(cut)
