"""Flow on disk: Middlebury ``.flo``, ``.pfm`` and KITTI's 16-bit PNG.

Flow is float32 (2, H, W) in px everywhere in this project, ``u`` to the right and ``v`` down.
Formats: Baker et al., IJCV 2011 (``.flo``); P. Debevec's portable float map; the development kit
of KITTI 2012/2015, u = (value - 2^15) / 64, with a third channel that marks known flow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.files import write_bytes

FloatArray = NDArray[np.float32]
_MAGIC = b"PIEH"  # 202021.25 as a little-endian float
_LARGEST = 1 << 28  # pixels; more means a broken header
_KITTI_ZERO, _KITTI_STEP = 32768.0, 64.0


def read_flow(path: Path) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Read flow in the format of the file extension.

    Args:
        path: ``.flo``, ``.pfm`` or ``.png``.

    Returns:
        Flow (2, H, W) in px, and a mask of known flow (H, W). Middlebury marks unknown flow by
        values beyond 1e9; these and non-finite values are set to 0.

    Raises:
        UserError: If the file is missing, truncated, or not in the format of its extension.
    """
    reader = _FORMATS[_ending(path)][0]
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected flow as .flo, .pfm or KITTI .png")
    flow, known = reader(path)
    known = known & (np.abs(np.nan_to_num(flow, nan=np.inf)) < 1e9).all(axis=0)
    return np.where(known, flow, 0).astype(np.float32), known


def write_flow(
    path: Path, flow: NDArray[np.floating[Any]], known: NDArray[np.bool_] | None = None
) -> None:
    """Write flow in the format of the file extension; the file is complete or absent.

    Args:
        path: ``.flo``, ``.pfm`` or ``.png``; the folder must exist.
        flow: (2, H, W), px.
        known: (H, W) mask of known flow, stored only by KITTI's format; None means everywhere.

    Raises:
        UserError: If the shape is wrong, a known value is not finite, flow is too long for KITTI
            (±512 px), the extension is unknown, or the file cannot be written.
    """
    check_writable(path)
    writer = _FORMATS[_ending(path)][1]
    if flow.ndim != 3 or flow.shape[0] != 2 or 0 in flow.shape:
        raise UserError(f"{path}: flow of shape {flow.shape}; expected (2, H, W)")
    known = np.ones(flow.shape[1:], bool) if known is None else known
    if known.shape != flow.shape[1:]:
        raise UserError(f"{path}: known has shape {known.shape}; expected {flow.shape[1:]}")
    if not np.isfinite(flow[:, known]).all():
        raise UserError(f"{path}: the flow holds NaN or infinity; mark such pixels as not known")
    write_bytes(path, writer(np.where(known, flow, 0).astype("<f4"), known))


def check_writable(path: Path) -> None:
    """Fail on an unwritable path before long work starts.

    Raises:
        UserError: If the extension is not a flow format, or the folder does not exist.
    """
    _ending(path)
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; make it first")


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise UserError(
            f"{path}: ending {path.suffix!r}; expected one of {', '.join(_FORMATS)} for flow"
        )
    return ending


# ------------------------------------------------------------------------ Middlebury


def _read_flo(path: Path) -> tuple[FloatArray, NDArray[np.bool_]]:
    data = path.read_bytes()
    if data[:4] != _MAGIC:
        raise UserError(
            f"{path}: begins with {data[:4]!r}; expected {_MAGIC!r}, a Middlebury .flo file"
        )
    if len(data) < 12:
        raise UserError(f"{path}: ends inside its header ({len(data)} bytes); copy it again")
    width, height = struct.unpack("<ii", data[4:12])
    _check_size(path, width, height)
    flow = _floats(path, data[12:], "<f4", height * width * 2).reshape(height, width, 2)
    return flow.transpose(2, 0, 1), np.ones((height, width), bool)


def _flo_bytes(flow: FloatArray, known: NDArray[np.bool_]) -> bytes:
    height, width = known.shape
    return _MAGIC + struct.pack("<ii", width, height) + flow.transpose(1, 2, 0).tobytes()


# --------------------------------------------------------------- portable float map


def _read_pfm(path: Path) -> tuple[FloatArray, NDArray[np.bool_]]:
    data = path.read_bytes()
    lines = data.split(b"\n", 3)
    if lines[0].strip() != b"PF" or len(lines) < 4:
        raise UserError(
            f"{path}: begins with {data[:4]!r}; expected 'PF', a float map of three channels"
        )
    try:
        width, height = (int(n) for n in lines[1].split())
        scale = float(lines[2])
    except ValueError:
        raise UserError(f"{path}: its header has no readable size and scale") from None
    _check_size(path, width, height)
    # The sign of the scale gives the byte order: negative is little-endian.
    values = _floats(path, lines[3], "<f4" if scale < 0 else ">f4", height * width * 3)
    # Rows run from bottom to top; the third channel is unused.
    flow = values.reshape(height, width, 3)[::-1, :, :2].transpose(2, 0, 1)
    return flow.astype(np.float32), np.ones((height, width), bool)


def _pfm_bytes(flow: FloatArray, known: NDArray[np.bool_]) -> bytes:
    height, width = known.shape
    rows = np.concatenate([flow, np.zeros((1, height, width), "<f4")])
    header = f"PF\n{width} {height}\n-1.0\n".encode()
    return header + rows.transpose(1, 2, 0)[::-1].tobytes()


# ------------------------------------------------------------------------------ KITTI


def _read_kitti(path: Path) -> tuple[FloatArray, NDArray[np.bool_]]:
    data = path.read_bytes()
    # OpenCV fails on no bytes at all.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None or image.dtype != np.uint16 or image.ndim != 3 or image.shape[2] != 3:
        got = "no readable picture" if image is None else f"a {image.dtype} picture {image.shape}"
        raise UserError(f"{path}: {got}; expected KITTI flow, a PNG of three 16-bit channels")
    # OpenCV reads blue, green, red: KITTI's u is red, v green, and the mask blue.
    blue_green_red = image.astype(np.float32)
    flow = (blue_green_red[..., :0:-1] - _KITTI_ZERO) / _KITTI_STEP
    return flow.transpose(2, 0, 1), blue_green_red[..., 0] > 0


def _kitti_bytes(flow: FloatArray, known: NDArray[np.bool_]) -> bytes:
    values = np.rint(flow.astype(np.float64) * _KITTI_STEP + _KITTI_ZERO)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(
            f"KITTI's format holds ±512 px, the flow reaches {np.abs(flow).max():.0f} px; "
            "write .flo instead"
        )
    # A pixel that is not known is 0 in all three channels, as KITTI's development kit writes it.
    channels = np.stack([known, values[1] * known, values[0] * known], axis=-1).astype(np.uint16)
    return bytes(cv2.imencode(".png", channels)[1].tobytes())


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > _LARGEST:
        raise UserError(f"{path}: its header says {width}x{height} pixels; the file is damaged")


def _floats(path: Path, data: bytes, kind: str, count: int) -> NDArray[Any]:
    if len(data) != 4 * count:
        raise UserError(
            f"{path}: {len(data)} bytes of flow, {4 * count} expected from its header; the file "
            "is truncated or damaged, copy it again"
        )
    return np.frombuffer(data, kind)


_FORMATS: dict[str, tuple[Callable[..., Any], Callable[..., bytes]]] = {
    ".flo": (_read_flo, _flo_bytes),
    ".pfm": (_read_pfm, _pfm_bytes),
    ".png": (_read_kitti, _kitti_bytes),
}
