"""OBJ, PLY and STL through trimesh, the extra `scans`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deft_llm.errors import UserError
from deft_llm.scans.scan import Scan

KINDS = ("obj", "ply", "stl")


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError:
        raise UserError(
            "OBJ, PLY and STL are read with trimesh; install it: pip install 'deft-llm[scans]'"
        ) from None
    return trimesh


def read_mesh(path: Path, kind: str) -> Scan:
    """Read a mesh or a point cloud.

    Args:
        path: The file.
        kind: One of `KINDS`, by its content.

    Raises:
        UserError: If trimesh is missing, or the file is damaged.
    """
    trimesh = _trimesh()
    try:
        # process=False: merging would drop vertices, and with them the order.
        loaded = trimesh.load(path, file_type=kind, process=False, maintain_order=True)
        if isinstance(loaded, trimesh.Scene):
            loaded = loaded.to_geometry()
    # What a damaged file raises depends on where it is damaged.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not readable as {kind.upper()} ({reason})") from error
    vertices = np.asarray(getattr(loaded, "vertices", np.zeros((0, 3))), np.float32).reshape(-1, 3)
    faces = np.asarray(getattr(loaded, "faces", np.zeros((0, 3))), np.int32).reshape(-1, 3)
    scan = Scan(vertices, faces, _colours(loaded, len(vertices)))
    return _merged(scan) if kind == "stl" else scan


def write_mesh(path: Path, scan: Scan, kind: str) -> None:
    """Write a scan.

    Raises:
        UserError: If trimesh is missing.
    """
    trimesh = _trimesh()
    colours = None if scan.colours is None else np.round(255 * scan.colours).astype(np.uint8)
    if len(scan.triangles):
        mesh = trimesh.Trimesh(scan.vertices, scan.triangles, vertex_colors=colours, process=False)
    else:
        mesh = trimesh.PointCloud(scan.vertices, colors=colours)
    # OBJ is text: with so many digits the same float32 comes back.
    mesh.export(path, file_type=kind, **({"digits": 12} if kind == "obj" else {}))


def _colours(loaded: Any, count: int) -> Any:
    """Display RGB of each vertex (V, 3) in 0..1, from colours or from a texture."""
    visual = getattr(loaded, "visual", None)
    if visual is not None and getattr(visual, "kind", None) == "texture":
        visual = visual.to_color()  # samples the texture at every vertex
    kept = getattr(loaded, "colors", None) if visual is None else None
    if visual is not None and getattr(visual, "kind", None) == "vertex":
        kept = visual.vertex_colors
    if kept is None or len(kept) != count or not count:
        return None
    return (np.asarray(kept)[:, :3] / 255.0).astype(np.float32)


def _merged(scan: Scan) -> Scan:
    """Every corner of an STL is its own vertex: those at one place become one."""
    # reshape: the shape of the inverse differs between versions of NumPy.
    places, number = np.unique(scan.vertices, axis=0, return_inverse=True)
    return Scan(places, number.reshape(-1)[scan.triangles].astype(np.int32))
