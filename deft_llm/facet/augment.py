"""Augmentation of views in training: mirrored heads, changes that differ between views."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.data.scan_views import SIDE

Floats = NDArray[np.float32]
# How large the changes are is our choice.
_SHIFT = 8.0  # px
_SCALE, _STRETCH, _TURN = 0.07, 0.05, 5.0  # shares, shares, degrees
_GAIN = 0.2  # of the values: heads differ in how deep their relief is
_BLURRED, _BLUR = 0.3, (0.6, 1.8)  # share of the views, and SD in px
_NOISED, _NOISE = 0.3, 0.06  # share of the views, and SD of values in -1..1
_ERASED, _LARGEST = 0.3, 56  # share of the views of which a part is blanked, and its side in px


def mirror(views: Floats, yaws: Sequence[float], names: Sequence[str]) -> Floats:
    """The views of the mirrored head: every picture flipped, in the place of the opposite yaw.

    Args:
        views: (..., V, C, S, S).
        yaws: Degrees of the views; each has its opposite among them.
        names: Their channels.
    """
    opposite = [list(yaws).index(-yaw) for yaw in yaws]
    # A copy, because torch takes no arrays with a negative stride.
    flipped = views[..., opposite, :, :, ::-1].copy()
    # The x of a normal points the other way in the mirror; depth, y and curvature stay.
    if "normal_x" in names:
        flipped[..., list(names).index("normal_x"), :, :] *= -1
    return flipped


def disturb(views: Floats, rng: np.random.Generator) -> Floats:
    """Views (..., V, C, S, S) bent, scaled in value, some blurred, noised or partly blanked.

    Each view in its own way (AffectVLM's mixed-view augmentation); all frames of a view alike.
    """
    made = np.empty_like(views)
    for v in range(views.shape[-4]):
        pictures = views[..., v, :, :, :]
        warp = _affine(rng, views.shape[-1])
        blur = float(rng.uniform(*_BLUR)) if rng.random() < _BLURRED else 0.0
        noise = float(rng.uniform(0, _NOISE)) if rng.random() < _NOISED else 0.0
        gain = np.float32(rng.uniform(1 - _GAIN, 1 + _GAIN))
        flat = [
            _changed(picture, warp, gain, blur, noise, rng)
            for picture in pictures.reshape(-1, *views.shape[-3:])
        ]
        moved = np.stack(flat).reshape(pictures.shape)
        if rng.random() < _ERASED:
            top, left = rng.integers(0, views.shape[-1], 2)
            tall, wide = rng.integers(8, _LARGEST, 2)
            moved[..., top : top + tall, left : left + wide] = 0  # 0 is background
        made[..., v, :, :, :] = moved
    return made


def _changed(
    picture: Floats,
    warp: NDArray[np.float64],
    gain: np.float32,
    blur: float,
    noise: float,
    rng: np.random.Generator,
) -> Floats:
    """One picture (C, S, S)."""
    side = picture.shape[-1]
    # What comes in from outside is 0, which means nothing.
    moved = cv2.warpAffine(np.moveaxis(picture, 0, -1), warp, (side, side))
    if blur:
        moved = cv2.GaussianBlur(moved, (0, 0), blur)
    # OpenCV drops the axis of a single channel.
    moved = np.moveaxis(moved.reshape(side, side, -1), -1, 0)
    if noise:
        grain = noise * rng.standard_normal(moved.shape, np.float32)
        # The background stays exactly 0, as in pictures without noise.
        moved = np.where(moved != 0, moved + grain, 0)
    # Views are stored in -1..1.
    changed: Floats = np.clip(gain * moved, -1, 1).astype(np.float32)
    return changed


def _affine(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """A small turn, scale, stretch and shift about the middle of a picture, (2, 3)."""
    angle = np.radians(rng.uniform(-_TURN, _TURN))
    scale, stretch = 1 + rng.uniform(-_SCALE, _SCALE), 1 + rng.uniform(-_STRETCH, _STRETCH)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # 1 / stretch the other way: the area changes by the scale alone.
    linear = scale * turn @ np.diag([stretch, 1 / stretch])
    middle = np.full(2, (side - 1) / 2)
    # Shifts are for pictures of the usual size; small ones, as in tests, move less.
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * side / SIDE
    return np.concatenate([linear, (middle - linear @ middle + shift)[:, None]], axis=1)


def drop_views(count: int, views: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which views (count, views) are there: each is dropped with a probability, never all."""
    present = rng.random((count, views)) >= share
    # One view of each scan is there whatever was drawn: attention over no view is NaN.
    present[np.arange(count), rng.integers(views, size=count)] = True
    return present
