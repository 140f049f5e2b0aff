"""MediaPipe's face mesh as a landmark finder, "face-mesh" in the registry of ``media/landmarks``.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019,
arXiv:1907.06724. The network is Google's file, which OpenCV reads, so MediaPipe itself is not
needed (``downloads``). The crops follow MediaPipe's convention: a square around the mesh, 1.5 times
as large, turned so that the outer corners of the eyes are level. Our own: every face is seen as it
is and mirrored; 68 points are made of the 468 (``mesh_points``), and their errors are estimated.

K faces; the mesh has 468 points.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Clip
from deft_llm.downloads import FACE_MESH, model_path
from deft_llm.errors import UserError
from deft_llm.landmark_models.crops import ENLARGED, placed_by_box, placed_by_points, to_crop, warp
from deft_llm.landmark_models.finder import NetworkFinder
from deft_llm.landmark_models.mesh_points import MESH_POINTS, USUAL_ERROR, to_ibug
from deft_llm.media.canonical import INTEROCULAR, invert, transform
from deft_llm.media.landmarks import Landmarks
from deft_llm.media.tracking import FaceTrack

logger = logging.getLogger(__name__)

#: Side of the network's input, px.
SIDE = 192
#: Below this score the network sees no face: MediaPipe's own bound.
MIN_SCORE = 0.5
#: Number of frames of a clip that are looked at.
FRAMES_LOOKED_AT = 9
#: Passes over a face that is known by its box alone; one is enough when it is followed.
PASSES = 2

_STILL = 0.04  # of the square: a corner that moved less is where it was
_EYE_CORNERS = (33, 263)  # outer ones, image-left first
_MIRROR = np.array(facs.MIRROR_68)
_BRIDGE = 27
# Distance of either view, plain or mirrored, from their mean on rendered frontal faces, share of
# the interocular distance. Where it is more, on covered and turned faces, all points are worse:
# with this slope the stated errors hold there too (0.9 and 1.3 of them were measured).
_USUAL_DOUBT, _DOUBT_COUNTS = 0.016, 0.5

Points = NDArray[np.float64]


class MeshNet:
    """The network, for one crop or several.

    Args:
        path: The TFLite file.

    Raises:
        UserError: If there is none, or OpenCV cannot read it.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(
                f"{path}: no face mesh there; `deft-llm models get {FACE_MESH}` downloads it"
            )
        try:
            self._net = cv2.dnn.readNetFromTFLite(str(path))
            self._outputs = self._net.getUnconnectedOutLayersNames()
        except cv2.error as error:
            raise UserError(
                f"{path}: OpenCV {cv2.__version__} cannot read it as a TFLite file; "
                f"`deft-llm models get {FACE_MESH}` downloads it anew"
            ) from error
        # The sessions of a server share the network, whose input and output are its state.
        self._lock = Lock()

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[Points, Points]:
        """Look at crops.

        Args:
            crops: uint8 RGB (K, SIDE, SIDE, 3).

        Returns:
            Meshes (K, 468, 3): x and y in px of the crop, depth in px, negative towards the
            camera; and scores (K,), 0..1.
        """
        batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / 255
        with self._lock:
            self._net.setInput(batch)
            found = self._net.forward(self._outputs)
        # Told apart by size: names and order are the exporter's.
        logit, mesh = sorted((np.asarray(each, np.float64) for each in found), key=np.size)
        score = 1 / (1 + np.exp(-logit.reshape(len(crops))))
        return mesh.reshape(len(crops), MESH_POINTS, 3), score


_network = lru_cache(maxsize=2)(MeshNet)


class Seen:
    """One face in one image: the 68 points, px of the image.

    Attributes:
        points: (68, 2).
        doubt: (68,) distance of either view from their mean.
        depth: (68,), positive towards the camera, from an arbitrary plane.
        corners: (4, 2) the square around the mesh, from which the next crop is cut.
        score: 0..1.
    """

    def __init__(self, meshes: Points, scores: Points, matrix: NDArray[np.float64]) -> None:
        back = invert(matrix)
        zoom = float(np.hypot(back[0, 0], back[1, 0]))
        plain, mirrored = to_ibug(meshes)
        # Back to the unmirrored crop, with left and right landmarks swapped.
        mirrored = mirrored[_MIRROR] * (-1, 1, 1) + (SIDE - 1, 0, 0)
        middle = (plain + mirrored) / 2
        self.points = transform(back, middle[:, :2])
        self.doubt = zoom * np.linalg.norm((plain - mirrored)[:, :2], axis=-1) / 2
        self.depth = -zoom * middle[:, 2]
        self.corners = _square(transform(back, meshes[0, :, :2]))
        self.score = float(scores.min())

    @property
    def unit(self) -> float:
        """Interocular distance in px, from the whole face, since a turned face is narrower."""
        matrix = placed_by_points(self.points)
        return INTEROCULAR * float(np.hypot(matrix[0, 0], matrix[1, 0]))

    @property
    def errors(self) -> Points:
        """(68,) RMS errors to expect, px."""
        # The usual error, what the two views contradict each other in, and how unusual that is.
        overall = np.sqrt((self.doubt**2).mean()) / (_USUAL_DOUBT * self.unit)
        unusual = 1 + _DOUBT_COUNTS * max(0.0, float(overall) - 1)
        return np.asarray(unusual * np.hypot(USUAL_ERROR * self.unit, self.doubt), np.float64)


def _square(mesh: Points) -> Points:
    """Corners (4, 2) of the square around a mesh (468, 2), level with the eyes, clockwise."""
    left, right = mesh[list(_EYE_CORNERS)]
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    axes = np.stack([along, (-along[1], along[0])])
    across = mesh @ axes.T
    low, high = across.min(axis=0), across.max(axis=0)
    half = (high - low).max() / 2
    corners = (low + high) / 2 + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return np.asarray(corners @ axes, np.float64)


def _around(corners: Points) -> NDArray[np.float64]:
    """The matrix (2, 3) from image px to the crop around a square."""
    centre, along = corners.mean(axis=0), corners[1] - corners[0]
    # Rows: along the upper side, and at right angles to it, downwards.
    # Over the squared side: once for a unit vector, once to make the square's side 1.
    turn = np.array([along, (-along[1], along[0])]) / (along @ along)
    linear = turn * SIDE / ENLARGED
    return np.column_stack([linear, SIDE / 2 - linear @ centre])


def _steady(square: Points | None, new: Points) -> Points:
    """The square to cut next: the old one while the face stays where it is.

    The mesh depends a little on the crop. A crop that follows its every move makes a still face
    tremble, twice as much on some faces.
    """
    if square is None:
        return new
    side = float(np.linalg.norm(square[1] - square[0]))
    return new if np.abs(new - square).max() > _STILL * side else square


class FaceMeshFinder:
    """Landmarks by MediaPipe's face mesh.

    A face is followed from one chosen frame to the next: the crop comes from the mesh before, moved
    with the head. Where the score says that the face was lost, its box is used again. The median
    over the frames is the result, so that neither a blink nor jitter moves the face.

    Args:
        path: The TFLite file; None for the downloaded one.
        frames: Maximum number of frames used.

    Raises:
        UserError: If the file is missing or cannot be read.
    """

    def __init__(self, path: Path | None = None, frames: int = FRAMES_LOOKED_AT) -> None:
        self.network = _network(path or model_path(FACE_MESH))
        self.frames = frames

    def place(self, clip: Clip, track: FaceTrack, poses: NDArray[np.float64]) -> Landmarks:
        """See `media.landmarks.LandmarkFinder`.

        The uncertainty of a point combines the error of a single frame (`Seen.errors`) with the
        disagreement between frames.

        A face that the mesh sees in none of the frames, turned or covered, is left to the project's
        own network, which is told.
        """
        present = np.flatnonzero(track.present)
        spread_out = np.linspace(0, len(present) - 1, self.frames).round().astype(int)
        chosen = present[np.unique(spread_out)]
        placements = [placed_by_box(track.boxes[i]) for i in chosen]
        seen = self.follow([clip.frames[i] for i in chosen], placements, poses[chosen])
        kept = [k for k, face in enumerate(seen) if face.score >= MIN_SCORE]
        if not kept:
            logger.warning("clip %s: no face for the face mesh; placed by the network", clip.name)
            return NetworkFinder().place(clip, track, poses)
        carried = np.stack([transform(poses[chosen[k]], seen[k].points) for k in kept])
        median = np.median(carried, axis=0)
        # A median here as well: one blink must not make the lids uncertain.
        wander = np.median(np.linalg.norm(carried - median, axis=-1), axis=0)
        errors = np.median([seen[k].errors / seen[k].unit for k in kept], axis=0)
        depth = np.median([seen[k].depth / seen[k].unit for k in kept], axis=0)
        placed = placed_by_points(median)
        unit = INTEROCULAR * float(np.hypot(placed[0, 0], placed[1, 0]))
        expected = np.hypot(errors, wander / unit)
        return Landmarks(median, expected, FACE_MESH, depth - depth[_BRIDGE])

    def find(
        self, images: Sequence[NDArray[np.uint8]], placements: Sequence[NDArray[np.float64]]
    ) -> tuple[Points, Points]:
        """Landmarks of single images, as ``landmark_models.finder.NetworkFinder.find``."""
        seen = [self._by_box(*each) for each in zip(images, placements, strict=True)]
        return np.stack([face.points for face in seen]), np.stack([face.errors for face in seen])

    def follow(
        self,
        images: Sequence[NDArray[np.uint8]],
        placements: Sequence[NDArray[np.float64]],
        poses: NDArray[np.float64],
    ) -> list[Seen]:
        """Follow one face through images.

        Args:
            images: RGB (H, W, 3) each.
            placements: For each, an approximate (2, 3) from canonical to its pixels, used at the
                start and where the face is lost.
            poses: (K, 2, 3) from each to a common frame.
        """
        found: list[Seen] = []
        square: Points | None = None  # in the common frame; None while there is no face
        for image, placement, pose in zip(images, placements, poses, strict=True):
            face = None
            if square is not None:
                face = self._look(image, _around(transform(invert(pose), square)))
            if face is None or face.score < MIN_SCORE:
                face, square = self._by_box(image, placement), None
            found.append(face)
            if face.score >= MIN_SCORE:
                square = _steady(square, transform(pose, face.corners))
        return found

    def _by_box(self, image: NDArray[np.uint8], placement: NDArray[np.float64]) -> Seen:
        face = self._look(image, to_crop(placement, SIDE))
        for _ in range(PASSES - 1):
            face = self._look(image, _around(face.corners))
        return face

    def _look(self, image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> Seen:
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        if 0.5 <= scale < 1:
            # To the size of a pixel of the crop: noise between the samples then averages out.
            # `warp` does so itself where it shrinks more.
            blurred = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(scale**-2 - 1))
            image = np.asarray(blurred, np.uint8)
        crop = warp(image, matrix, SIDE)
        if crop.ndim == 2:
            crop = np.repeat(crop[..., None], 3, axis=-1)
        return Seen(*self.network(np.stack([crop, crop[:, ::-1]])), matrix)
