"""Reading any scan or sequence; what a file is, is told by its content and not by its ending."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm.errors import UserError
from deft_llm.scans.frame_files import SUFFIXES, scan_files
from deft_llm.scans.meshes import KINDS, read_mesh, write_mesh
from deft_llm.scans.range_images import UNKNOWN, Camera, depth_surface, read_bnt, read_depth_picture
from deft_llm.scans.scan import Floats, Scan, ScanSequence
from deft_llm.scans.vrml import read_vrml, write_vrml

_ENDING = {".vrml": "wrl", ".tif": "depth", ".tiff": "depth", ".png": "depth"}
_POINTS, _FACES = ("points", "vertices", "xyz"), ("triangles", "faces")
_COLOURS, _DEPTH = ("colours", "colors", "rgb"), ("depth", "distance")
_OBJ_LINE = re.compile(rb"^\s*(v|vn|vt|f|mtllib|usemtl|o|g)\s", re.MULTILINE)
# What is raised for a damaged NPZ depends on where it is damaged; RuntimeError where the damage
# looks like encryption or another compression.
_DAMAGED = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
FPS = 25.0  # of BU-4DFE and BP4D


def kind_of(path: Path) -> str | None:
    """What a file is by its content: obj, ply, stl, wrl, npz, bnt, depth; None if nothing known."""
    with path.open("rb") as file:
        head = file.read(4096)
    size = path.stat().st_size
    if head.startswith(b"ply"):
        return "ply"
    if head.startswith(b"#VRML"):
        return "wrl"
    if head.startswith(b"PK\x03\x04"):  # an NPZ is a ZIP
        return "npz"
    if head.startswith((b"\x89PNG", b"II*\0", b"MM\0*")):
        return "depth"
    # Binary STL: 80 free bytes, the count of triangles, 50 bytes each. Before the test for text,
    # as the free bytes of some begin with "solid" as well.
    if len(head) >= 84 and size == 84 + 50 * struct.unpack_from("<I", head, 80)[0]:
        return "stl"
    if head.lstrip().startswith(b"solid") and b"facet" in head:
        return "stl"
    if _is_bnt(head, size):
        return "bnt"
    # OBJ has no mark of its own, so it comes last.
    return "obj" if b"\0" not in head and _OBJ_LINE.search(head) else None


def _is_bnt(head: bytes, size: int) -> bool:
    if len(head) < 18:
        return False
    rows, columns, _, length = struct.unpack_from("<HHdH", head)
    # Five numbers of 8 bytes a point.
    return size == 18 + length + 40 * rows * columns and rows * columns > 0


def read_scan(path: Path, camera: Camera = UNKNOWN) -> Scan:
    """Read one scan.

    Args:
        path: OBJ, PLY, STL, VRML 2, NPZ (``points``, optionally ``triangles`` and ``colours``, or
            ``depth``), `.bnt`, or a 16-bit depth map.
        camera: Of a depth map that does not say how large its pixels are.

    Raises:
        UserError: If there is no such file, or it is damaged or no scan.
    """
    kind = _kind(path)
    if kind == "npz":
        scan = _of_arrays(_arrays(path), path, camera)
    elif kind == "wrl":
        scan = read_vrml(path)
    elif kind == "bnt":
        scan = read_bnt(path)
    elif kind == "depth":
        scan = read_depth_picture(path, camera)
    else:
        scan = read_mesh(path, kind)
    ending = path.suffix.lower()
    if ending and kind != _ENDING.get(ending, ending[1:]):
        scan = scan.noting(f"named {ending} but holds {kind.upper()}: read as that")
    return scan


def _kind(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a scan ({', '.join(SUFFIXES)})")
    kind = kind_of(path)
    if kind is None and path.suffix.lower() == ".bnt":
        return "bnt"  # whose reader says what is wrong with it
    if kind is None:
        raise UserError(
            f"{path}: not a scan; expected OBJ, PLY, STL, VRML 2, NPZ, .bnt or a depth map"
        )
    return kind


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except _DAMAGED as error:
        raise UserError(f"{path}: not readable as NPZ ({error})") from error


def _named(arrays: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((arrays[name] for name in names if name in arrays), None)


def _of_arrays(arrays: Mapping[str, Any], path: Path, camera: Camera) -> Scan:
    points, depth = _named(arrays, _POINTS), _named(arrays, _DEPTH)
    if points is None and depth is not None and depth.ndim == 2:
        return depth_surface(depth, _camera(arrays, camera), str(path))
    if points is None or points.ndim != 2 or points.shape[1] < 3:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
        raise UserError(
            f"{path}: holds {shapes or 'nothing'}; expected points (V, 3) or depth (H, W)"
        )
    triangles, colours = _named(arrays, _FACES), _named(arrays, _COLOURS)
    if colours is None and points.shape[1] >= 6:
        colours = points[:, 3:6]
    if triangles is None:
        triangles = np.zeros((0, 3), np.int32)
    return Scan(points[:, :3].astype(np.float32), triangles.astype(np.int32), _display(colours))


def _display(colours: Any) -> Floats | None:
    """Colours in 0..1; whole numbers are bytes."""
    if colours is None:
        return None
    # Floats clearly beyond 1 are bytes as well.
    bytes_ = np.issubdtype(colours.dtype, np.integer) or colours.max(initial=0) > 1.5
    values: Floats = (colours[:, :3] / (255.0 if bytes_ else 1.0)).astype(np.float32)
    return values


def _camera(arrays: Mapping[str, Any], camera: Camera) -> Camera:
    pitch, focal = (arrays.get(name) for name in ("pitch", "focal"))
    if pitch is None and focal is None:
        return camera
    return Camera(None if pitch is None else float(pitch), None if focal is None else float(focal))


def write_scan(path: Path, scan: Scan) -> None:
    """Write a scan in the format of the file's ending: OBJ, PLY, STL, VRML 2 or NPZ.

    Raises:
        UserError: If the ending is another one, or trimesh is missing.
    """
    ending = path.suffix.lower()
    if ending[1:] in KINDS:
        write_mesh(path, scan, ending[1:])
    elif ending == ".wrl":
        write_vrml(path, scan)
    elif ending == ".npz":
        arrays: dict[str, Any] = {"points": scan.vertices, "triangles": scan.triangles}
        if scan.colours is not None:
            arrays["colours"] = scan.colours
        np.savez_compressed(path, **arrays)
    else:
        raise UserError(f"{path}: expected .obj, .ply, .stl, .wrl or .npz")


def is_sequence(path: Path) -> bool:
    """Whether a path is a sequence: a folder, or an NPZ that holds several frames."""
    if path.is_dir():
        return True
    if not path.is_file() or kind_of(path) != "npz":
        return False
    arrays = _arrays(path)
    many, depth = _named(arrays, _POINTS), _named(arrays, _DEPTH)
    return (many is not None and many.ndim == 3) or (depth is not None and depth.ndim == 3)


def read_sequence(
    path: Path,
    camera: Camera = UNKNOWN,
    fps: float = FPS,
) -> ScanSequence:
    """Read a 4D sequence: a folder of numbered scans, or an NPZ with a first axis of time.

    Of the numbers in a name, the one that differs from file to file is that of the frame. A note
    tells of a frame that is missing or cannot be read, and of files that are no frame of their own.

    Raises:
        UserError: If there are no scans, or none can be read.
    """
    if path.is_file():
        return _sequence_of_arrays(_arrays(path), path, camera, fps)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; expected a folder of scans, one a frame")
    files, notes = scan_files(path)
    if not files:
        raise UserError(f"{path}: no scan in it; expected files {', '.join(SUFFIXES)}, one a frame")
    scans, numbers = [], []
    failed: list[UserError] = []
    for number, file in files:
        try:
            # One bad frame of a hundred must not cost the sequence.
            scans.append(read_scan(file, camera))
            numbers.append(number)
        except UserError as error:
            failed.append(error)
            notes.append(f"frame {number} is left out: {error}")
    if not scans:
        raise failed[0]
    return ScanSequence(tuple(scans), tuple(numbers), fps, tuple(notes))


def _sequence_of_arrays(
    arrays: Mapping[str, Any], path: Path, camera: Camera, fps: float
) -> ScanSequence:
    name = next((n for n in (*_POINTS, *_DEPTH) if n in arrays and arrays[n].ndim == 3), None)
    if name is None:
        raise UserError(f"{path}: expected points (T, V, 3) or depth (T, H, W)")
    colours = _named(arrays, _COLOURS)
    scans = []
    for t in range(len(arrays[name])):
        frame = {**arrays, name: arrays[name][t]}
        if colours is not None and colours.ndim == 3:
            frame["colours"] = colours[t]
        scans.append(_of_arrays(frame, path, camera))
    rate = float(arrays["fps"]) if "fps" in arrays else fps
    return ScanSequence(tuple(scans), tuple(range(len(scans))), rate)
