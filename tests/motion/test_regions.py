"""Region masks and the region motion table."""

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.motion.regions import (
    REGION_NAMES,
    region_masks,
    region_motion,
    region_table,
    regions_placed,
)

from .conftest import bump


def test_masks_mirror_with_the_face(landmarks: np.ndarray) -> None:
    """Left and right are exchanged by a flip of the (symmetric) canonical face."""
    masks = region_masks(landmarks, 224)
    for name, mask in zip(REGION_NAMES, masks, strict=True):
        twin = masks[REGION_NAMES.index(facs.mirror_region(name))]
        np.testing.assert_allclose(mask, twin[:, ::-1], atol=0.05)


def test_masks_follow_a_turned_face(landmarks: np.ndarray) -> None:
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = (landmarks - 111.5) @ turn.T + 111.5
    x, y = np.meshgrid(np.arange(224), np.arange(224))
    for mask, rotated in zip(region_masks(landmarks), region_masks(turned), strict=True):
        if mask[[0, -1]].any() or rotated[[0, -1]].any():
            continue
        centres = [np.array([(m * x).sum(), (m * y).sum()]) / m.sum() for m in (mask, rotated)]
        np.testing.assert_allclose((centres[0] - 111.5) @ turn.T + 111.5, centres[1], atol=0.3)


def test_uniform_motion_is_read_in_every_region(landmarks: np.ndarray) -> None:
    flow = np.ones((2, 224, 224), np.float32) * np.array([[[0.3]], [[-0.4]]], np.float32)
    table = region_table(flow, region_masks(landmarks), np.full(20, 0.1, np.float32))
    np.testing.assert_allclose(table.magnitude, 0.5, atol=1e-5)
    np.testing.assert_allclose(table.peak, 0.5, atol=1e-5)
    np.testing.assert_allclose(table.coherence, 1.0, atol=1e-5)
    np.testing.assert_allclose(table.z, 5.0, atol=1e-3)
    assert table.active.all()


def test_direction_is_the_subjects(landmarks: np.ndarray) -> None:
    """Subject's left is image right: motion to image right at the left corner is outward."""
    flow = np.sum([bump(x, y, 10, 1, -1) for x, y in landmarks[[48, 54]]], axis=0)
    table = region_table(flow, region_masks(landmarks), np.full(20, 0.02, np.float32))
    assert table.direction(REGION_NAMES.index("left mouth corner")) == "up and outward"
    assert table.direction(REGION_NAMES.index("right mouth corner")) == "up and inward"
    assert "mouth corner" in REGION_NAMES[next(table.strongest())]


@pytest.mark.parametrize(("motion", "noise", "active"), [(0.1, 0.05, False), (0.015, 0.001, False)])
def test_active_needs_z_and_pixels(
    motion: float, noise: float, active: bool, landmarks: np.ndarray
) -> None:
    flow = np.full((2, 224, 224), motion / np.sqrt(2), np.float32)
    table = region_table(flow, region_masks(landmarks), np.full(20, noise, np.float32))
    assert (table.active == active).all()


def test_uncertain_regions_give_no_evidence(landmarks: np.ndarray) -> None:
    placed = regions_placed(landmarks, 8.0)
    assert not placed[REGION_NAMES.index("left upper lid")]
    assert placed[REGION_NAMES.index("left cheek")]
    flow = np.ones((2, 224, 224), np.float32)
    table = region_table(flow, region_masks(landmarks), np.full(20, 0.01, np.float32), placed)
    assert not table.active[~placed].any() and not table.magnitude[~placed].any()
    assert table.active[placed].all()


def test_only_regions_of_unsure_points_are_left_out(landmarks: np.ndarray) -> None:
    """One unsure mouth corner takes its own region away, and no region of the brows."""
    uncertainty = np.full(68, 1.0)
    uncertainty[48] = 15.0
    placed = dict(zip(REGION_NAMES, regions_placed(landmarks, uncertainty), strict=True))
    assert not placed["right mouth corner"]
    assert placed["left mouth corner"] and placed["right inner brow"]
    # the cheek is larger and has two sure anchors besides
    assert placed["right cheek"]
    assert all(regions_placed(landmarks, np.ones(68)) == regions_placed(landmarks, 1.0))


def test_region_motion_is_linear(landmarks: np.ndarray) -> None:
    a, b = bump(80, 60, 20, 1, 0), bump(140, 150, 15, 0, 1)
    masks = region_masks(landmarks)
    total = region_motion(a, masks) + region_motion(b, masks)
    np.testing.assert_allclose(region_motion(a + b, masks), total, atol=1e-5)
