"""Approximate rank pooling: a sequence of views as one picture, its dynamic image.

Bilen et al., "Dynamic image networks for action recognition" (CVPR 2016), in the form of CCDN
(arXiv 1905.02319) for 4D faces: D = sum_t (2 t - T - 1) I_t for t = 1..T. Our own choices: the
weights are scaled so that the early and the late ones sum to 1 each, which makes D a difference in
the channel's own unit; and it is compressed by a signed square root of fixed range, not stretched
to its own extremes, so that a small motion stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
RANGES = {
    "depth": 0.07,  # 4 mm
    "normal_x": 0.2,
    "normal_y": 0.2,
    "shape_index": 0.6,
    "texture": 0.5,
}
"""Difference of a channel at which the compressed dynamic image reaches 1."""


def rank_weights(frames: int) -> Floats:
    """Weights (T,) that rise evenly and sum to 0; the positive ones sum to 1."""
    raw = 2 * np.arange(1, frames + 1) - frames - 1.0
    weights: Floats = (raw / max(raw[raw > 0].sum(), 1.0)).astype(np.float32)
    return weights


def rank_pool(frames: NDArray[np.floating]) -> Floats:
    """The dynamic image of frames (T, ...): 0 where nothing changes."""
    # Against the first frame, so that what stays the same cancels exactly.
    moved = np.asarray(frames, np.float32) - np.asarray(frames[:1], np.float32)
    pooled: Floats = np.tensordot(rank_weights(len(frames)), moved, axes=1).astype(np.float32)
    return pooled


def compress(dynamic: Floats, names: Sequence[str]) -> Floats:
    """Dynamic images (..., C, S, S) of channels in -1..1, by a signed square root."""
    reach = np.array([RANGES[name] for name in names], np.float32)[:, None, None]
    share = np.clip(dynamic / reach, -1, 1)
    compressed: Floats = np.sign(share) * np.sqrt(np.abs(share))
    return compressed


def motion_curve(depths: Floats, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far the face has moved towards or away from the viewer since the first frame, mm (T,).

    Args:
        depths: (T, S, S) mm, of the view ahead.
        masks: (T, S, S) bool.
    """
    both = masks & masks[0]
    apart = np.where(both, np.abs(depths - depths[0]), 0.0)
    # The moving parts of an expression are a small share of the face.
    top = np.sort(apart.reshape(len(depths), -1), axis=1)[:, -max(int(0.05 * both[0].sum()), 1) :]
    return np.asarray(top.mean(axis=1), np.float64)


def rising_frames(curve: NDArray[np.float64], count: int) -> list[int]:
    """Up to `count` frames from the first one to the apex, evenly spread.

    Beyond the apex an expression falls again, and would cancel in the dynamic image.
    """
    smooth = np.convolve(np.pad(curve, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    apex = max(int(smooth.argmax()), min(2, len(curve) - 1))
    return sorted({round(t) for t in np.linspace(0, apex, min(count, apex + 1))})
