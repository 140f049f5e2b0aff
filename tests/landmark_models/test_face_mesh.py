"""The face mesh: the table of points, crops that follow a face, and the real file where it is."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.downloads import FACE_MESH, model_path
from deft_llm.errors import UserError
from deft_llm.landmark_models.augment import jitter
from deft_llm.landmark_models.crops import placed_by_box, placed_by_points
from deft_llm.landmark_models.face_mesh import FaceMeshFinder, MeshNet
from deft_llm.landmark_models.mesh_points import MESH_POINTS, USUAL_ERROR, to_ibug
from deft_llm.media.canonical import INTEROCULAR
from deft_llm.media.face import align, landmark_finder, track_faces
from deft_llm.media.landmarks import DEFAULT_FINDER, _tell_once, usual_finder
from deft_llm.media.tracking import FaceTrack
from deft_llm.media.video import clip_from_array
from deft_llm.metrics.landmarks import interocular, landmark_errors, stated_error_ratio
from deft_llm.motion.regions import regions_placed
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_clip
from deft_llm.simulator.scene.performance import Curve

MIRROR = np.array(facs.MIRROR_68)
BOX = np.array([60.0, 50.0, 100.0, 100.0])


class Spots:
    """A network that puts the mesh around the brightest spot of a crop; a dark crop is no face."""

    def __init__(self) -> None:
        self.crops: list[NDArray[np.uint8]] = []

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self.crops.append(crops[0])
        found = []
        for crop in crops:
            smooth = cv2.GaussianBlur(crop[..., 0], (0, 0), 4)
            y, x = np.unravel_index(smooth.argmax(), smooth.shape)
            found.append(around(float(x), float(y)))
        scores = np.where(crops.reshape(len(crops), -1).max(axis=1) > 60, 0.9, 0.1)
        return np.stack(found), scores


def around(x: float, y: float) -> NDArray[np.float64]:
    """A mesh of 128 px, upright, with its eyes level."""
    mesh = np.tile([x, y, 0.0], (MESH_POINTS, 1))
    # None of these is among the 68, so those lie on the spot.
    mesh[[10, 151, 338, 109], :2] += [(-64, -64), (64, -64), (64, 64), (-64, 64)]
    mesh[33, 0], mesh[263, 0] = x - 30, x + 30
    return mesh


@pytest.fixture
def spots(monkeypatch: pytest.MonkeyPatch) -> tuple[FaceMeshFinder, Spots]:
    monkeypatch.setattr("deft_llm.landmark_models.face_mesh._network", lambda path: Spots())
    finder = FaceMeshFinder()
    return finder, finder.network  # type: ignore[return-value]


def frame(x: int, y: int, bright: int = 255) -> NDArray[np.uint8]:
    image = np.full((240, 320, 3), 20, np.uint8)
    cv2.circle(image, (x, y), 6, (bright,) * 3, -1)
    return image


def test_the_table_is_the_same_on_both_sides() -> None:
    np.testing.assert_array_equal(USUAL_ERROR, USUAL_ERROR[MIRROR])
    assert (USUAL_ERROR > 0.01).all() and (USUAL_ERROR < 0.12).all()
    np.testing.assert_allclose(to_ibug(np.ones((MESH_POINTS, 3))), 1)


def test_a_face_is_followed_without_its_box(spots: tuple[FaceMeshFinder, Spots]) -> None:
    finder, network = spots
    places = [(110, 100), (112, 101), (150, 110), (190, 120)]
    images = [frame(*place) for place in places]
    poses = np.tile(np.eye(2, 3), (len(places), 1, 1))
    wrong = placed_by_box(np.array([0.0, 0.0, 20.0, 20.0]))
    seen = finder.follow(images, [placed_by_box(BOX), wrong, wrong, wrong], poses)
    for face, place in zip(seen, places, strict=True):
        np.testing.assert_allclose(face.points.mean(axis=0), place, atol=2)
    # Two looks at the first, which is known by its box alone, and one at each of the others.
    assert len(network.crops) == 2 + 3


def test_poses_carry_the_crop(spots: tuple[FaceMeshFinder, Spots]) -> None:
    finder, network = spots
    poses = np.stack([np.eye(2, 3), np.array([[1.0, 0, -150], [0, 1, -60]])])
    images = [frame(110, 100), frame(260, 160)]
    seen = finder.follow(images, [placed_by_box(BOX)] * 2, poses)
    np.testing.assert_allclose(seen[1].points.mean(axis=0), (260, 160), atol=2)
    assert len(network.crops) == 3


def test_a_lost_face_is_sought_by_its_box(spots: tuple[FaceMeshFinder, Spots]) -> None:
    finder, _ = spots
    images = [frame(110, 100), frame(110, 100, bright=20), frame(110, 100)]
    poses = np.tile(np.eye(2, 3), (3, 1, 1))
    seen = finder.follow(images, [placed_by_box(BOX)] * 3, poses)
    assert [face.score > 0.5 for face in seen] == [True, False, True]


def test_a_still_face_keeps_its_crop(spots: tuple[FaceMeshFinder, Spots]) -> None:
    """The background shows where a crop lies: the mesh trembles, the crop does not."""
    finder, network = spots
    wall = np.tile(np.arange(320, dtype=np.uint8)[None, :, None] // 2, (240, 1, 3))
    images = [np.maximum(wall, frame(110 + i % 2, 100)) for i in range(6)]
    poses = np.tile(np.eye(2, 3), (6, 1, 1))
    finder.follow(images, [placed_by_box(BOX)] * 6, poses)
    for crop in network.crops[3:]:
        np.testing.assert_array_equal(crop[:40], network.crops[2][:40])


def test_a_face_that_the_mesh_never_sees_is_left_to_the_network(
    spots: tuple[FaceMeshFinder, Spots], caplog: pytest.LogCaptureFixture
) -> None:
    finder, _ = spots
    clip = clip_from_array(np.stack([frame(110, 100, bright=20)] * 3), 30, "dark")
    track = FaceTrack(np.tile(BOX, (3, 1)), np.ones(3, bool))
    found = finder.place(clip, track, np.tile(np.eye(2, 3), (3, 1, 1)))
    assert found.method == "network" and found.depth is None
    assert "no face for the face mesh" in caplog.text


def test_a_missing_or_wrong_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="deft-llm models get face-mesh"):
        landmark_finder(FACE_MESH)
    (tmp_path / "mesh.tflite").write_bytes(b"no network at all")
    with pytest.raises(UserError, match="cannot read it as a TFLite file"):
        MeshNet(tmp_path / "mesh.tflite")


def test_the_default_is_the_mesh_where_it_was_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path))
    _tell_once.cache_clear()
    caplog.set_level(logging.INFO)
    assert usual_finder() == DEFAULT_FINDER == "network"
    model_path(FACE_MESH).parent.mkdir(parents=True)
    model_path(FACE_MESH).touch()
    assert usual_finder() == usual_finder() == FACE_MESH
    assert caplog.text.count("placed by the face mesh") == 1


# --------------------------------------------------------------- with the downloaded file


@pytest.fixture(scope="module")
def face() -> SimulatedClip:
    """A smile at its apex."""
    spec = draw_spec(41, 990_041, aus=("12", "25"), curve=Curve(3, 0, 2, 3, 1.0, 1.0), blink=None)
    return render_clip(spec)


def test_rendered_landmarks_are_found(mesh_file: Path, face: SimulatedClip) -> None:
    finder, truth = FaceMeshFinder(mesh_file), face.landmarks[-1].astype(np.float64)
    place = jitter(placed_by_points(truth), np.random.default_rng(0))
    image = face.clip.frames[-1]
    points, stated = finder.find([image, image[:, ::-1]], [place, mirrored(place, image.shape[1])])
    errors = landmark_errors(points[:1], truth[None])
    assert errors.mean() < 0.05
    assert 0.5 < stated_error_ratio(errors, stated[:1] / interocular(truth)) < 2
    assert regions_placed(points[0], stated[0]).all()
    # Each face is seen both ways, so a mirror image gives the mirrored points.
    back = points[1][MIRROR] * (-1, 1) + (image.shape[1] - 1, 0)
    assert np.linalg.norm(points[0] - back, axis=1).max() < 0.02 * interocular(truth)


def mirrored(place: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The placement in the mirrored image; a face is symmetric, so it stays a similarity."""
    flipped = place * np.array([[-1.0], [1.0]])
    flipped[0, 2] += width - 1
    middle = np.array([[-1.0, 0, 223], [0, 1, 0]])
    return np.column_stack(
        [flipped[:, :2] @ middle[:, :2], flipped[:, :2] @ middle[:, 2] + flipped[:, 2]]
    )


def test_a_clip_is_aligned_with_depth(mesh_file: Path, face: SimulatedClip) -> None:
    finder = FaceMeshFinder(mesh_file)
    aligned = align(face.clip, track_faces(face.clip), finder)
    assert aligned.landmark_method == FACE_MESH
    assert regions_placed(aligned.landmarks, aligned.landmark_uncertainty).all()
    depth = aligned.landmark_depth
    assert depth is not None and depth.shape == (68,) and depth[27] == 0
    # The tip of the nose is nearest, the ends of the jaw are about an eye distance behind.
    assert depth.argmax() in (29, 30, 33) and 0.1 < depth[30] < 0.6
    assert -1.6 < depth[[0, 16]].max() < -0.5
    assert aligned.placement_uncertainty < 0.1 * INTEROCULAR
