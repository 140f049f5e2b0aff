"""The own head's mesh: feature points and blue noise, triangulated once for all identities.

The left half of the head is sampled in the disc of `own_head/shape.py` (rows along lids, lips and
the mouth line, blue noise elsewhere), triangulated by Delaunay and mirrored. The eye openings are
cut out and the mouth is slit along its line. Eyeballs, the inside of the mouth, teeth, ears and
neck are added as separate parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from deft_llm.simulator.own_head import parts, shape
from deft_llm.simulator.own_head.shape import Array

EYE_POINTS = 32
RING_OFFSETS = (0.0, 0.1, 0.24, 0.42)
_PSI_MAX = 2.75
_FINE = 0.2
# Landmarks of the left half that need their own points: iBUG index -> frontal position.
_LANDMARKS = {
    22: (1.15, 1.64),
    23: (2.37, 2.07),
    24: (3.68, 2.28),
    25: (4.94, 2.03),
    26: (5.65, 1.44),
    27: (0.0, 0.14),
    28: (0.0, -1.1),
    29: (0.0, -2.33),
    30: (0.0, -3.58),
    33: (0.0, -4.92),
    34: (0.75, -4.74),
    35: (1.42, -4.45),
    8: (0.0, -11.75),
}
_JAW_HEIGHTS = {9: -11.2, 10: -10.0, 11: -8.7, 12: -7.2, 13: -5.5, 14: -3.8, 15: -2.05, 16: -0.3}


@dataclass(frozen=True)
class OwnTopology:
    """Topology and reference shape that all identities of the own head share.

    Attributes:
        reference: (V, 3) the mean head, cm.
        triangles: (F, 3) int32.
        part: (V,) index in `parts.SHELLS`.
        plane: (V, 2) frontal position of skin vertices; elsewhere that of the part's anchor.
        psi: (V,) 0 at mid-face, pi/2 on the outline, larger behind it; pi off the skull.
        disc: (V, 2) unwrapped position, cm.
        below: (V,) True on the lower side of the slit mouth line.
        landmarks: (68,) int32 vertices.
        margins: (2, 2, M) vertices of the lid margins: side (left, right), (upper, lower), from
            the outer to the inner corner.
        eyes: (2, 3) eyeball centres, left then right.
    """

    reference: Array
    triangles: NDArray[np.int32]
    part: NDArray[np.int64]
    plane: Array
    psi: Array
    disc: Array
    below: NDArray[np.bool_]
    landmarks: NDArray[np.int32]
    margins: NDArray[np.int64]
    eyes: Array


def _spacing(xy: Array, psi: Array) -> Array:
    """Target distance between points, cm: fine at eyes, brows, mouth and nose, coarse behind."""
    x, y = xy[:, 0], xy[:, 1]
    fine = np.maximum.reduce(
        [
            shape.bump(x, y, 3.2, 1.2, 2.0, 1.1),
            shape.bump(x, y, 0.8, -7.0, 1.9, 1.2),
            0.8 * shape.bump(x, y, 0.6, -4.0, 1.0, 1.4),
        ]
    )
    base = 0.45 + 1.2 * shape.smoothstep(psi, 1.3, 2.0)
    return base - (base - _FINE) * np.minimum(1.0, 1.4 * fine)


def _feature_points() -> tuple[Array, dict[str, NDArray[np.int64]]]:
    """Fixed points of the left half (frontal), and the indices of their named rows."""
    angles: Array = np.linspace(0.0, 2 * np.pi, EYE_POINTS, endpoint=False)
    rows: dict[str, Array] = {}
    for i, offset in enumerate(RING_OFFSETS):
        rows[f"lid{i}"] = shape.eye_contour(angles, offset)
    x = shape.MOUTH_HALF_WIDTH * np.sin(np.linspace(0, np.pi / 2, 17))
    line = shape.mouth_line(x)
    rows["mouth"] = np.stack([x, line], axis=1)
    upper, lower = shape.lip_borders(x)
    for name, t in (("lip1", 0.24), ("lip2", 0.6), ("lip3", 1.0)):
        # The last two are left out: at the corner the rows would meet the mouth line.
        rows["upper" + name] = np.stack([x, line + t * (upper - line)], axis=1)[:-2]
        rows["lower" + name] = np.stack([x, line + t * (lower - line)], axis=1)[:-2]
    for key, point in _LANDMARKS.items():
        rows[f"landmark{key}"] = np.array([point])
    reach = np.linspace(0.5, 7.4, 400)
    for key, y in _JAW_HEIGHTS.items():
        level = np.stack([reach, np.full(400, y)], axis=1)
        rows[f"landmark{key}"] = np.array([[reach[shape.outline_share(level) < 0.985].max(), y]])
    midline = np.arange(-11.4, 11.5, 0.3)
    # Keep the free points of the midline away from fixed ones, or slivers result.
    taken = np.array([p[1] for p in _LANDMARKS.values() if p[0] == 0.0])
    taken = np.concatenate([taken, [r[0, 1] for n, r in rows.items() if "lip" in n], [line[0]]])
    free = np.abs(midline[:, None] - taken).min(axis=1) > 0.16
    rows["midline"] = np.stack([np.zeros(free.sum()), midline[free]], axis=1)
    index, start = {}, 0
    for name, row in rows.items():
        index[name] = np.arange(start, start + len(row))
        start += len(row)
    return np.concatenate(list(rows.values())), index


def _fill(fixed: Array) -> Array:
    """Blue-noise points of the disc around the fixed ones (dart throwing with a fixed seed)."""
    rng = np.random.default_rng(68)
    darts = rng.uniform((0.0, -30.0), (21.0, 35.0), size=(60000, 2))
    xy, psi, _ = shape.disc_to_head(darts)
    spacing = _spacing(xy, psi)
    limit = shape.outline(np.arctan2(darts[:, 1] - shape.CENTRE_Y, darts[:, 0]))
    radius = np.hypot(darts[:, 0], darts[:, 1] - shape.CENTRE_Y)
    # Off the midline too, or a point and its mirror image would be too close.
    keep = (radius < _PSI_MAX * limit) & (darts[:, 0] > 0.6 * spacing)
    eye = ((xy[:, 0] - shape.EYE_X) / 1.72) ** 2 + (xy[:, 1] / 0.88) ** 2 < 1.0
    keep &= ~(eye & (psi < np.pi / 2))
    keep &= rng.random(len(darts)) < (2.0 * _FINE / spacing) ** 2  # fewer where few fit
    darts, spacing = darts[keep], spacing[keep]
    free = cKDTree(fixed).query(darts)[0] > 0.85 * spacing
    darts, spacing = darts[free], spacing[free]
    near = cKDTree(darts).query_ball_point(darts, 0.85 * spacing)
    accepted = np.zeros(len(darts), dtype=bool)
    # First come, first kept: a dart is dropped if an accepted one is nearer than the spacing.
    for i, neighbours in enumerate(near):
        accepted[i] = not accepted[neighbours].any()
    return np.concatenate([fixed, darts[accepted]])


def _half() -> tuple[Array, NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Disc points and triangles of the left half, with the eye cut out and the mouth slit."""
    frontal, rows = _feature_points()
    behind = np.linspace(1.7, _PSI_MAX, 12)
    poles = [
        np.stack([np.zeros(12), s * shape.outline(s * np.pi / 2) * behind + shape.CENTRE_Y], 1)
        for s in (-1.0, 1.0)
    ]
    ab = _fill(np.concatenate([shape.frontal_to_disc(frontal), *poles]))
    triangles = Delaunay(ab, qhull_options="Qbb Qc Qz Q12").simplices.astype(np.int64)
    a, b, c = (ab[triangles[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    # Qhull does not orient simplices: turn all counter-clockwise.
    triangles[area < 0] = triangles[area < 0][:, ::-1]
    # Triangles with all corners on the lid margin fill the eye opening: cut them out.
    ring = np.zeros(len(ab), dtype=bool)
    ring[rows["lid0"]] = True
    triangles = triangles[~ring[triangles].all(axis=1) & (np.abs(area) > 1e-7)]
    return (*_slit(ab, triangles, rows["mouth"]), rows)


def _slit(
    ab: Array, triangles: NDArray[np.int64], line: NDArray[np.int64]
) -> tuple[Array, NDArray[np.int64]]:
    """Double the mouth line's vertices (all but the corner) for the triangles below it."""
    centre = shape.disc_to_head(ab[triangles].mean(axis=1))[0]
    under = (centre[:, 1] < shape.mouth_line(centre[:, 0])) & (centre[:, 1] > -11)
    # The corner stays shared, so that the cheek beside the mouth does not tear.
    double = np.arange(len(ab))
    double[line[:-1]] = len(ab) + np.arange(len(line) - 1)
    triangles = triangles.copy()
    triangles[under] = double[triangles[under]]
    return np.concatenate([ab, ab[line[:-1]]]), triangles


def _landmark_vertices(
    rows: dict[str, NDArray[np.int64]], mirror: NDArray[np.int64], below_start: int
) -> NDArray[np.int32]:
    """The 68 landmark vertices: the left half by name, the rest by mirroring."""
    lid, line = rows["lid0"], rows["mouth"]
    up, low = rows["upperlip3"], rows["lowerlip3"]
    left = {k: int(rows[f"landmark{k}"][0]) for k in (*_LANDMARKS, *_JAW_HEIGHTS)}
    left |= {45: lid[0], 44: lid[6], 43: lid[10], 42: lid[16], 46: lid[-6], 47: lid[-10]}
    left |= {51: up[0], 52: up[3], 53: up[7], 57: low[0], 56: low[3], 55: low[7]}
    left |= {54: line[-1], 64: line[11], 62: line[0], 63: line[3]}
    left |= {66: below_start, 65: below_start + 3}
    result = np.full(68, -1, dtype=np.int64)
    for key, vertex in left.items():
        result[key] = vertex
        result[parts.MIRROR_68[key]] = mirror[vertex]
    assert (result >= 0).all()
    return result.astype(np.int32)


@lru_cache(maxsize=1)
def own_topology() -> OwnTopology:
    """Build the mesh (about half a second, then cached)."""
    ab, triangles, rows = _half()
    n = len(ab)
    xy, psi, z = shape.disc_to_head(ab)
    front = psi <= np.pi / 2
    fade = np.where(front, 1.0 - shape.smoothstep(np.sin(psi), 0.8, 1.0), 0.0)
    z = z + fade * shape.feature_depth(xy[:, 0], xy[:, 1])
    eye = np.array([shape.EYE_X, 0.0, shape.EYEBALL_Z])
    floor = shape.lid_floor(xy, eye, shape.EYEBALL_RADIUS + shape.LID_THICKNESS)
    # No lid may lie inside the eyeball.
    z = np.where(front, np.maximum(z, floor), z)
    below = np.arange(n) >= n - (len(rows["mouth"]) - 1)

    on_mid = ab[:, 0] < 1e-9
    # Points on the midline are their own mirror image; only the others are duplicated.
    mirror = np.where(on_mid, np.arange(n), n + np.cumsum(~on_mid) - 1)
    other = np.flatnonzero(~on_mid)
    flip = np.array([-1.0, 1.0])
    skull = np.concatenate(
        [np.column_stack([xy, z]), np.column_stack([xy[other] * flip, z[other]])]
    )
    disc = np.concatenate([ab, ab[other] * flip])
    # Mirroring flips the winding, so the corners of the right half are reversed.
    faces = np.concatenate([triangles, mirror[triangles][:, ::-1]])
    psi, below = (np.concatenate([v, v[other]]) for v in (psi, below))
    half = EYE_POINTS // 2
    upper = rows["lid0"][: half + 1]
    lower = rows["lid0"][-np.arange(half + 1)]
    margins = np.array([[upper, lower], [mirror[upper], mirror[lower]]])
    landmarks = _landmark_vertices(rows, mirror, n - (len(rows["mouth"]) - 1))
    return _assemble(skull, disc, faces, psi, below, landmarks, margins)


def _assemble(
    skull: Array,
    disc: Array,
    faces: NDArray[np.int64],
    psi: Array,
    below: NDArray[np.bool_],
    landmarks: NDArray[np.int32],
    margins: NDArray[np.int64],
) -> OwnTopology:
    """Join the skull and the parts into one mesh."""
    vertices, triangles, labels = [skull], [faces], [np.zeros(len(skull), dtype=np.int64)]
    planes = [skull[:, :2]]
    start = len(skull)
    for name, points, cells, anchor in parts.all_parts():
        vertices.append(points)
        triangles.append(cells + start)
        labels.append(np.full(len(points), parts.SHELLS.index(name)))
        planes.append(points[:, :2] if anchor is None else np.tile(anchor, (len(points), 1)))
        start += len(points)
    extra = start - len(skull)
    reference = np.concatenate(vertices)
    eyes = np.array([[s * shape.EYE_X, 0.0, shape.EYEBALL_Z] for s in (1.0, -1.0)])
    return OwnTopology(
        reference=reference,
        triangles=np.concatenate(triangles).astype(np.int32),
        part=np.concatenate(labels),
        plane=np.concatenate(planes),
        psi=np.concatenate([psi, np.full(extra, np.pi)]),
        disc=np.concatenate([disc, reference[len(skull) :, :2]]),
        below=np.concatenate([below, np.zeros(extra, dtype=bool)]),
        landmarks=landmarks,
        margins=margins,
        eyes=eyes,
    )
