"""Where a face lies in a scan: its unit, which way it looks, and its pose against a mean face.

The mean face (`template.safetensors`) is the mean of identities of the project's own head, written
by `simulator.scans.write_template`. All choices here are our own: the unit is the power of ten that
gives the size of a face, the coarse pose the best of 72 rotations by the height of the surface
around its highest point, the fine pose by point-to-plane ICP (Chen and Medioni, 1992) that trusts
the parts less that expressions move.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.spatial import KDTree

from deft_llm.errors import UserError

Array = NDArray[np.float64]
UNITS = {1.0: "mm", 10.0: "cm", 1000.0: "m", 25.4: "inch", 0.001: "micrometres"}
TEMPLATE = Path(__file__).with_name("template.safetensors")
_FACE_MM = (110.0, 520.0)  # diagonal of what scanners leave of a head, mm
_USUAL_MM = 260.0
_VOXEL = 5.0  # mm; evens out the density of vertices, and their noise
_CELL, _CELLS = 10.0, 13  # mm and number of the grid on which heights are compared
_TURNS = (-30.0, 0.0, 30.0)  # degrees of yaw tried besides the quarter turns
_TRIED = 4  # coarse poses that are refined
_STEPS, _SETTLED = 25, 8  # of ICP; the step from which on only near points count
_REACH = 12.0  # mm between a point and the mean face, beyond which it belongs to something else
_GOOD = 3.2  # mm of median distance that settles the pose; whole faces reach it
_POOR = 4.5  # mm of median distance from the mean face above which this is no face


@dataclass(frozen=True)
class Pose:
    """How a scan becomes a face in mm that looks along +z, its nose tip at the origin.

    Attributes:
        unit: mm in one unit of the file.
        rotation: (3, 3), applied after the unit.
        shift: (3,) mm, added last.
        error: Median distance from the mean face, mm.
    """

    unit: float
    rotation: Array
    shift: Array
    error: float

    def apply(self, vertices: NDArray[np.floating]) -> NDArray[np.float32]:
        """Vertices (V, 3) of the file in the frame of the face, mm."""
        # To the micrometre: the same face in metres and in millimetres then is the same.
        points = np.round(vertices.astype(np.float64) * self.unit, 3)
        return (points @ self.rotation.T + self.shift).astype(np.float32)

    @property
    def doubtful(self) -> bool:
        """Whether the fit is worse than that of whole faces: half a face, or two, may be turned."""
        return self.error > _GOOD

    @property
    def angle(self) -> float:
        """The angle of the rotation, degrees."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1, 1))))


@lru_cache(maxsize=1)
def _template() -> tuple[Array, Array, Array, KDTree, Array]:
    """Points and normals (N, 3), weights (N,), their tree, and heights (cells, cells)."""
    stored = load_file(TEMPLATE)
    points, normals = (stored[name].astype(np.float64) for name in ("points", "normals"))
    weights = np.where(points[:, 1] < -18, 0.25, 1.0)  # lips and jaw; y in mm
    return points, normals, weights, KDTree(points), _heights(points)


def find_pose(vertices: NDArray[np.floating], where: str) -> Pose:
    """Find a face.

    Args:
        vertices: (V, 3) finite, in any of `UNITS`.
        where: For messages.

    Raises:
        UserError: If nothing in the scan resembles a face.
    """
    # Unit first: all lengths below are in mm.
    unit = _unit(vertices, where)
    points = _thinned(np.round(vertices.astype(np.float64) * unit, 3))
    tries = sorted((_coarse(points, turn) for turn in _rotations()), key=lambda found: found[0])
    poses = []
    for _, turn, tip in tries[:_TRIED]:
        # The tip of the nose at the origin, where the mean face has its own.
        poses.append(_refined(points, turn, -tip))
        # The coarse order is nearly always right: a fit as near as this needs no rival.
        if poses[-1][0] < _GOOD:
            break
    error, rotation, shift = min(poses, key=lambda pose: pose[0])
    if error > _POOR:
        why = f"the surface differs by {error:.1f} mm from a mean face"
        if not np.isfinite(error):  # of no pose that could be fitted
            why = "too few points of the surface lie near a mean face"
        raise UserError(
            f"{where}: no face found: {why}; expected the scan of one face, its nose in it"
        )
    return Pose(unit, rotation, shift, error)


def covered(vertices: NDArray[np.floating]) -> float:
    """Share of the mean face near which there are vertices (V, 3) of a placed scan, mm."""
    apart, _ = KDTree(vertices.astype(np.float64)).query(_template()[0])
    return float(np.mean(apart < _REACH))


def _unit(vertices: NDArray[np.floating], where: str) -> float:
    """Mm in one unit of the file."""
    # Not the extremes, which may be stray points of the scanner.
    low, high = np.percentile(vertices, [1, 99], axis=0)
    size = float(np.linalg.norm(high - low))
    if not size > 0:
        raise UserError(f"{where}: all vertices lie in one place; expected the scan of a face")
    # Two powers of ten never fit both (520 / 110 < 10); inches may fit beside cm: asked last.
    fits = [u for u in (1.0, 1000.0, 10.0, 0.001, 25.4) if _FACE_MM[0] <= size * u <= _FACE_MM[1]]
    return fits[0] if fits else _USUAL_MM / size


def _thinned(points: Array) -> Array:
    """One point a voxel: the mean of those in it."""
    # Rounded and not cut, so that a head on its head has the same voxels.
    cells = np.rint(points / _VOXEL).astype(np.int64)
    _, inverse, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.ravel()
    sums = [np.bincount(inverse, points[:, k]) for k in range(3)]
    return np.stack(sums, axis=1) / counts[:, None]


@lru_cache(maxsize=1)
def _rotations() -> list[Array]:
    """The 24 rotations of a cube, each with a few turns to the side."""
    cube = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.zeros((3, 3))
        matrix[range(3), order] = signs
        if np.linalg.det(matrix) > 0:  # -1 is a mirror image
            cube.append(matrix)
    turns = [_yaw(np.radians(angle)) for angle in _TURNS]
    return [turn @ matrix for matrix in cube for turn in turns]


def _yaw(angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _heights(points: Array) -> Array:
    """Highest point above each cell of a grid around the origin; NaN where there is none."""
    cells = np.floor(points[:, :2] / _CELL + _CELLS / 2).astype(int)
    inside = ((cells >= 0) & (cells < _CELLS)).all(axis=1)
    grid = np.full((_CELLS, _CELLS), -np.inf)
    np.maximum.at(grid, (cells[inside, 1], cells[inside, 0]), points[inside, 2])
    return np.where(np.isfinite(grid), grid, np.nan)


def _coarse(points: Array, rotation: Array) -> tuple[float, Array, Array]:
    """How little a rotation resembles the mean face; the rotation, and its highest point."""
    turned = points @ rotation.T
    # Around the middle: hair and shoulders may stand out more than the nose.
    middle = np.median(turned, axis=0)
    near = np.abs(turned[:, :2] - middle[:2]).max(axis=1) < 75  # mm
    candidates = turned[near] if near.any() else turned
    tip = candidates[candidates[:, 2].argmax()]
    mean = _template()[4]
    apart = np.abs(_heights(turned - tip) - mean)[np.isfinite(mean)]
    # A missing cell counts as far away, so that a sliver of surface is no good match.
    return float(np.minimum(np.nan_to_num(apart, nan=25.0), 25.0).mean()), rotation, tip


def _refined(
    points: Array, rotation: Array, shift: Array, first: int = 0
) -> tuple[float, Array, Array]:
    """Error, rotation and shift after ICP; a start that is nearly right begins at a later step."""
    mean, normals, weights, tree, _ = _template()
    for step in range(first, _STEPS):
        placed = points @ rotation.T + shift
        # Wide at first, so that a poor start still finds its neighbours.
        reach = max(_REACH, 40.0 - 4.0 * step)
        apart, index = tree.query(placed, distance_upper_bound=reach)  # infinite beyond the reach
        found = np.isfinite(apart)
        if found.sum() < 60:
            return np.inf, rotation, shift
        near, at = placed[found], index[found]
        # Along the normal alone: sliding on the surface costs nothing (point to plane).
        residual = ((mean[at] - near) * normals[at]).sum(axis=1)
        # Cauchy's weights with a scale of 3 mm: what is no face, such as hair, pulls little.
        trust = weights[at] / (1 + (residual / 3.0) ** 2)
        # Slope of the residual by a small turn (about three axes) and by a shift.
        rows = np.concatenate([np.cross(near, normals[at]), normals[at]], axis=1)
        # Slightly damped, so that it can be solved where the surface leaves a motion open.
        system = rows.T @ (trust[:, None] * rows) + np.diag([1e2] * 3 + [1e-3] * 3)
        motion = np.linalg.solve(system, rows.T @ (trust * residual))
        turn = _turn(motion[:3])
        rotation, shift = turn @ rotation, turn @ shift + motion[3:]
        if np.abs(motion[:3]).max() < 1e-5 and np.abs(motion[3:]).max() < 1e-3:  # radians, mm
            break
    placed = points @ rotation.T + shift
    # From the mean face to the scan: a scan may hold much beside the face, never less.
    apart, _ = KDTree(placed).query(mean[weights == 1.0])
    return float(np.median(apart)), rotation, shift


def _turn(vector: Array) -> Array:
    """Rotation about a vector by its length (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def follow_pose(vertices: NDArray[np.floating], before: Pose) -> Pose:
    """The pose in the next frame of a sequence, from the pose in the one before."""
    points = _thinned(np.round(vertices.astype(np.float64) * before.unit, 3))
    # The points around the origin only: one step of ICP moves a head by some mm at most.
    error, rotation, shift = _refined(points, before.rotation, before.shift, first=_SETTLED)
    return before if not np.isfinite(error) else Pose(before.unit, rotation, shift, error)
