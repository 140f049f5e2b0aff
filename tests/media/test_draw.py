"""Colours of flow: direction and strength."""

from __future__ import annotations

import numpy as np

from deft_llm.media import draw


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
