"""The finder: crops lie where they say, and what is found comes back to the reference frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.landmark_models.crops import (
    cut,
    placed_by_box,
    placed_by_points,
    to_crop,
)
from deft_llm.landmark_models.finder import NetworkFinder
from deft_llm.landmark_models.network import LandmarkConfig, LandmarkNet, Placed
from deft_llm.media.canonical import CANONICAL_LANDMARKS, five_points, transform
from deft_llm.media.landmarks import EYE_DISTANCE, EYE_HEIGHT
from deft_llm.media.tracking import FaceTrack
from deft_llm.media.video import clip_from_array
from deft_llm.weights import save_network

SIDE = 32
BOX = np.array([40.0, 30.0, 100.0, 100.0])


class Constant(torch.nn.Module):
    """Says that every crop holds the canonical face just where it should be, moved by some px."""

    def __init__(self, config: LandmarkConfig) -> None:
        super().__init__()
        self.config = config
        self.shift = torch.nn.Parameter(torch.zeros(2))
        crop = to_crop(np.eye(2, 3), config.side)
        self.points = torch.from_numpy(transform(crop, CANONICAL_LANDMARKS)).float()

    def forward(self, crops: Tensor) -> Placed:
        count = len(crops)
        points = (self.points + self.shift).expand(count, -1, -1)
        return Placed(points, torch.full((count, 68), np.log(0.5)))


@pytest.fixture
def finder(tmp_path: Path) -> NetworkFinder:
    config = LandmarkConfig(side=SIDE, width=4, blocks=1)
    save_network(LandmarkNet(config), tmp_path)
    finder = NetworkFinder(tmp_path)
    finder.network = Constant(config)  # type: ignore[assignment]
    return finder


def test_a_box_puts_the_eyes_where_boxes_have_them() -> None:
    eyes = five_points(transform(placed_by_box(BOX), CANONICAL_LANDMARKS))[:2]
    np.testing.assert_allclose(eyes[:, 1], 30 + EYE_HEIGHT * 100, atol=0.6)
    np.testing.assert_allclose(eyes.mean(0)[0], 90, atol=1e-3)
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(EYE_DISTANCE * 100, rel=0.01)


@pytest.mark.parametrize(("width", "tolerance"), [(50.0, 0.2), (400.0, 0.25)])
def test_what_is_cut_lies_where_the_matrix_says(width: float, tolerance: float) -> None:
    """A bright spot's centre of mass, whether the crop is enlarged or much shrunk."""
    image = np.zeros((500, 640), np.uint8)
    spot = np.array([320.0, 260.0])
    cv2.circle(image, (320, 260), int(width / 6), 255, -1, cv2.LINE_AA)
    placement = placed_by_box(np.array([320 - width / 2, 250 - width / 2, width, width]))
    tilt = np.array([[0.98, -0.2, 50.0], [0.2, 0.98, -60.0]])
    placement = np.column_stack([tilt[:, :2] @ placement[:, :2], placement[:, 2]])
    crop, matrix = cut(image, placement, 96)
    weights = crop.astype(float)
    y, x = np.mgrid[:96, :96]
    centre = np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()
    np.testing.assert_allclose(centre, transform(matrix, spot), atol=tolerance)


def test_placement_is_found_again() -> None:
    placement = np.array([[0.5, -0.1, 30.0], [0.1, 0.5, 7.0]])
    again = placed_by_points(transform(placement, CANONICAL_LANDMARKS))
    np.testing.assert_allclose(again, placement, atol=1e-6)


def test_points_come_back_to_the_image(finder: NetworkFinder) -> None:
    image = np.zeros((200, 240, 3), np.uint8)
    turned = np.array([[0.5, -0.1, 60.0], [0.1, 0.5, 20.0]])
    points, errors = finder.find([image, image], [placed_by_box(BOX), turned])
    np.testing.assert_allclose(
        points[0], transform(placed_by_box(BOX), CANONICAL_LANDMARKS), atol=1e-3
    )
    np.testing.assert_allclose(points[1], transform(turned, CANONICAL_LANDMARKS), atol=1e-3)
    # a Laplace scale of half a sixteenth of the crop, twice for the RMS of both coordinates
    pixel = np.hypot(*to_crop(turned, SIDE)[:, 0])
    np.testing.assert_allclose(errors[1], SIDE / 16 / pixel, rtol=1e-4)


def test_what_a_mirror_contradicts_is_unsure(finder: NetworkFinder) -> None:
    """A network that always errs to the right errs by nothing in the mean, and says so."""
    image = np.zeros((200, 240, 3), np.uint8)
    where = placed_by_box(BOX)
    sure = finder.find([image], [where])[1]
    with torch.no_grad():
        finder.network.shift[0] = 2.0  # type: ignore[operator]
    points, unsure = finder.find([image], [where])
    np.testing.assert_allclose(points[0], transform(where, CANONICAL_LANDMARKS), atol=1e-3)
    pixel = np.hypot(*to_crop(where, SIDE)[:, 0])
    np.testing.assert_allclose(unsure, np.hypot(sure, 2.0 / pixel), rtol=1e-4)


def moving(frames: int) -> tuple[FaceTrack, NDArray[np.float64]]:
    """A box that goes to the right, and poses that bring every frame back to the first."""
    shift = 3.0 * np.arange(frames)
    boxes = np.tile(BOX, (frames, 1))
    boxes[:, 0] += shift
    poses = np.tile(np.eye(2, 3), (frames, 1, 1))
    poses[:, 0, 2] = -shift
    return FaceTrack(boxes, np.ones(frames, bool)), poses


def test_frames_meet_in_the_reference(finder: NetworkFinder) -> None:
    """One box far off, as after a missed detection, does not move the median."""
    track, poses = moving(7)
    track.boxes[3] += (30, 20, 0, 0)
    clip = clip_from_array(np.zeros((7, 200, 260, 3), np.uint8), 30, "moving")
    found = finder.place(clip, track, poses)
    expected = transform(placed_by_box(BOX), CANONICAL_LANDMARKS)
    np.testing.assert_allclose(found.points, expected, atol=1e-3)
    assert found.method == "network" and found.uncertainty.shape == (68,)
    side = 1.5 * BOX[2]
    np.testing.assert_allclose(found.uncertainty, side / 16 / (EYE_DISTANCE * 100), rtol=1e-3)


def test_frames_that_disagree_are_unsure(finder: NetworkFinder) -> None:
    track, poses = moving(7)
    clip = clip_from_array(np.zeros((7, 200, 260, 3), np.uint8), 30, "moving")
    sure = finder.place(clip, track, poses).uncertainty
    track.boxes[:, 1] += 5.0 * np.arange(7)
    assert (finder.place(clip, track, poses).uncertainty > 1.2 * sure).all()
