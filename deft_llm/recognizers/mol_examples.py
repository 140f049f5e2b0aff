"""Training examples of MOL: sub-clips, mirrored or not and shifted, with the targets of its heads.

MOL crops 128 pixels from 144, so a sub-clip is shifted by up to 8 pixels, and its targets with it.
Flow targets are estimated on the frames as they are stored; landmark targets are those of the
alignment. Labels may be known for a share of the clips only: the others still teach flow and
landmarks.

Letters: N clips, K sub-clips, B batch, T = 8 frames, S = 128 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.motion.flow import flow_estimator
from deft_llm.recognizers.mol_losses import Weights


class JointSettings(Settings):
    """What the heads learn from.

    Attributes:
        weights: Weights of the three losses.
        flow_target: Estimator of the flow to learn (``motion.flow``); the paper's is "tvl1".
        labelled: Share of the training clips whose emotion is known.
        shift: Most pixels that a sub-clip is shifted by.
    """

    weights: Weights = Weights()
    flow_target: str = "lk"
    labelled: float = Field(default=1.0, gt=0, le=1)
    shift: int = Field(default=8, ge=0)


@dataclass(frozen=True)
class JointTargets:
    """Targets of N clips besides their labels.

    Attributes:
        flow: (N, K, T - 1, 2, S, S) pixels; None if no head learns it.
        points: (N, 68, 2) landmarks in pixels; likewise.
        shift: Most pixels that a sub-clip is shifted by.
        skipped: First frames for which the landmark head gives no answer.
    """

    flow: Tensor | None
    points: Tensor | None
    shift: int
    skipped: int = 0

    def batch(
        self, clips: Tensor, rows: Tensor, flipped: Tensor, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """One sub-clip of each clip, and its targets.

        Args:
            clips: (B, K, T, S, S), mirrored where ``flipped`` says so.
            rows: (B,) their indices among the N.
            flipped: (B,) bool.
            rng: Draws the sub-clips and their shifts.

        Returns:
            "frames" (B, T, S, S), and "flow" and "landmarks" if there are such targets.
        """
        which = torch.from_numpy(rng.integers(0, clips.shape[1], len(rows)))
        reach = (-self.shift, self.shift + 1)
        shift = torch.from_numpy(rng.integers(*reach, (len(rows), 2)))
        batch = {"frames": shifted(clips[torch.arange(len(rows)), which], shift)}
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
            frames = clips.shape[2] - self.skipped
            batch["landmarks"] = (points + shift[:, None])[:, None].expand(-1, frames, -1, -1)
        return batch


def known_share(count: int, share: float, seed: int) -> Tensor:
    """Which of the clips (count,) have a label: a random share, at least one."""
    order = np.random.default_rng([seed, 31]).permutation(count)
    known = torch.zeros(count, dtype=torch.bool)
    known[order[: max(1, round(share * count))]] = True
    return known


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
    # Mirrored, the left eye is a right eye: numbers are exchanged as well.
    return torch.stack([side - 1 - flipped[..., 0], flipped[..., 1]], -1)


def shifted(maps: Tensor, shift: Tensor) -> Tensor:
    """Maps (B, C, S, S) moved by (B, 2) whole pixels, x before y; their border goes on."""
    reach = int(shift.abs().max())
    if reach == 0:
        return maps
    padded, side = F.pad(maps, (reach,) * 4, mode="replicate"), maps.shape[-1]
    # What is to move to the right is cut out further to the left. A loop, as every map has its own
    # corner.
    corners = (reach - shift).tolist()
    cut = [m[:, y : y + side, x : x + side] for m, (x, y) in zip(padded, corners, strict=True)]
    return torch.stack(cut)
