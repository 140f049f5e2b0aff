"""Glasses, which move with the head but not with the expression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.head import MATERIALS, HeadMesh
from deft_llm.simulator.own_head.shape import Array

_FRAME_TONES = np.array([(0.01, 0.01, 0.012), (0.09, 0.04, 0.015), (0.3, 0.29, 0.28)])
_RIM_POINTS = 40
_ROUND = 4  # sides of a tube


def wear_glasses(mesh: HeadMesh) -> HeadMesh:
    """Append glasses to the vertices and triangles of a mesh, if its look has them.

    Rims around the eyes, a bridge and two temples, as tubes of 1 to 2 mm; no lenses. Size, form
    and colour are drawn from the look's seed.

    Args:
        mesh: an identity, at rest.

    Returns:
        The same mesh if the look has no glasses. Otherwise landmarks, vertices and triangles of
        the face keep their indices.
    """
    if mesh.skin is None or not mesh.skin.look.glasses:
        return mesh
    rng = np.random.default_rng([mesh.skin.look.seed, 5])
    radius = rng.uniform(0.06, 0.13)  # cm
    color = _FRAME_TONES[rng.integers(len(_FRAME_TONES))] * rng.uniform(0.7, 1.3)
    points, cells, start = [], [], len(mesh.vertices)
    for path, closed in _paths(mesh.vertices[mesh.landmarks].astype(np.float64), rng):
        vertices, triangles = _tube(path, radius, closed)
        points.append(vertices)
        cells.append(triangles + start)
        start += len(vertices)
    added, faces = np.concatenate(points).astype(np.float32), np.concatenate(cells)
    count = len(added)
    skin = mesh.skin
    tone = np.tile(color.astype(np.float32), (count, 1))
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, added]),
        triangles=np.concatenate([mesh.triangles, faces.astype(np.int32)]),
        uvs=np.concatenate([mesh.uvs, np.zeros((count, 2), np.float32)]),
        material=np.concatenate(
            [mesh.material, np.full(len(faces), MATERIALS.index("glasses"), np.uint8)]
        ),
        colors=np.concatenate([mesh.colors, np.tile(tone[:1], (len(faces), 1))]),
        skin=replace(
            skin,
            atlas=np.concatenate([skin.atlas, np.zeros((count, 2), np.float32)]),
            base=np.concatenate([skin.base, tone]),
            # No hair on glasses, and they are not part of the front.
            over=np.concatenate([skin.over, np.full(count, -9.0, np.float32)]),
            front=np.concatenate([skin.front, np.zeros(count, np.float32)]),
        ),
    )


def _paths(marks: Array, rng: np.random.Generator) -> list[tuple[Array, bool]]:
    """Middle lines of the tubes: two rims (closed), the bridge, two temples."""
    right, left = marks[36:42].mean(axis=0), marks[42:48].mean(axis=0)
    gap = 0.5 * (left[0] - right[0])
    half = np.array([rng.uniform(0.7, 0.8) * gap, rng.uniform(0.48, 0.6) * gap])
    square = rng.uniform(0.62, 1.0)
    drop = rng.uniform(0.1, 0.4)
    # Clear of the nose root, the brows and the eyes, whatever the identity's shape.
    front = max(marks[27, 2] + 0.25, marks[17:27, 2].max() - 0.1, left[2] + 1.2)
    turn = np.arange(_RIM_POINTS) * (2 * np.pi / _RIM_POINTS)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    # A superellipse: exponents below 1 make the rims squarer.
    ring = np.sign(ring) * np.abs(ring) ** square * half
    lines: list[tuple[Array, bool]] = []
    for side, eye in ((-1.0, right), (1.0, left)):
        x, y = eye[0] + side * 0.05 + ring[:, 0], eye[1] - drop + ring[:, 1]
        lines.append((np.stack([x, y, _curved(x, gap, front)], axis=1), True))
        out = eye[0] + side * (0.05 + half[0])
        ear = marks[16 if side > 0 else 0]
        hinge = np.array([out, eye[1] - drop + 0.3 * half[1], _curved(out, gap, front)])
        end = np.array([1.03 * ear[0] + side * 0.2, eye[1], min(ear[2], 0.0) - 1.0])
        share = np.linspace(0.0, 1.0, 14)[:, None] ** np.array([0.45, 1.0, 1.0])
        lines.append((hinge + share * (end - hinge), False))
    x = np.linspace(right[0] - 0.05 + half[0], left[0] + 0.05 - half[0], 9)
    arch = 0.35 * np.cos(np.pi * np.linspace(-0.5, 0.5, 9))
    y = 0.5 * (left[1] + right[1]) - drop + 0.25 * half[1] + arch
    lines.append((np.stack([x, y, _curved(x, gap, front)], axis=1), False))
    return lines


def _curved(x: Array | float, gap: float, front: float) -> Array:
    """Depth of the frame, which curves back slightly towards the temples."""
    reshaped: Array = front - 0.5 * (np.asarray(x) / (2.0 * gap)) ** 2
    return reshaped


def _tube(path: Array, radius: float, closed: bool) -> tuple[Array, NDArray[np.int64]]:
    """A tube of four sides around a line (P, 3), wound outwards."""
    ahead = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    # Any direction that is not parallel to the line will do.
    up = np.where(np.abs(ahead[:, 2:]) < 0.7, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    aside = np.cross(ahead, up)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    over = np.cross(aside, ahead)
    turn = (np.arange(_ROUND) + 0.5) * (2 * np.pi / _ROUND)
    rings = path[:, None] + radius * (
        np.cos(turn)[:, None] * aside[:, None] + np.sin(turn)[:, None] * over[:, None]
    )
    rows = len(path)
    i = np.repeat(np.arange(rows if closed else rows - 1), _ROUND)
    j = np.tile(np.arange(_ROUND), len(i) // _ROUND)
    near, far, beside = i * _ROUND, ((i + 1) % rows) * _ROUND, (j + 1) % _ROUND
    a, b, c, d = near + j, far + j, far + beside, near + beside
    return rings.reshape(-1, 3), np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
