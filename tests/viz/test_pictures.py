"""Pictures carry the motion they were given, at the place it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.media.canonical import CANONICAL_LANDMARKS
from deft_llm.viz import overlay
from deft_llm.viz.overlay import ZOOM, Arrow

SIZE = 224
FACE = np.full((SIZE, SIZE, 3), 110, np.uint8)


def _decode(png: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def test_heat_glows_where_the_motion_is_and_only_there() -> None:
    flow = np.zeros((2, SIZE, SIZE), np.float32)
    flow[1, 40:60, 130:160] = -0.8
    heat = overlay.flow_heat(FACE, flow, CANONICAL_LANDMARKS, floor=0.05)
    assert heat.shape == (ZOOM * SIZE, ZOOM * SIZE, 3)
    coloured = np.ptp(heat.astype(int), axis=-1) > 40
    coloured[ZOOM * 200 :] = False  # the legend
    ys, xs = np.nonzero(coloured)
    assert len(ys) > 0
    assert abs(ys.mean() / ZOOM - 50) < 2 and abs(xs.mean() / ZOOM - 145) < 2


def test_heat_leaves_noise_dark() -> None:
    # A still face must not look like a moving one because the colours were stretched to its noise.
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 0.01, (2, SIZE, SIZE)).astype(np.float32)
    heat = overlay.flow_heat(FACE, flow, CANONICAL_LANDMARKS, floor=0.05)[: ZOOM * 200].astype(int)
    assert np.ptp(heat, axis=-1).max() < 12


def test_heat_ignores_the_background() -> None:
    # Flow behind the head is head motion turned inside out; it must not drown the face's own.
    flow = np.zeros((2, SIZE, SIZE), np.float32)
    flow[0, :, :8] = 5.0
    heat = overlay.flow_heat(FACE, flow, CANONICAL_LANDMARKS)[: ZOOM * 200].astype(int)
    assert np.ptp(heat, axis=-1).max() < 12


def test_arrow_points_where_the_region_moved() -> None:
    still = overlay.draw_region_arrows(FACE, [])
    picture = overlay.draw_region_arrows(FACE, [Arrow(150.0, 100.0, 0.0, -0.8, True)])
    yellow = (picture[..., 0] > 200) & (picture[..., 2] < 80)
    yellow[ZOOM * 190 :] = False  # the legend
    ys, xs = np.nonzero(yellow)
    length = overlay.magnification(0.8) * 0.8
    assert abs(xs.mean() / ZOOM - 150) < 2
    assert abs(ys.min() / ZOOM - (100 - length)) < 3 and ys.max() / ZOOM < 105
    assert still.shape == picture.shape


@pytest.mark.parametrize("longest", [0.02, 0.3, 0.8, 3.0, 25.0])
def test_magnified_arrows_stay_in_the_face(longest: float) -> None:
    factor = overlay.magnification(longest)
    assert factor == 1 or factor * longest <= 40
    assert factor * longest >= 4 or factor == 200


def test_strip_keeps_every_picture_at_the_largest_size() -> None:
    small, large = FACE, np.full((2 * SIZE, 2 * SIZE, 3), 200, np.uint8)
    strip = overlay.strip([small, large], ["a", "b"])
    assert strip.shape[0] > 2 * SIZE and strip.shape[1] >= 4 * SIZE
    with pytest.raises(ValueError):
        overlay.strip([small], ["a", "b"])


def test_png_holds_the_same_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    np.testing.assert_array_equal(_decode(overlay.encode_png(image)), image)


def test_a_face_with_its_forehead_has_the_same_motion_below_it() -> None:
    """The rows above the square add to the picture, and move nothing in it."""
    above = 40
    tall = np.concatenate([np.full((above, SIZE, 3), 200, np.uint8), FACE])
    flow = np.zeros((2, SIZE, SIZE), np.float32)
    flow[1, 40:60, 130:160] = -0.8
    arrows = [Arrow(150.0, 100.0, 0.0, -0.8, True)]
    for draw in (
        lambda face: overlay.flow_heat(face, flow, CANONICAL_LANDMARKS, floor=0.05),
        lambda face: overlay.draw_region_arrows(face, arrows),
    ):
        square, whole = draw(FACE), draw(tall)
        assert whole.shape == (ZOOM * (SIZE + above), ZOOM * SIZE, 3)
        # But for the rows that the enlargement blends with those above.
        same = whole[ZOOM * (above + 4) :].astype(int) - square[ZOOM * 4 :]
        assert np.abs(same).max() <= 2


def test_heat_does_not_end_in_a_line_on_the_forehead() -> None:
    flow = np.full((2, SIZE, SIZE), 1.0, np.float32)
    opacity = overlay.heat_layer(flow, CANONICAL_LANDMARKS)[0][..., 3]
    middle = opacity[:20, SIZE // 2]
    assert middle[0] == 0 and middle[15] > 0.5 and np.diff(middle[:12]).max() < 0.25
