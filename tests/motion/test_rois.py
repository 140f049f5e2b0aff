"""Regions of the ME-TST papers: they see what moves in them, without the head's motion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.motion.region_paths import track_regions
from deft_llm.motion.roi_farneback import FarnebackRois
from deft_llm.motion.rois import CROP_SIDE, FIVE, MIRRORED, ROIS, crop_pixel, roi_masks

from .conftest import SIZE, FloatArray, bump, warp

NAMES = [roi.name for roi in ROIS]
LIFT = -1.5  # px upwards


def _lifted(landmarks: FloatArray) -> FloatArray:
    """The subject's right brow goes up."""
    x, y = landmarks[17:22].mean(0)
    return bump(x, y, 12.0, 0.0, LIFT)


def test_regions_and_their_mirror_images() -> None:
    assert len(ROIS) == 18
    for i, j in enumerate(MIRRORED):
        assert MIRRORED[j] == i
        swapped = NAMES[i].replace("left", "?").replace("right", "left").replace("?", "right")
        assert NAMES[j] == swapped
    assert [NAMES[i] for i in FIVE] == [
        *("right brow", "left brow", "mouth", "right nose wing", "left nose wing")
    ]


def test_masks_lie_where_they_should(landmarks: FloatArray) -> None:
    masks = roi_masks(landmarks, SIZE)
    assert masks.min() == 0 and masks.max() == 1
    # A crop of 320 px spans most of the canonical face.
    assert 0.8 < CROP_SIDE * crop_pixel(landmarks) / SIZE < 1
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for roi, mask in zip(ROIS, masks, strict=True):
        assert mask.sum() > 30, roi.name
        if roi.landmark in (19, 24, 51, 57, 62):
            centre = np.array([(mask * columns).sum(), (mask * rows).sum()]) / mask.sum()
            np.testing.assert_allclose(centre, landmarks[roi.landmark], atol=0.6)
    # Twice the image, twice the regions.
    double = roi_masks(2 * landmarks, 2 * SIZE)
    np.testing.assert_allclose(double.sum((1, 2)), 4 * masks.sum((1, 2)), rtol=0.15)


def test_followed_regions(make_clip: Callable[..., Any], landmarks: FloatArray) -> None:
    drift = np.zeros((2, SIZE, SIZE), np.float32)
    drift[0] += 1.2
    moves = [0 * drift, drift, _lifted(landmarks), drift + _lifted(landmarks)]
    found = track_regions(make_clip(moves, noise=0.5), masks_of=roi_masks).regions
    assert found.shape == (4, 18, 2)
    np.testing.assert_allclose(found[1], 0, atol=0.12)
    for still in (2, 3):
        # The lift is highest in the middle and falls off within the brow.
        assert found[still, NAMES.index("right brow"), 1] < 0.3 * LIFT
        assert found[still, NAMES.index("right brow, middle"), 1] < 0.4 * LIFT
        others = [i for i, name in enumerate(NAMES) if "right" not in name and "brow" not in name]
        assert np.abs(found[still, others]).max() < 0.2


def test_key_frames_leave_no_step(make_clip: Callable[..., Any], landmarks: FloatArray) -> None:
    # A wide smile, of which flow from a key frame misses more, the further it is away.
    x, y = landmarks[48]
    moves = [bump(x, y, 9.0, -0.45 * t, -0.3 * t) for t in range(31)]
    clip = make_clip(moves, fps=30.0, noise=0.5)
    corner = NAMES.index("right mouth corner")
    excess, at_key = {}, {}
    for even in (False, True):
        found = track_regions(clip, masks_of=roi_masks, even=even).regions[:, corner]
        before, at, after = np.hypot(*np.diff(found, axis=0).T)[14:17]
        excess[even], at_key[even] = at - (before + after) / 2, found[30]
    assert excess[False] > 0.1
    assert abs(excess[True]) < 0.03
    np.testing.assert_array_equal(at_key[False], at_key[True])


def _grey(image: FloatArray) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_papers_form(scale: int, face: FloatArray, landmarks: FloatArray) -> None:
    def frame(displacement: FloatArray) -> NDArray[np.uint8]:
        return np.kron(_grey(warp(face, displacement)), np.ones((scale, scale), np.uint8))

    drift = np.zeros((2, SIZE, SIZE), np.float32)
    drift[0] += 3.0
    points = scale * landmarks
    rois = FarnebackRois(frame(0 * drift), points)
    box = rois.box.copy()
    np.testing.assert_allclose(rois(frame(0 * drift)), 0, atol=0.01)
    # The crop's pixels: as many as the canonical ones are large, whatever the video's size.
    unit = crop_pixel(landmarks)
    moved = rois(frame(_lifted(landmarks)))
    assert moved[NAMES.index("right brow"), 1] * unit == pytest.approx(LIFT, abs=0.6)
    assert np.abs(moved[[NAMES.index("left brow"), NAMES.index("mouth")]]).max() < 0.5
    # A head that moves takes the box with it, by pixels of the video.
    np.testing.assert_allclose(rois(frame(drift)), 0, atol=0.6)
    assert rois.box[2] - box[2] == pytest.approx(3 * scale, abs=1)


def test_a_face_at_the_edge_of_the_image(face: FloatArray, landmarks: FloatArray) -> None:
    image = _grey(face)
    for dx, dy in ((-100, 0), (100, 0), (0, -80), (0, 130)):
        points = landmarks + np.array([dx, dy])
        rois = FarnebackRois(image, points)
        assert np.isfinite(rois(np.roll(image, 5, axis=1))).all()
