"""Augmentation of views in training: mirrored heads, shifts that differ between views, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_SHIFT = 8  # px
_NOISED, _NOISE = 0.3, 0.06  # share of the views, and SD of values in -1..1
_ERASED = 56  # px, the largest side of a part that is blanked


def mirror(views: Floats, yaws: Sequence[float], names: Sequence[str]) -> Floats:
    """The views of the mirrored head: every picture flipped, in the place of the opposite yaw.

    Args:
        views: (..., V, C, S, S).
        yaws: Degrees of the views; each has its opposite among them.
        names: Their channels.
    """
    opposite = [list(yaws).index(-yaw) for yaw in yaws]
    flipped = views[..., opposite, :, :, ::-1].copy()
    if "normal_x" in names:
        flipped[..., list(names).index("normal_x"), :, :] *= -1
    return flipped


def disturb(views: Floats, rng: np.random.Generator) -> Floats:
    """Views (..., V, C, S, S) shifted, some noised or partly blanked, each in its own way."""
    made = np.empty_like(views)
    side = views.shape[-1]
    for v in range(views.shape[-4]):
        down, right = rng.integers(-_SHIFT, _SHIFT + 1, 2)
        # The rim is 0, so what comes in on the other side is nothing.
        moved = np.roll(views[..., v, :, :, :], (int(down), int(right)), axis=(-2, -1))
        if rng.random() < _NOISED:
            noise = rng.standard_normal(moved.shape[-3:], np.float32) * rng.uniform(0, _NOISE)
            moved = np.where(moved != 0, moved + noise, 0).astype(np.float32)
        if rng.random() < 0.3:
            top, left = rng.integers(0, side, 2)
            tall, wide = rng.integers(8, _ERASED, 2)
            moved[..., top : top + tall, left : left + wide] = 0
        made[..., v, :, :, :] = moved
    return made


def drop_views(count: int, views: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which views (count, views) are there: each is dropped with a probability, never all."""
    present = rng.random((count, views)) >= share
    present[np.arange(count), rng.integers(views, size=count)] = True
    return present
