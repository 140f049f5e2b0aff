"""Black bars and the frame's edge: found, cut away, and told apart from a dark room."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.media.borders import Picture, always_inside, find_picture

Frames = NDArray[np.uint8]


def room(level: float = 90.0, noise: float = 4.0, seed: int = 0) -> Frames:
    """Six noisy frames of 60 x 80 pixels."""
    grain = np.random.default_rng(seed).normal(level, noise, (6, 60, 80, 3))
    return np.clip(np.rint(grain), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [0, 16])
def test_bars_are_cut_away_with_the_pixels_beside_them(level: int) -> None:
    frames = room()
    frames[:, :10] = frames[:, 53:] = level
    assert find_picture(frames) == Picture(12, 51, 0, 80)
    frames = room()
    frames[:, :, 74:] = level
    assert find_picture(frames) == Picture(0, 60, 0, 72)


def test_a_bar_stays_for_the_whole_clip_and_is_black() -> None:
    whole = Picture(0, 60, 0, 80)
    fading, grey = room(), room()
    fading[:3, :10] = 0
    grey[:, :10] = 90
    dark = room(level=12.0, noise=3.0)
    for frames in (room(), fading, grey, dark, np.zeros_like(dark)):
        assert find_picture(frames) == whole


def test_pixels_beyond_the_edge_are_known_in_every_frame() -> None:
    still = np.repeat(np.eye(2, 3)[None], 3, axis=0)
    assert always_inside(still, (60, 80), 60) is None
    moving = still.copy()
    moving[1, 1, 2], moving[2, 0, 2] = -5, 7
    inside = always_inside(moving, (60, 80), 60)
    assert inside is not None
    assert not inside[-5:].any() and not inside[:, :7].any() and inside[:-5, 7:].all()


def test_transforms_of_the_part_show_the_same() -> None:
    part = Picture(12, 51, 5, 80)
    matrix = np.array([[[1.5, 0.2, 3.0], [-0.2, 1.5, 1.0]]])
    point = np.array([20.0, 30.0])
    moved = part.from_here(matrix)[0]
    np.testing.assert_allclose(
        moved[:, :2] @ (point - (5, 12)) + moved[:, 2], matrix[0, :, :2] @ point + matrix[0, :, 2]
    )
