"""The exact motion of a real face: a head model's skin, laid on the landmarks of the face.

Everything is on the grid: the canonical square with `PAD` pixels more on each side. G is its side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay

from deft_llm.media.canonical import CANONICAL_SIZE, fit_similarity, transform
from deft_llm.simulator.head import EYE_DEPTH, SKIN, Head, facing

Floats = NDArray[np.float32]

PAD = 96
GRID = CANONICAL_SIZE + 2 * PAD
#: Distance of the camera from the middle of the head, cm.
CAMERA = 70.0

_HEAD = (*SKIN, "hair")
# The inner lips are left out: the mouth of a photo may be open, those of the heads are closed.
_OUTER = np.arange(60)
_PROBE = 0.2  # activation at which the displacement of an AU is taken
_SMOOTH_MOTION, _SMOOTH_DEPTH = 2.0, 4.0  # px; the mesh has corners, and a slit between the lips
_LONGEST_SIDE = 32.0  # px of a triangle between neighbours
_FAINT = 0.03  # share of an AU's reach below which skin is held still
_STILL_ROWS = 48  # px over which the neck below the chin comes to rest


class FaceMotion:
    """How the skin of one face moves.

    Args:
        head: The head model whose AUs are used.
        identity: Its identity.
        landmarks: (68, 2) of the real face, canonical pixels.
    """

    def __init__(self, head: Head, identity: int, landmarks: NDArray[np.float64]) -> None:
        self.head, self.landmarks = head, landmarks
        self.mesh = head.identity(identity)
        plane = self.mesh.vertices[:, :2].astype(np.float64) * [1, -1]
        own = plane[self.mesh.landmarks[_OUTER]]
        fit = fit_similarity(own, landmarks[_OUTER])
        self.px_per_cm = float(np.hypot(fit[0, 0], fit[1, 0]))
        placed = transform(fit, own)
        # Grows slowly beyond the landmarks, unlike a thin plate: the crown has none near it.
        bend = RBFInterpolator(
            placed, landmarks[_OUTER] - placed, kernel="linear", smoothing=2.0, degree=0
        )
        everywhere = transform(fit, plane)
        self.places = everywhere + bend(everywhere)
        self.turn_to_face = fit[:, :2]  # cm of the frontal plane to px

    def field(self, aus: Sequence[str]) -> Floats:
        """The motion of some AUs at their apex, (2, G, G), at most 1 px long.

        Each AU is scaled to the same reach, since heads differ in what an activation of 1 means.
        """
        total = np.zeros((2, GRID, GRID), np.float32)
        for code in aus:
            moved = self._field(code)
            total += _trimmed(moved / _reach(moved))
        return total / np.float32(_reach(total)) if aus else total

    def _field(self, code: str) -> Floats:
        """The motion of one AU at a low activation, (2, G, G) px."""
        rest = self.mesh.vertices[self._skin]
        moved = self.head.deform(self.mesh, {code: _PROBE})[self._skin] - rest
        shift = (moved[:, :2] * [1, -1]) @ self.turn_to_face.T
        # The eyeballs stay; between them and the lids the motion fades.
        values = np.concatenate([shift, np.zeros((2, 2))])
        return _smoothed(self._skin_mesh(values), _SMOOTH_MOTION)

    @cached_property
    def depth(self) -> Floats:
        """Distance towards the camera from the axis of the head, (G, G) px; 0 beside the head."""
        values = np.append(self.mesh.vertices[self._hull, 2], [EYE_DEPTH, EYE_DEPTH])
        depth = self._head_mesh(values[:, None] * self.px_per_cm)[0]
        return _smoothed(_with_neck(np.maximum(depth, 0)), _SMOOTH_DEPTH)

    def turned(self, yaw: float, pitch: float = 0.0) -> Floats:
        """Displacement of a turn about the middle of the head, (2, G, G) px.

        Args:
            yaw: Radians, positive to image right.
            pitch: Radians, positive down.
        """
        points = np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1) - float(PAD)
        z = self.depth.astype(np.float64)
        moved = rotate(points - self._centre, z, yaw, pitch, self.px_per_cm)
        # Where there is no depth there is no head: the background stays.
        moved *= np.clip(z / (0.1 * EYE_DEPTH * self.px_per_cm), 0, 1)[..., None]
        return np.ascontiguousarray(moved.transpose(2, 0, 1), np.float32)

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        return self._eyes.mean(axis=0)

    @cached_property
    def _eyes(self) -> NDArray[np.float64]:
        return np.stack([self.landmarks[36:42].mean(axis=0), self.landmarks[42:48].mean(axis=0)])

    @cached_property
    def _skin(self) -> NDArray[np.intp]:
        return facing(self.mesh, SKIN)

    @cached_property
    def _hull(self) -> NDArray[np.intp]:
        return facing(self.mesh, _HEAD)

    @cached_property
    def _skin_mesh(self) -> _Scattered:
        return _Scattered(np.concatenate([self.places[self._skin], self._eyes]))

    @cached_property
    def _head_mesh(self) -> _Scattered:
        return _Scattered(np.concatenate([self.places[self._hull], self._eyes]))


def rotate(
    points: NDArray[np.float64], z: NDArray[np.float64], yaw: float, pitch: float, px_per_cm: float
) -> NDArray[np.float64]:
    """How far points of a head move in the picture when it turns about its middle.

    Args:
        points: (..., 2) px from the middle of the head, as seen.
        z: (...) px from the middle towards the camera.
        yaw: Radians, positive to image right.
        pitch: Radians, positive down.
        px_per_cm: Pixels in one cm at the eyes.

    Returns:
        (..., 2) px.
    """
    camera, eyes = CAMERA * px_per_cm, EYE_DEPTH * px_per_cm

    def size(depth: NDArray[np.float64]) -> NDArray[np.float64]:
        return (camera - eyes) / (camera - depth)

    x, y = (points[..., i] / size(z) for i in (0, 1))
    y, depth = y * np.cos(pitch) + z * np.sin(pitch), z * np.cos(pitch) - y * np.sin(pitch)
    x, depth = x * np.cos(yaw) + depth * np.sin(yaw), depth * np.cos(yaw) - x * np.sin(yaw)
    return np.stack([x, y], axis=-1) * size(depth)[..., None] - points


class _Scattered:
    """Linear interpolation between scattered points, at every pixel of the grid; 0 outside."""

    def __init__(self, places: NDArray[np.float64]) -> None:
        mesh = Delaunay(places + PAD)
        rows, columns = np.mgrid[:GRID, :GRID]
        pixels = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
        triangle = mesh.find_simplex(pixels)
        corners = mesh.points[mesh.simplices]
        sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        # Long triangles span what is no face, as from an ear to the shoulder.
        triangle[sides[triangle] > _LONGEST_SIDE] = -1
        self.inside = np.flatnonzero(triangle >= 0)
        triangle = triangle[self.inside]
        affine = mesh.transform[triangle]
        two = np.einsum("nij,nj->ni", affine[:, :2], pixels[self.inside] - affine[:, 2])
        self.weights = np.column_stack([two, 1 - two.sum(axis=1)])
        self.corners = mesh.simplices[triangle]

    def __call__(self, values: NDArray[np.floating]) -> Floats:
        """Values (V, K) at the points to (K, G, G)."""
        found = np.zeros((GRID * GRID, values.shape[1]), np.float32)
        found[self.inside] = np.einsum("nck,nc->nk", values[self.corners], self.weights)
        return np.ascontiguousarray(found.T.reshape(-1, GRID, GRID))


def _smoothed(field: Floats, sigma: float) -> Floats:
    channels = field if field.ndim == 3 else field[None]
    soft = np.stack([cv2.GaussianBlur(channel, (0, 0), sigma) for channel in channels])
    return soft.astype(np.float32).reshape(field.shape)


def _with_neck(depth: Floats) -> Floats:
    """Let the depth fade below the chin, as the neck turns less than the head."""
    rows = np.arange(GRID)[:, None]
    seen = depth > 0
    last = np.where(seen.any(axis=0), GRID - 1 - np.argmax(seen[::-1], axis=0), -GRID)
    # The last rows of the mesh fall steeply to the neck; the jaw is somewhat above them.
    jaw = np.maximum(last - 8, 0)
    fade = np.clip(1 - (rows - jaw) / _STILL_ROWS, 0, 1)
    below = depth[jaw, np.arange(GRID)] * fade * (rows > jaw)
    return np.maximum(depth, below * (last > GRID // 2)).astype(np.float32)


def _trimmed(field: Floats) -> Floats:
    """Without the faint motion that scanned shapes have everywhere: it would move the wall too."""
    length = np.sqrt((field**2).sum(axis=0))
    return (field * np.clip((length - _FAINT) / _FAINT, 0, 1)).astype(np.float32)


def _reach(field: Floats) -> float:
    return max(float(np.sqrt((field**2).sum(axis=0)).max()), 1e-6)
