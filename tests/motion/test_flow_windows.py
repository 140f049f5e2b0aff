"""The pictures of SOFTNet and MEAN, of flow that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE
from deft_llm.media.face import AlignedClip
from deft_llm.motion.flow_windows import SIDE, flow_windows, frames_apart, mirrored, window_picture

POINTS = CANONICAL_LANDMARKS * (128 / CANONICAL_SIZE)
HALF = SIDE // 2


def _around(landmarks: slice, way: tuple[float, float], reach: float = 5.0) -> NDArray[np.float32]:
    """Flow (2, 128, 128) about the middle of some landmarks."""
    x, y = POINTS[landmarks].mean(0)
    columns, rows = np.meshgrid(np.arange(128), np.arange(128))
    bump = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2))
    return (np.array(way)[:, None, None] * bump).astype(np.float32)


def test_brows_are_above_and_the_mouth_below() -> None:
    brows = window_picture(_around(slice(17, 22), (0, -1)), POINTS)[1].astype(int)
    assert brows[:HALF].min() == 0 and brows[HALF:].min() > 200, "up is negative"
    mouth = window_picture(_around(slice(48, 68), (1, 0)), POINTS)[0].astype(int)
    assert mouth[HALF:].max() == 255 and mouth[:HALF].max() < 50


def test_a_moving_head_and_a_blink_are_not_seen() -> None:
    mouth = _around(slice(48, 68), (0, 1))
    picture = window_picture(mouth, POINTS)
    moved = mouth + np.array([0.5, -0.5], np.float32)[:, None, None]
    # The blanked eyes stay at 0, which is the motion of the head.
    assert np.abs(window_picture(moved, POINTS).astype(int) - picture).max() <= 1
    blink = mouth + _around(slice(36, 42), (0, 2), 2.0) + _around(slice(42, 48), (0, 2), 2.0)
    assert np.abs(window_picture(blink, POINTS)[1].astype(int) - picture[1]).max() <= 2
    assert not window_picture(np.zeros_like(mouth), POINTS).any()


def test_strength_is_lost_and_a_mirror_is_a_mirror() -> None:
    flow = _around(slice(17, 22), (0.3, -1)) + _around(slice(54, 55), (-0.7, -0.4))
    # With its middle between two pixels, so that the face is its own mirror image.
    points = POINTS + np.array([63.5 - POINTS[27, 0], 0], np.float32)
    picture = window_picture(flow, points)
    assert np.abs(window_picture(3 * flow, points).astype(int) - picture).max() <= 1
    flipped = flow[..., ::-1] * np.array([-1, 1], np.float32)[:, None, None]
    there = window_picture(flipped, points)
    for channel in range(3):
        back, once = mirrored(there)[channel].ravel(), there[channel].ravel()
        assert np.corrcoef(back, picture[channel].ravel())[0, 1] > 0.995
        assert np.corrcoef(once, picture[channel].ravel())[0, 1] < 0.7
    assert np.array_equal(mirrored(mirrored(picture)), picture)
    empty = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    assert not mirrored(empty).any()


def test_a_region_outside_of_the_picture_is_no_error() -> None:
    assert window_picture(_around(slice(48, 68), (1, 0)), POINTS + 300).shape == (3, SIDE, SIDE)


@pytest.mark.parametrize(("fps", "apart"), [(30, 6), (200 / 7, 6), (100, 20), (2, 1)])
def test_a_window_is_a_fifth_of_a_second(fps: float, apart: int) -> None:
    assert frames_apart(np.arange(9) / fps) == apart


def test_windows_without_a_face_or_an_end_are_empty() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (12, CANONICAL_SIZE, CANONICAL_SIZE, 3)).astype(np.uint8)
    present = np.ones(12, bool)
    present[3] = False
    poses = np.zeros((12, 2, 3))
    clip = AlignedClip(
        *("clip", frames, present, poses, CANONICAL_LANDMARKS, np.zeros(68, np.float32)),
        *(np.arange(12) / 10, True, "given"),
    )
    seen = flow_windows(clip).any((1, 2, 3))
    assert seen.tolist() == [t not in (1, 3, 10, 11) for t in range(12)]
