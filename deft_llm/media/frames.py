"""Folders of frames: one image per frame, in natural order (2 before 10)."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.selection import Decoded, Selection, shrink

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key under which ``img9`` comes before ``img10``."""
    parts = re.split(r"(\d+)", path.name.lower())
    # The leading 0 or 1 keeps a number from being compared with text, which Python refuses.
    return [(0, int(p)) if p.isdigit() else (1, p) for p in parts if p]


def list_frames(folder: Path) -> list[Path]:
    """The images of a folder in natural order, without hidden files.

    Raises:
        UserError: If there is no image.
    """
    files = [
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    ]
    if not files:
        raise UserError(
            f"{folder}: no images in this folder; expected the frames of one clip as "
            f"{', '.join(s[1:] for s in SUFFIXES)}"
        )
    return sorted(files, key=natural_key)


def to_rgb8(image: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Convert an RGB, RGBA or grey image of 8 or 16 bits to uint8 RGB.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8 or uint16. Alpha is dropped.
        name: Its name in error messages.

    Raises:
        UserError: If the depth or the number of channels is not one of these.
    """
    if image.dtype == np.uint16:
        # 65535 = 257 * 255; adding half of 257 rounds to nearest.
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise UserError(f"{name}: {image.dtype} {image.shape}; expected an image of 8 or 16 bits")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2).astype(np.uint8)
    if image.shape[2] not in (3, 4):
        raise UserError(f"{name}: {image.shape[2]} channels; expected grey, RGB or RGBA")
    return np.ascontiguousarray(image[:, :, :3]).astype(np.uint8, copy=False)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one image as uint8 RGB (H, W, 3).

    Raises:
        UserError: If it cannot be decoded.
    """
    try:
        # cv2.imread fails on non-ASCII paths on some platforms; decoding bytes does not.
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except (OSError, cv2.error) as error:
        raise UserError(f"{path}: cannot read this image ({error})") from error
    if image is None:
        raise UserError(f"{path}: not a readable image; replace it or remove it from the folder")
    if image.ndim == 3 and image.shape[2] in (3, 4):
        image = image[:, :, [2, 1, 0]]  # OpenCV decodes to BGR; this also drops alpha
    return to_rgb8(np.asarray(image), str(path))


def read_folder(folder: Path, selection: Selection, fps: float) -> Decoded:
    """Read a folder of frames.

    Args:
        folder: Images of one size, one per frame.
        selection: Which frames to read; the others are not opened.
        fps: Frames per second, since images carry no time.

    Raises:
        UserError: If there is no image, one cannot be read, or the sizes differ.
    """
    files = list_frames(folder)
    result, first = Decoded(available=len(files)), None
    for index in range(len(files))[selection.start : selection.stop : selection.stride]:
        image = read_image(files[index])
        if first is None:
            first, result.original_size = files[index], (image.shape[0], image.shape[1])
        if image.shape[:2] != result.original_size:
            (h, w), (h0, w0) = image.shape[:2], result.original_size
            raise UserError(
                f"{folder}: frames of different sizes: {files[index].name} is {w}x{h}, "
                f"{first.name} is {w0}x{h0}; expected one size, put each clip in its own folder"
            )
        result.add(shrink(image, selection), index / fps, folder.name)
    return result
