"""Drawing leaves its input alone and shows what it is given."""

from __future__ import annotations

import numpy as np

from deft_llm.media import draw
from deft_llm.media.face import CANONICAL_LANDMARKS

FACE = np.full((224, 224, 3), 90, np.uint8)


def test_pictures_are_new() -> None:
    before = FACE.copy()
    flow = np.ones((2, 224, 224), np.float32)
    pictures = [
        draw.landmark_lines(FACE, CANONICAL_LANDMARKS),
        draw.boxes(FACE, np.array([[20.5, 30, 50, 60]])),
        draw.arrows(FACE, np.array([[50.0, 50]]), np.array([[2.0, 1]]), magnify=10),
        draw.flow_overlay(FACE, flow),
    ]
    np.testing.assert_array_equal(FACE, before)
    for picture in pictures:
        assert picture.shape == FACE.shape and picture.dtype == np.uint8
        assert (picture != FACE).any()


def test_flow_colours_show_direction_and_strength() -> None:
    flow = np.zeros((2, 1, 5))
    flow[:, 0] = np.array([[2, 0], [0, 2], [-2, 0], [1, 0], [0, 0]]).T
    right, down, left, weak, still = draw.flow_colours(flow, scale=2)[0].astype(int)
    assert right.tolist() == [255, 0, 0]
    assert down[1] == 255 and down[2] == 0
    assert left.tolist() == [0, 255, 255]
    assert weak.tolist() == [128, 0, 0]
    assert still.tolist() == [0, 0, 0]


def test_no_motion_is_black() -> None:
    assert draw.flow_colours(np.zeros((2, 8, 8))).max() == 0


def test_middlebury_colours() -> None:
    """The wheel's corners at full saturation, white without motion, dark beyond the scale."""
    flow = np.zeros((2, 1, 6))
    flow[:, 0] = np.array([[1, 0], [0, 1], [-1, 0], [0.5, 0], [0, 0], [4, 0]]).T
    right, down, left, weak, still, far = draw.middlebury_colours(flow, scale=1)[0].astype(int)
    assert right.tolist() == [255, 0, 0]
    assert down[0] == 255 and down[1] > 200 and down[2] == 0
    assert left[0] == 0 and left[2] == 255
    assert weak.tolist() == [255, 128, 128]
    assert still.tolist() == [255, 255, 255]
    assert far.tolist() == [191, 0, 0]


def test_middlebury_scale_is_the_largest_motion() -> None:
    flow = np.random.default_rng(0).normal(size=(2, 6, 7))
    largest = float(np.hypot(*flow).max())
    np.testing.assert_array_equal(
        draw.middlebury_colours(flow), draw.middlebury_colours(flow, largest)
    )
    assert (draw.middlebury_colours(np.zeros((2, 4, 4))) == 255).all()
