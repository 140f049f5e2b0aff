"""The head is aligned on the images; its depth is that of a head."""

import numpy as np
import pytest

from deft_llm.motion.head_alignment import NOD, TURN, HeadAligner
from deft_llm.motion.head_depth import further_points, head_depth

from .conftest import bump, warp

MOTION = np.array([1.6, -0.9, 0.006, 0.012, 0.02, -0.01])


def test_a_known_motion_is_found(face: np.ndarray, landmarks: np.ndarray) -> None:
    aligner = HeadAligner(face, landmarks)
    image = warp(face, aligner.field(MOTION))
    found = aligner.fit(image, steps=10)
    assert np.abs(aligner.field(found) - aligner.field(MOTION))[:, 40:190, 50:175].max() < 0.05
    assert found[[TURN, NOD]] == pytest.approx(MOTION[[TURN, NOD]], abs=1e-3)
    again = aligner.fit(image, found, steps=1)
    assert np.abs(again - found).max() < 1e-3


def test_an_expression_is_not_taken_for_the_head(face: np.ndarray, landmarks: np.ndarray) -> None:
    aligner = HeadAligner(face, landmarks)
    (right_x, right_y), (left_x, left_y) = landmarks[48], landmarks[54]
    smile = bump(right_x, right_y, 12, -1.5, -1.5) + bump(left_x, left_y, 12, 1.5, -1.5)
    moved = aligner.field(aligner.fit(warp(face, smile)))
    assert np.abs(moved[:, 60:180, 60:160]).max() < 0.15


def test_light_does_not_move_the_head(face: np.ndarray, landmarks: np.ndarray) -> None:
    aligner = HeadAligner(face, landmarks)
    ramp = np.linspace(-15, 15, 224, dtype=np.float32)
    assert np.abs(aligner.field(aligner.fit(face + ramp))[:, 60:180, 60:160]).max() < 0.03


def test_a_flat_image_has_no_motion(landmarks: np.ndarray) -> None:
    flat = np.full((224, 224), 90, np.float32)
    assert np.abs(HeadAligner(flat, landmarks).fit(flat + 3)).max() < 1e-6


def test_depth_of_the_features(landmarks: np.ndarray) -> None:
    """In eye distances from the bridge: the parts of every face lie in this order."""
    depth = head_depth(landmarks, 224, 224) / 80

    def at(point: int) -> float:
        x, y = landmarks[point].round().astype(int)
        return float(depth[min(y, 223), min(x, 223)])

    assert at(27) == 0 and at(30) == pytest.approx(0.35, abs=0.05)
    for right, left in ((36, 45), (39, 42), (48, 54), (17, 26)):
        assert at(right) == pytest.approx(at(left), abs=0.04)
    assert at(30) > at(51) > at(27) > at(39) > at(17) > at(1)


def test_depth_is_of_the_size_of_the_face(landmarks: np.ndarray) -> None:
    whole, half = head_depth(landmarks, 224, 224), head_depth((landmarks + 0.5) / 2 - 0.5, 112, 112)
    off = np.abs(whole[1::2, 1::2] - 2 * half)[20:90, 25:85]
    # The flank of the nose, steep and coarsely sampled, may be a little off.
    assert np.median(off) < 0.5 and np.quantile(off, 0.99) < 1.5


def told_depth(landmarks: np.ndarray) -> np.ndarray:
    """The mean head's, of a face whose jaw lies 0.25 eye distances nearer to the camera."""
    x, y = np.clip(landmarks.round().astype(int), 0, 223).T
    depth = head_depth(landmarks, 224, 224)[y, x] / 80
    depth[3:14] += 0.25
    return np.asarray(depth, np.float32)


def test_told_depth_counts_by_half_whatever_its_unit_and_plane(landmarks: np.ndarray) -> None:
    mean, told = head_depth(landmarks, 224, 224), told_depth(landmarks)

    def with_depth(depth: np.ndarray) -> np.ndarray:
        return head_depth(np.column_stack([landmarks, depth]), 224, 224)

    ours = with_depth(80 * told)
    x, y = landmarks[8].round().astype(int)
    assert 0.06 * 80 < (ours - mean)[min(y, 223), x] < 0.2 * 80
    np.testing.assert_allclose(with_depth(7 * told + 300), ours, atol=0.05)


def test_further_points_are_on_forehead_and_cheeks(landmarks: np.ndarray) -> None:
    forehead, cheeks = further_points(landmarks)[:6], further_points(landmarks)[6:]
    assert (forehead[:, 1] < landmarks[17:27, 1].min()).all()
    assert (cheeks[:4, 0] < 112).all() and (cheeks[4:, 0] > 111).all()  # the subject's right first
