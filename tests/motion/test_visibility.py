"""What the pictures do not show is named with its reason, and nothing is read from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.media.canonical import CANONICAL_LANDMARKS
from deft_llm.media.face import AlignedClip, align_with
from deft_llm.media.video import clip_from_array
from deft_llm.motion.measure import measure
from deft_llm.motion.meter import MotionSettings
from deft_llm.motion.noise import magnified
from deft_llm.motion.region_paths import track_regions
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.motion.remarks import NO_MOTION, NO_REGION
from deft_llm.motion.visibility import on_pictures, turned_away

from .conftest import bump, warp

FRAMES = 24
WHOLE = Interval(2, 12, 22)
STILL = [np.zeros((2, 224, 224), np.float32)] * FRAMES


def changed(clip: Any, **values: Any) -> AlignedClip:
    return AlignedClip("clip", constant=True, landmark_method="given", **{**vars(clip), **values})


def blob(centre: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """Soft cover (224, 224, 1) in 0..1 of an ellipse."""
    cover = np.zeros((224, 224), np.float32)
    place = (round(float(centre[0])), round(float(centre[1])))
    cv2.ellipse(cover, place, (round(radii[0]), round(radii[1])), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(cover, (0, 0), 2.0)[..., None]


@pytest.fixture(scope="module")
def still(make_clip: Callable[..., Any]) -> Any:
    return make_clip(STILL)


@pytest.mark.parametrize("level", [0, None])
def test_an_edge_that_stands_still_moves_no_face(
    level: int | None, face: np.ndarray, landmarks: np.ndarray
) -> None:
    """The head sinks by 3 px behind a black bar, or the frame's end, below its mouth."""
    rng = np.random.default_rng(0)
    end = int(landmarks[57][1]) + 4
    down = np.zeros((2, 224, 224), np.float32)
    down[1] = 3.0 / FRAMES
    sunk = [warp(face, np.float32(t) * down) for t in range(FRAMES)]
    frames = np.repeat((np.stack(sunk) + rng.normal(0, 2, (FRAMES, 224, 224)))[..., None], 3, 3)
    frames = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    if level is None:
        frames = frames[:, :end]
    else:
        frames[:, end:] = level
    cut = align_with(clip_from_array(frames, 60, "cut"), landmarks)
    assert cut.inside is not None and not cut.inside[end:].any()
    moved = track_regions(cut).regions
    assert np.linalg.norm(moved, axis=2).max() < 0.5
    measured = measure(cut)
    assert not measured.found
    assert "not measured, outside of the picture: left lower lip, right lower lip, chin" in (
        measured.status
    )


def test_the_far_side_of_a_turned_face_is_not_measured(
    still: Any, make_clip: Callable[..., Any], landmarks: np.ndarray
) -> None:
    assert not turned_away(CANONICAL_LANDMARKS).any()
    turned = landmarks.copy()
    # The subject's left half (image right) as a camera sees it from the subject's right.
    beyond = turned[:, 0] > turned[27, 0]
    turned[beyond, 0] = turned[27, 0] + 0.4 * (turned[beyond, 0] - turned[27, 0])
    away = turned_away(turned)
    assert {REGION_NAMES[k] for k in np.flatnonzero(away)} == {
        name for name, region in facs.REGIONS.items() if region.side == "left"
    }
    x, y = turned[54]
    moves = [
        np.float32(np.sin(np.pi * t / FRAMES)) * bump(x, y, 12, 3.0, 0.0) for t in range(FRAMES)
    ]
    moved = measure(changed(make_clip(moves), landmarks=turned), WHOLE)
    assert not (moved.table_apex.active & away).any()
    assert "not measured, turned away from the camera: left inner brow" in moved.status


def test_glare_on_glasses_is_not_rest(still: Any, landmarks: np.ndarray) -> None:
    frames = still.frames.astype(np.float32)
    for eye in (landmarks[36:42], landmarks[42:48]):
        frames += blob(eye.mean(0), (30, 26)) * (255 - frames)
    table = measure(changed(still, frames=np.rint(frames).astype(np.uint8)), WHOLE)
    (remark,) = [r for r in table.remarks if "glare" in r]
    assert remark == (
        "not measured, drowned in glare: left upper lid, right upper lid, left lower lid, "
        "right lower lid"
    )
    assert not table.table_apex.z[[REGION_NAMES.index("left upper lid")]].any()


def test_a_hand_that_passes_over_the_mouth_moves_no_mouth(
    still: Any, landmarks: np.ndarray
) -> None:
    rng = np.random.default_rng(1)
    skin = cv2.resize(rng.normal(90, 15, (14, 14)).astype(np.float32), (224, 224))[..., None]
    mouth = landmarks[48:68].mean(0)
    frames = still.frames.astype(np.float32)
    for t in range(FRAMES):
        away = 130 * min(1.0, abs(t - 12) / 8)
        frames[t] += blob(mouth + np.array([0, away]), (60, 45)) * (skin - frames[t])
    covered = measure(changed(still, frames=np.clip(frames, 0, 255).astype(np.uint8)))
    hidden = {"left mouth corner", "right mouth corner", "left lower lip", "right lower lip"}
    (remark,) = [r for r in covered.remarks if "covered for a time" in r]
    assert all(name in remark for name in hidden)
    moved = {REGION_NAMES[k] for k in np.flatnonzero(covered.table_apex.active)}
    assert not moved & hidden


def test_small_dark_and_slow_pictures_are_named(still: Any) -> None:
    assert not any(
        "expected 60" in r or "dark" in r or "missed" in r for r in measure(still).remarks
    )
    small = measure(changed(still, transforms=4 * still.transforms)).remarks
    assert any("the face is 47 px wide (expected 60 or more)" in r for r in small)
    # 187 canonical pixels, of which each is 0.3193 px of the video.
    just = on_pictures(changed(still, transforms=still.transforms / 0.3193), Interval(0, 0, 0))
    assert any("the face is 59 px wide (expected 60 or more)" in r for r in just)
    dark = measure(changed(still, frames=(0.06 * still.frames).astype(np.uint8))).remarks
    assert any(r.startswith("the face is dark (") for r in dark)
    slow = measure(changed(still, timestamps=np.arange(FRAMES) / 8)).remarks
    assert "8 frames per second: a movement of less than 0.25 s can be missed" in slow


def test_a_face_of_which_no_region_can_be_placed_is_not_said_to_rest(still: Any) -> None:
    unsure = changed(still, landmark_uncertainty=np.full(68, 100.0, np.float32))
    for interval in (None, WHOLE):
        told = measure(unsure, interval).remarks
        assert told[0] == NO_REGION and NO_MOTION not in told
        assert any(remark.startswith("not measured, landmarks too uncertain") for remark in told)


def test_nothing_is_told_of_movements_between_frames_a_second_apart(still: Any) -> None:
    """A long movement leaves the window of the search as a short one falls between the frames."""
    lapse = changed(still, timestamps=np.arange(FRAMES, dtype=float))
    searched = measure(lapse).remarks
    assert searched[0].startswith("1 frame per second: nothing can be told of movements")
    assert NO_MOTION not in searched and not any("missed" in remark for remark in searched)
    given = measure(lapse, WHOLE).remarks
    assert "1 frame per second: a movement of less than 2.00 s can be missed" in given


def test_floors_of_a_small_face_grow_with_its_magnification(
    make_clip: Callable[..., Any], landmarks: np.ndarray
) -> None:
    floors = np.ones(20, np.float32)
    np.testing.assert_array_equal(magnified(floors, 1.1), floors)
    assert magnified(floors, 4.0).min() > magnified(floors, 3.0).max() > 1
    # The same faint motion that counts on a face of usual size.
    x, y = landmarks[54]
    moves = [
        np.float32(np.sin(np.pi * t / FRAMES)) * bump(x, y, 12, 0.5, -0.5) for t in range(FRAMES)
    ]
    clip, without = make_clip(moves), MotionSettings(curve=False)
    corner = REGION_NAMES.index("left mouth corner")
    assert measure(clip, WHOLE, without).table_apex.active[corner]
    small = changed(clip, transforms=4 * clip.transforms)
    assert not measure(small, WHOLE, without).table_apex.active[corner]
