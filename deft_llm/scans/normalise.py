"""Normalisation: every face in mm, upright, looking along +z, cropped around its nose tip.

Axes afterwards: +x to the subject's left (image right), +y up, +z towards the viewer, the nose tip
of the mean face at the origin. Every correction becomes a note.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from deft_llm.errors import UserError
from deft_llm.scans.holes import close_holes
from deft_llm.scans.placing import UNITS, Pose, covered, find_pose
from deft_llm.scans.scan import LEAST_VERTICES, Scan, checked

CROP = 95.0  # mm around the nose tip
_LONGEST = 10.0  # mm, edge of a triangle that is made between points
_TOLD_ANGLE = 15.0  # degrees; heads are never quite straight
_WHOLE = 0.85  # share of a mean face; holes of a scanner leave more
_HIDDEN = 6.0  # mm behind the points in front of it: another surface


def normalise(scan: Scan, where: str, pose: Pose | None = None) -> Scan:
    """Put the face of a scan into the common frame.

    Args:
        scan: As read.
        where: For messages.
        pose: Use this pose, as for the frames of a sequence, instead of looking for one.

    Returns:
        The face, with a note for each correction.

    Raises:
        UserError: If there is no face in it.
    """
    scan = checked(scan, where)
    notes: list[str] = []
    if pose is None:
        pose = find_pose(scan.vertices, where)
        notes = _told(pose)
    placed = replace(scan, vertices=pose.apply(scan.vertices)).noting(*notes)
    # The nose tip is the origin by now.
    apart = np.linalg.norm(placed.vertices, axis=1)
    # A sphere and no box: it cuts every pose alike.
    face = placed.keep(apart <= CROP)
    if len(face.vertices) < LEAST_VERTICES:
        raise UserError(
            f"{where}: {len(face.vertices)} vertices within {CROP:.0f} mm of the nose tip; "
            f"expected at least {LEAST_VERTICES}"
        )
    if (whole := covered(face.vertices)) < _WHOLE:
        face = face.noting(f"{1 - whole:.0%} of a face are missing: nothing is seen there")
    if (share := 1 - len(face.vertices) / len(placed.vertices)) > 0.05:
        face = face.noting(f"cropped to {CROP:.0f} mm around the nose tip: {share:.0%} left out")
    if not len(scan.triangles):
        face = _triangulated(face)
    if not len(face.triangles):
        raise UserError(f"{where}: no triangle lies on the face; expected a surface")
    return close_holes(_facing_viewer(face))


def _told(pose: Pose) -> list[str]:
    """What a pose changes, in words."""
    notes = []
    if pose.unit in UNITS and pose.unit != 1.0:
        notes.append(f"lengths are in {UNITS[pose.unit]}: taken to mm")
    elif pose.unit != 1.0:
        notes.append(f"lengths are in no known unit: scaled by {pose.unit:.4g} to a usual face")
    if pose.doubtful:
        notes.append(
            f"{pose.error:.1f} mm from a mean face, more than whole faces are: it may be a part of "
            "one, or two of them, and turned; look at the views"
        )
    if pose.angle > _TOLD_ANGLE:
        # [1, 1] is the cosine between the file's y axis and ours.
        upside = " (it was upside down)" if pose.rotation[1, 1] < -0.5 else ""
        notes.append(f"turned by {pose.angle:.0f} degrees to look at the viewer{upside}")
    return notes


def _triangulated(scan: Scan) -> Scan:
    """A surface between the points that the viewer sees, by their places in the frontal picture."""
    points = scan.vertices
    scan = scan.keep(_in_front(points))
    triangles = Delaunay(scan.vertices[:, :2]).simplices.astype(np.int32)
    corners = scan.vertices[triangles]
    # Delaunay fills the convex hull, so triangles also bridge what was not scanned.
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    kept = triangles[longest <= _LONGEST]
    note = f"no faces: {len(kept)} triangles made between {len(scan.vertices)} points"
    return replace(scan, triangles=kept).noting(note)


def _in_front(points: NDArray[np.float32], cell: float = 3.0) -> NDArray[np.bool_]:
    """Points (V,) that no other surface hides from the front."""
    cells = np.floor(points[:, :2] / cell).astype(np.int64)
    _, inverse = np.unique(cells, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    nearest = np.full(inverse.max() + 1, -np.inf)
    np.maximum.at(nearest, inverse, points[:, 2].astype(np.float64))  # at: cells repeat
    seen: NDArray[np.bool_] = points[:, 2] > nearest[inverse] - _HIDDEN
    return seen


def _facing_viewer(scan: Scan) -> Scan:
    """Triangles wound so that the face's outside is its front."""
    a, b, c = (scan.vertices[scan.triangles[:, i]] for i in range(3))
    # Twice the area as seen from +z, negative for a triangle wound clockwise.
    facing = np.cross(b - a, c - a)[:, 2]
    if np.sum(facing) >= 0:
        return scan
    return replace(scan, triangles=np.ascontiguousarray(scan.triangles[:, ::-1]))
