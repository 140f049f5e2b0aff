"""Range images: Bosphorus' `.bnt`, depth maps, and the surface between neighbours."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.scans.scan import Floats, Scan, all_finite
from deft_llm.scans.texture import colours_at

JUMP = 9.0  # mm between neighbours, from which on there is no surface
_COLUMNS = 5  # x, y, z, and the place in the photograph


@dataclass(frozen=True)
class Camera:
    """How pixels of a depth map become mm.

    Attributes:
        pitch: mm between neighbours, of an orthographic map.
        focal: Focal length in pixels, of a perspective one.
    """

    pitch: float | None = None
    focal: float | None = None


UNKNOWN = Camera()


def grid_surface(points: Floats, colours: Floats | None = None, jump: float = JUMP) -> Scan:
    """The surface of a grid of points.

    Args:
        points: (H, W, 3); NaN where nothing was measured. To the right along a row, down along
            the columns, seen from the front.
        colours: (H, W, 3) display RGB in 0..1.
        jump: Largest difference of z within a triangle, in the unit of the points.
    """
    there = all_finite(points)
    # The vertex number of each measured point, as `points[there]` counts them.
    number = np.cumsum(there).reshape(there.shape) - 1
    a, b, c, d = (
        (slice(None, -1), slice(None, -1)),
        (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(None, -1)),
        (slice(1, None), slice(1, None)),
    )
    triangles = []
    # Both halves of a square, counter-clockwise as the viewer sees them, so that normals face her.
    for corners in ((a, c, b), (b, c, d)):
        whole = np.logical_and.reduce([there[at] for at in corners])
        heights = np.stack([points[at][..., 2] for at in corners])
        with np.errstate(invalid="ignore"):  # NaN < jump is False, as it should be
            whole &= np.ptp(heights, axis=0) < jump
        triangles.append(np.stack([number[at][whole] for at in corners], axis=1))
    joined = np.concatenate(triangles).astype(np.int32)
    scan = Scan(
        points[there].astype(np.float32),
        joined,
        None if colours is None else colours[there].astype(np.float32),
    )
    # Points without a triangle are specks beside the surface.
    used = np.zeros(len(scan.vertices), bool)
    used[joined] = True
    return scan.keep(used)


def depth_surface(distance: NDArray[np.floating], camera: Camera, where: str) -> Scan:
    """The surface of a depth map.

    Args:
        distance: (H, W) mm from the camera; 0, negative or NaN where nothing was measured.
        camera: Its pitch or its focal length.
        where: For messages.

    Raises:
        UserError: If neither is known.
    """
    height, width = distance.shape
    # The axis of the camera goes through the middle of the picture; rows run down, y runs up.
    x, y = np.arange(width) - (width - 1) / 2, (height - 1) / 2 - np.arange(height)
    there = np.isfinite(distance) & (distance > 0)
    z = np.where(there, distance, np.nan).astype(np.float64)
    if camera.focal is not None:
        across, up = x[None] * z / camera.focal, y[:, None] * z / camera.focal
    elif camera.pitch is not None:
        across, up = (np.broadcast_to(v * camera.pitch, z.shape) for v in (x[None], y[:, None]))
    else:
        raise UserError(
            f"{where}: a depth map does not say how large its pixels are; give the pitch (mm "
            "between pixels) or the focal length (in pixels), or an NPZ of depth and pitch"
        )
    # -z: the distance grows away from the viewer, +z points to her.
    return grid_surface(np.stack([across, up, -z], axis=-1).astype(np.float32))


def read_depth_picture(path: Path, camera: Camera) -> Scan:
    """Read a 16-bit PNG or TIFF whose values are mm.

    Raises:
        UserError: If it is no depth map, or the camera is unknown.
    """
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None or read.ndim != 2 or read.dtype not in (np.uint16, np.float32):
        kind = "not readable" if read is None else f"{read.dtype} with shape {read.shape}"
        raise UserError(
            f"{path}: {kind}; expected a depth map of one channel, 16-bit or float, in mm"
        )
    return depth_surface(read.astype(np.float64), camera, str(path))


def read_bnt(path: Path) -> Scan:
    """Read a `.bnt` of Bosphorus.

    u16 rows, u16 columns, f64 background, u16 length and name of the photograph, u32 count of
    numbers, then the columns x, y, z, a, b as f64; rows run from the bottom.

    Raises:
        UserError: If the sizes in it do not fit its length.
    """
    data = path.read_bytes()
    try:
        # "<": without the bytes by which C would align the double.
        rows, columns, background, length = struct.unpack_from("<HHdH", data)
        start = 14 + length
        name = data[14:start].decode("latin-1")
        (count,) = struct.unpack_from("<I", data, start)
    except struct.error:
        raise UserError(f"{path}: too short for a .bnt; copy it again") from None
    values = (
        np.frombuffer(data, "<f8", offset=start + 4) if (len(data) - start - 4) % 8 == 0 else None
    )
    wanted = _COLUMNS * rows * columns
    if values is None or count != wanted or len(values) != wanted:
        raise UserError(
            f"{path}: {rows} x {columns} points need {wanted} numbers, the file says {count} and "
            f"holds {(len(data) - start - 4) // 8}; it is damaged, copy it again"
        )
    # Column by column in the file, from the bottom row; here from the top row, as pictures are.
    grid = values.reshape(_COLUMNS, rows, columns).transpose(1, 2, 0)[::-1]
    points = np.where(grid[..., 2:3] == background, np.nan, grid[..., :3]).astype(np.float32)
    there = all_finite(points)
    flat = grid[..., 3:][there].astype(np.float32)
    # Without the photograph, which many take no licence for, the shape is all.
    colours, note = colours_at(path.with_name(Path(name).name), flat) if name else (None, "")
    painted = None
    if colours is not None:
        painted = np.zeros(points.shape, np.float32)
        painted[there] = colours
    scan = grid_surface(points, painted)
    return scan.noting(note) if note else scan


def write_bnt(path: Path, points: Floats, photograph: str = "", background: float = -1e9) -> None:
    """Write a grid of points.

    Args:
        path: The file.
        points: (H, W, 3) from the top row; NaN where nothing was measured.
        photograph: Name of the picture beside it, whose pixels are those of the grid.
        background: Value that says that nothing was measured.
    """
    rows, columns = points.shape[:2]
    across, up = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    grid = np.concatenate([points, across[..., None], 1 - up[..., None]], axis=-1)[::-1]
    grid = np.where(all_finite(points[::-1])[..., None], grid, background)
    name = photograph.encode("latin-1")
    head = struct.pack("<HHdH", rows, columns, background, len(name))
    body = np.ascontiguousarray(grid.transpose(2, 0, 1), "<f8").tobytes()
    path.write_bytes(head + name + struct.pack("<I", _COLUMNS * rows * columns) + body)
