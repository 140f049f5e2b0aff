"""Faces: the canonical shape, the track rule, placement, and alignment that adds no motion."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.landmark_models.files import WEIGHTS
from deft_llm.media.canonical import fit_similarity, five_points, invert, transform
from deft_llm.media.face import (
    ABOVE,
    CANONICAL_LANDMARKS,
    CANONICAL_SIZE,
    INTEROCULAR,
    AlignedClip,
    FaceBox,
    HaarFinder,
    MeanShapeFinder,
    YuNetFinder,
    _blurred,
    _smooth,
    _warp_affine,
    align,
    align_with,
    landmark_finder,
    track_faces,
)
from deft_llm.media.video import clip_from_array, read_clip
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_clip

DATA = os.environ.get("DEFT_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set DEFT_DATA to the development data")
needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "model.safetensors").is_file(), reason="the landmark network is not trained yet"
)
SEEDS = (0, 1, 3)
INNER = slice(17, 68)


def warp_frame(frame: NDArray[np.uint8], matrix: NDArray[np.floating]) -> NDArray[np.uint8]:
    return _warp_affine(_blurred(frame, matrix), matrix, CANONICAL_SIZE)


class Scripted:
    """A finder that gives the boxes of a script; frames carry their index as colour."""

    def __init__(self, script: dict[int, list[FaceBox]]) -> None:
        self.script = script
        self.asked: list[int] = []

    def find(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        self.asked.append(int(image[0, 0, 0]))
        return self.script.get(self.asked[-1], [])


def blank(frames: int) -> Clip:
    """Frame i is of colour i."""
    levels = np.arange(frames, dtype=np.uint8)
    return clip_from_array(np.tile(levels[:, None, None, None], (1, 8, 8, 3)), 30, "blank")


def box(x: float = 10, w: float = 40, score: float = 1.0) -> FaceBox:
    return FaceBox(x, 10, w, w, score)


@cache
def simulated(seed: int) -> SimulatedClip:
    return render_clip(draw_spec(seed))


@cache
def aligned(seed: int, finder: str = "mean") -> AlignedClip:
    clip = simulated(seed).clip
    return align(clip, track_faces(clip), landmark_finder(finder))


@cache
def real(name: str) -> Clip:
    return read_clip(Path(str(DATA)) / "video" / name, max_side=640)


def yunet() -> YuNetFinder:
    return YuNetFinder(Path(str(DATA)) / "detector" / "yunet_n_640_640.onnx")


# ------------------------------------------------------------------- canonical face


def test_canonical_face_is_symmetric() -> None:
    mirrored = CANONICAL_LANDMARKS[list(facs.MIRROR_68)] * (-1, 1) + (CANONICAL_SIZE - 1, 0)
    np.testing.assert_allclose(mirrored, CANONICAL_LANDMARKS, atol=1e-4)


def test_canonical_face_has_its_proportions() -> None:
    """Every unit of motion is a pixel of this face: its size is a contract."""
    left, right = five_points(CANONICAL_LANDMARKS)[:2]
    assert np.linalg.norm(right - left) == pytest.approx(INTEROCULAR, abs=0.5)
    assert left[1] == pytest.approx(58, abs=0.5)
    assert CANONICAL_LANDMARKS.min() >= 0 and CANONICAL_LANDMARKS.max() < CANONICAL_SIZE


def test_similarity_is_recovered() -> None:
    points = np.random.default_rng(0).normal(size=(7, 2))
    matrix = np.array([[0.8, -0.3, 5.0], [0.3, 0.8, -2.0]])
    np.testing.assert_allclose(fit_similarity(points, transform(matrix, points)), matrix)
    np.testing.assert_allclose(transform(invert(matrix), transform(matrix, points)), points)


# ------------------------------------------------------------------- the track rule


def test_track_is_interpolated_and_ends_where_the_face_does() -> None:
    """The face is there from 7 to 40; only every tenth frame is looked at first."""
    finder = Scripted({i: [box(x=10 + i * 0.1)] for i in range(7, 41)})
    track = track_faces(blank(60), finder, step=10)
    np.testing.assert_array_equal(np.flatnonzero(track.present), np.arange(7, 41))
    assert np.isnan(track.boxes[~track.present]).all()
    np.testing.assert_allclose(track.boxes[7:41, 0], 10 + np.arange(7, 41) * 0.1, atol=0.6)
    assert len(finder.asked) < 20


def test_a_face_in_few_frames_is_none() -> None:
    finder = Scripted({i: [box()] for i in range(10, 20)})
    with pytest.raises(UserError, match="clip blank: no face found") as caught:
        track_faces(blank(60), finder, step=2)
    assert "\n" not in str(caught.value)


def test_scattered_faces_are_none() -> None:
    """False alarms hop about; a face moves on from where it was."""
    finder = Scripted({i: [box(x=10 + 37 * (i % 4))] for i in range(60)})
    with pytest.raises(UserError):
        track_faces(blank(60), finder, step=1)


def test_a_missed_detection_is_bridged() -> None:
    finder = Scripted({i: [box()] for i in range(40) if i not in (12, 16)})
    assert track_faces(blank(40), finder, step=4).present.all()


def test_the_larger_of_two_faces_is_followed() -> None:
    finder = Scripted({i: [box(x=80, w=20, score=9), box(w=40)] for i in range(20)})
    np.testing.assert_allclose(track_faces(blank(20), finder, step=1).boxes[:, 2], 40)


def test_a_face_behind_one_that_crosses_is_one_other_face() -> None:
    """The smaller one is hidden in the middle; its two stretches are not two people."""
    there = {i: [box(x=2 * i, w=40)] for i in range(100)}
    for i in (*range(46), *range(54, 100)):
        there[i].append(box(x=204 - 2 * i, w=30))
    track = track_faces(blank(100), Scripted(there), step=1)
    assert track.present.all() and track.boxes[:, 2].min() == 40
    assert track.remarks == (
        "another face is in the picture; measured is face 1 from the left, not face 2",
    )
    hidden = track_faces(blank(100), Scripted(there), step=1, face=2)
    assert hidden.remarks[0].startswith("another face is in the picture; measured is face 2")
    assert "the face is lost and found again" in hidden.remarks[1]


@pytest.mark.parametrize("frames", [1, 3])
def test_very_short_clips(frames: int) -> None:
    finder = Scripted({i: [box()] for i in range(frames)})
    assert track_faces(blank(frames), finder).present.sum() == frames


def test_noise_has_no_face() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 120, 160, 3)).astype(np.uint8)
    with pytest.raises(UserError, match="no face"):
        track_faces(clip_from_array(noise, 30, "noise"))


def test_finder_wants_its_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        YuNetFinder(tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_text("no model")
    with pytest.raises(UserError, match="cannot load"):
        YuNetFinder(tmp_path / "yunet.onnx")


# ------------------------------------------------------------------- simulated heads


@pytest.mark.parametrize("finder", [pytest.param("network", marks=needs_weights), "mean"])
@pytest.mark.parametrize("seed", SEEDS)
def test_simulated_landmarks_are_found(seed: int, finder: str) -> None:
    """RMS over brows, eyes, nose and mouth; far beyond the stated uncertainty would be a lie."""
    clip, face = simulated(seed), aligned(seed, finder)
    exact = np.mean([transform(face.transforms[i], clip.landmarks[i]) for i in range(len(face))], 0)
    error = np.sqrt(((exact - face.landmarks)[INNER] ** 2).sum(-1).mean())
    stated = np.sqrt((face.landmark_uncertainty[INNER].astype(float) ** 2).mean())
    assert error < 1.6 * stated


@needs_weights
def test_network_is_nearer_than_the_mean_shape() -> None:
    def off(seed: int, finder: str) -> float:
        clip, face = simulated(seed), aligned(seed, finder)
        exact = transform(face.transforms[0], clip.landmarks[0])
        return float(np.linalg.norm(exact - face.landmarks, axis=1).mean())

    by = {name: np.mean([off(seed, name) for seed in SEEDS]) for name in ("network", "mean")}
    assert by["network"] < 0.8 * by["mean"]


def test_unknown_finder_is_named() -> None:
    with pytest.raises(UserError, match="did you mean 'network'"):
        landmark_finder("netwrok")


def test_placement_uncertainty_is_the_rms() -> None:
    clip = simulated(0)
    face = align_with(clip.clip, clip.landmarks[0], uncertainty=3.0)
    np.testing.assert_allclose(face.landmark_uncertainty, 3.0, rtol=1e-6)
    assert face.landmark_uncertainty.shape == (68,)
    assert face.placement_uncertainty == pytest.approx(3.0)


def test_cropped_face_is_found() -> None:
    """The corpora's cropped folders cut at the brows and the chin."""
    clip = simulated(0)
    x0, y0 = clip.landmarks[0, :17].min(axis=0).astype(int)
    x1, y1 = clip.landmarks[0].max(axis=0).astype(int)
    cut = clip.clip.frames[:1, max(0, y0 - 45) : y1 + 1, max(0, x0) : x1 + 1]
    assert HaarFinder().find(np.ascontiguousarray(cut[0]))


def still(seed: int, frames: int = 16) -> Clip:
    """One rendered frame over and over, with fresh camera noise."""
    rng = np.random.default_rng(seed)
    first = simulated(seed).clip.frames[0].astype(float)
    noisy = first + rng.normal(0, 2, (frames, *first.shape))
    return clip_from_array(np.clip(noisy, 0, 255).astype(np.uint8), 100, "still")


def test_still_head_gets_one_transform() -> None:
    """A box that jitters by 3 % must not move the face by a hundredth of a pixel."""
    clip = still(0)
    true_box = HaarFinder().find(clip.frames[0])[0]
    rng = np.random.default_rng(1)

    class Jittery:
        def find(self, image: NDArray[np.uint8]) -> list[FaceBox]:
            dx, dy, ds = rng.normal(0, 0.03, 3) * true_box.w
            return [FaceBox(true_box.x + dx, true_box.y + dy, true_box.w + ds, true_box.w + ds, 1)]

    face = align(clip, track_faces(clip, Jittery(), step=1))
    assert face.constant
    np.testing.assert_array_equal(face.transforms, np.repeat(face.transforms[:1], len(clip), 0))


def test_moving_head_is_followed() -> None:
    """A head that drifts by a fifth of its width stays put on the canonical face, smoothly."""
    first = simulated(0).clip.frames[0]
    frames = 40
    shifts = np.stack([np.linspace(0, 40, frames), 6 * np.sin(np.linspace(0, 3, frames))], axis=1)
    moved = [
        cv2.warpAffine(
            first, np.array([[1, 0, dx], [0, 1, dy]]), (360, 320), borderMode=cv2.BORDER_REPLICATE
        )
        for dx, dy in shifts
    ]
    clip = clip_from_array(np.stack(moved).astype(np.uint8), 50, "drift")
    face = align(clip, track_faces(clip))
    assert not face.constant
    places = np.stack(
        [
            transform(face.transforms[i], simulated(0).landmarks[0] + shifts[i]).mean(axis=0)
            for i in range(frames)
        ]
    )
    assert np.ptp(places, axis=0).max() < 1.0
    assert np.abs(np.diff(places, axis=0)).max() < 0.1


def test_poses_are_smoothed_over_seconds_where_the_rate_changes() -> None:
    """A camera that slows down from 60 to 10 frames a second: six frames were taken for 0.1 s."""
    times = np.concatenate([np.arange(60) / 60, 1 + np.arange(12) / 10])
    sway = 10 * np.sin(2 * np.pi * 0.8 * times)
    drift = np.repeat(np.eye(2, 3)[None], len(times), axis=0)
    drift[:, 0, 2], drift[:, 1, 2] = sway, 5 * times
    found = _smooth(drift, times)
    assert np.abs(found[:, 0, 2] - sway).max() < 2
    # A steady drift stays what it is, and so does the pose behind a pause.
    np.testing.assert_allclose(found[:, 1, 2], 5 * times, atol=1e-9)
    alone = _smooth(drift, np.concatenate([times[:-1], [times[-1] + 30]]))
    np.testing.assert_allclose(alone[-1], drift[-1])


def test_dropped_frames_change_no_way_of_smoothing() -> None:
    times = np.delete(np.arange(60) / 60, [20, 41])
    poses = np.random.default_rng(0).normal(size=(58, 2, 3))
    np.testing.assert_array_equal(_smooth(poses, times), _smooth(poses, np.arange(58) / 60))


def test_absent_frames_are_black() -> None:
    clip = still(0, 12)
    track = track_faces(clip, step=1)
    half = np.arange(12) < 6
    boxes = np.where(half[:, None], track.boxes, np.nan)
    kept = tuple((i, b) for i, b in track.detections if i < 6)
    face = align(clip, type(track)(boxes, half, kept))
    assert face.frames[6:].max() == 0 and face.frames[:6].mean() > 30
    assert np.isfinite(face.transforms).all()
    np.testing.assert_array_equal(face.present, half)


def test_known_landmarks_align_exactly() -> None:
    clip = simulated(0)
    face = align_with(clip.clip, clip.landmarks[0])
    expected = transform(face.transforms[0], clip.landmarks[0])
    np.testing.assert_allclose(face.landmarks, expected, atol=1e-3)
    eyes = five_points(face.landmarks)[:2].mean(axis=0)
    assert np.abs(eyes - five_points(CANONICAL_LANDMARKS)[:2].mean(axis=0)).max() < 6


def test_strong_shrinking_does_not_alias() -> None:
    """A 4-K face is shrunk fourfold: a fine checkerboard must turn grey, not into moire."""
    fine = np.indices((896, 896)).sum(axis=0) % 2 * 255
    image = np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)
    small = warp_frame(image, np.array([[0.25, 0, 0], [0, 0.25, 0]]))
    assert small.std() < 10


def test_the_forehead_is_shown_and_nothing_else_changes() -> None:
    """Pictures go on above the square without a seam; the square itself is the same."""
    clip = simulated(0)
    face = align_with(clip.clip, clip.landmarks[0])
    assert face.above is not None
    rows = face.above.shape[1]
    assert 0 < rows <= ABOVE and rows % 8 == 0
    squares = [warp_frame(frame, face.transforms[0]) for frame in clip.clip.frames]
    np.testing.assert_array_equal(face.frames, squares)
    # The same picture 20 rows further down holds the border between the two parts.
    lowered = face.transforms[0] + [[0, 0, 0], [0, 0, 20]]
    whole = face.pictures(0)
    assert whole.shape == (rows + CANONICAL_SIZE, CANONICAL_SIZE, 3)
    seam = whole[rows - 20 :][:CANONICAL_SIZE].astype(int)
    assert np.abs(seam - warp_frame(clip.clip.frames[0], lowered)).max() <= 2
    part = face.part(2, 5)
    np.testing.assert_array_equal(part.pictures(0), face.pictures(2))
    assert len(part.pictures(np.arange(3))) == 3


def test_a_frame_that_ends_at_the_brows_shows_no_more() -> None:
    """Rows that the video does not have are not made up."""
    clip = simulated(0)
    landmarks = clip.landmarks[0]
    cut = int(landmarks[17:27, 1].min()) - 2
    cropped = clip_from_array(clip.clip.frames[:, cut:], 30.0, "crop")
    face = align_with(cropped, landmarks - [0, cut])
    assert face.above is not None and face.above.shape[1] == 0
    assert face.pictures(0).shape == (CANONICAL_SIZE, CANONICAL_SIZE, 3)


# ------------------------------------------------------------------- real clips


@needs_data
@pytest.mark.parametrize("finder", [pytest.param("network", marks=needs_weights), "mean"])
def test_portrait_against_yunet(finder: str) -> None:
    """Haar with the network or the mean face against YuNet's five points; they share no data."""
    clip, judge = real("single_face.mp4"), yunet()
    track = track_faces(clip)
    assert track.present.all()
    face = align(clip, track, landmark_finder(finder))
    five = five_points(face.landmarks)
    errors = [
        np.linalg.norm(transform(face.transforms[i], found[0].landmarks5) - five, axis=1)
        for i in range(0, len(clip), 6)
        if (found := judge.find(clip.frames[i])) and found[0].landmarks5 is not None
    ]
    assert len(errors) == 12
    # mouth corners included, through a broad smile
    assert np.mean(errors) < 0.10 * INTEROCULAR
    eyes = {"network": 0.10, "mean": 0.07}[finder]  # the mean face is placed by the eyes
    assert np.mean(np.array(errors)[:, :2]) < eyes * INTEROCULAR


@needs_data
def test_portrait_with_yunet_itself() -> None:
    clip = real("single_face.mp4")
    face = align(clip, track_faces(clip, yunet()), MeanShapeFinder())
    assert face.landmark_method == "five points"
    haar = align(clip, track_faces(clip), MeanShapeFinder())
    middle = np.array([CANONICAL_SIZE / 2, CANONICAL_SIZE / 2])
    back = transform(invert(face.transforms[40]), middle)
    assert np.linalg.norm(transform(haar.transforms[40], back) - middle) < 10


@needs_data
def test_portrait_without_face() -> None:
    """A cascade fires on single frames of this clip; that is no face."""
    with pytest.raises(UserError, match="no face"):
        track_faces(real("no_face.mp4"))
    with pytest.raises(UserError, match="no face"):
        track_faces(real("no_face.mp4"), yunet())


@needs_data
def test_face_that_leaves() -> None:
    clip = real("face_noface.mov")
    track = track_faces(clip)
    by_yunet = track_faces(clip, yunet())
    assert abs(int(track.present.sum()) - int(by_yunet.present.sum())) <= 3
    assert track.present[:60].all() and not track.present[90:].any()
