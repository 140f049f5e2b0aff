"""Flow files on disk: Middlebury's `.flo`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

_MAGIC = 202021.25


def read_flo(path: Path) -> NDArray[np.float32]:
    """Read a Middlebury ``.flo``.

    Returns:
        (2, H, W) float32, pixels, u right and v down.

    Raises:
        UserError: If it is missing, no ``.flo``, or shorter or longer than its header says.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a Middlebury .flo")
    data = path.read_bytes()
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != np.float32(_MAGIC):
        raise UserError(f"{path}: no Middlebury .flo (its first four bytes are not {_MAGIC})")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, 4))
    expected = 12 + 8 * width * height
    if width <= 0 or height <= 0 or len(data) != expected:
        raise UserError(
            f"{path}: {len(data)} bytes; expected {expected} for {width}x{height} pixels; "
            "the file is damaged, get it again"
        )
    pixels = np.frombuffer(data, "<f4", 2 * width * height, 12).reshape(height, width, 2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def write_flo(path: Path, flow: NDArray[np.float32]) -> None:
    """Write a flow (2, H, W) as a Middlebury ``.flo``; nothing half-written is left."""
    height, width = flow.shape[1:]
    header = np.float32(_MAGIC).tobytes() + np.array([width, height], "<i4").tobytes()
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(header + np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4").tobytes())
    os.replace(partial, path)
