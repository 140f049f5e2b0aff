"""Head motion is removed, expressions stay."""

import numpy as np
import pytest

from deft_llm.motion.head_motion import Model, fit_rigid, head_depth, remove_head_motion

from .conftest import bump, grid


def similarity(u: float, v: float, scale: float, rotation: float) -> np.ndarray:
    x, y = grid()
    x, y = x - 111.5, y - 112
    return np.stack([u + scale * x - rotation * y, v + scale * y + rotation * x]).astype(np.float32)


@pytest.mark.parametrize("model", ["similarity", "affine", "rigid"])
@pytest.mark.parametrize("pose", [(2.5, -1.2, 0, 0), (0, 0, 0.01, 0), (1, 1, 0.005, 0.02)])
def test_in_plane_motion_vanishes(model: Model, pose: tuple, landmarks: np.ndarray) -> None:
    left, motion = remove_head_motion(similarity(*pose), landmarks, model)
    assert np.abs(left).max() < 0.02
    assert motion.rotation == pytest.approx(pose[3], abs=1e-4)
    assert motion.scale == pytest.approx(pose[2], abs=1e-4)


def test_turn_and_nod_vanish_in_the_rigid_model(landmarks: np.ndarray) -> None:
    depth = head_depth(landmarks, 224, 224)
    flow = np.stack([0.01 * depth, -0.006 * depth])
    assert np.abs(remove_head_motion(flow, landmarks)[0]).max() < 0.02
    assert np.abs(remove_head_motion(flow, landmarks, "similarity")[0]).max() > 0.3


@pytest.mark.parametrize("point", [48, 19, 8, 31])  # mouth corner, brow, chin, nostril
def test_expression_is_kept(point: int, landmarks: np.ndarray) -> None:
    """More than 90 % of a 1-px local motion survives, on top of head motion."""
    x, y = landmarks[point]
    local = bump(x, y - 4, 12, 0.6, -0.8)
    kept, _ = remove_head_motion(local + similarity(1.5, 0.7, 0.004, 0.01), landmarks)
    row, column = round(float(y)) - 4, round(float(x))
    assert kept[:, row, column] @ np.array([0.6, -0.8]) > 0.9
    assert np.abs(kept - local)[:, 20:204, 30:194].max() < 0.1


def test_translation_of_the_head_changes_nothing(landmarks: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    flow = bump(80, 145, 12, 1, 0) + rng.normal(0, 0.05, (2, 224, 224)).astype(np.float32)
    moved = flow + np.array([[[3.0]], [[-2.0]]], np.float32)
    kept, _ = remove_head_motion(flow, landmarks)
    kept_moved, _ = remove_head_motion(moved, landmarks)
    np.testing.assert_allclose(kept, kept_moved, atol=2e-3)


def test_without_landmarks_the_whole_image_votes() -> None:
    flow = similarity(1, 2, 0.01, -0.01)
    np.testing.assert_allclose(fit_rigid(flow).field(224, 224), flow, atol=1e-3)


def test_an_image_of_a_few_pixels_has_a_motion_too() -> None:
    motion = fit_rigid(np.stack([np.full((3, 3), 0.5), np.zeros((3, 3))]).astype(np.float32))
    np.testing.assert_allclose(motion.translation, (0.5, 0.0), atol=1e-6)
