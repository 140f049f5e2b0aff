"""A scan of a face, and a sequence of them.

Letters: V vertices, F triangles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

Floats = NDArray[np.float32]
Triangles = NDArray[np.int32]
LEAST_VERTICES = 200  # fewer show no expression


def turned(yaw: float) -> str:
    """A view in words, such as "turned to its left by 45°"; yaw in degrees, to the left."""
    if yaw == 0:
        return "ahead"
    return f"turned to its {'left' if yaw > 0 else 'right'} by {abs(yaw):g}°"


@dataclass(frozen=True)
class Scan:
    """One surface; axes and unit are those of the file until `normalise.normalise` was called.

    Attributes:
        vertices: (V, 3) float32.
        triangles: (F, 3) int32, none for a point cloud.
        colours: (V, 3) float32 display RGB in 0..1, or None.
        notes: What was mended or changed on the way, for the user.
    """

    vertices: Floats
    triangles: Triangles
    colours: Floats | None = None
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> Scan:
        """The same scan with further notes."""
        return replace(self, notes=(*self.notes, *notes))

    def keep(self, kept: NDArray[np.bool_]) -> Scan:
        """The vertices (V,) that are kept, with the triangles all of whose corners are."""
        number = np.cumsum(kept) - 1  # old number -> new number, of kept vertices
        whole = kept[self.triangles].all(axis=1)
        return replace(
            self,
            vertices=self.vertices[kept],
            triangles=number[self.triangles[whole]].astype(np.int32),
            colours=None if self.colours is None else self.colours[kept],
        )


@dataclass(frozen=True)
class ScanSequence:
    """A 4D sequence.

    Attributes:
        scans: Its frames, in order of time.
        numbers: The number of each frame, as in the names of the files.
        fps: Frames per second.
        notes: Remarks on the sequence as a whole.
    """

    scans: tuple[Scan, ...]
    numbers: tuple[int, ...]
    fps: float
    notes: tuple[str, ...] = ()


def all_finite(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points (..., D) have finite coordinates alone, (...)."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def checked(scan: Scan, where: str) -> Scan:
    """A scan without vertices that are no numbers, and without triangles that refer to none.

    Raises:
        UserError: If too little is left, or a triangle names a vertex that does not exist.
    """
    count = len(scan.vertices)
    wrong = scan.triangles[(scan.triangles < 0) | (scan.triangles >= count)]
    if len(wrong):
        raise UserError(
            f"{where}: a triangle names vertex {wrong[0]} of {count}; the file is damaged, "
            "export it again"
        )
    finite = all_finite(scan.vertices)
    if not finite.all():
        bad = int((~finite).sum())
        scan = scan.keep(finite).noting(f"{bad} of {count} vertices are no numbers: left out")
    if len(scan.vertices) < LEAST_VERTICES:
        raise UserError(
            f"{where}: {len(scan.vertices)} vertices; expected a face of at least {LEAST_VERTICES}"
        )
    return scan
