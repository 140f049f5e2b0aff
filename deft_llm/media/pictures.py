"""Read one picture file: its values as stored, upright."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft_llm.errors import UserError
from deft_llm.media.depth import to_rgb8, used_depth
from deft_llm.media.geometry import EXIF_ORIENTATIONS, UPRIGHT, Matrix, orient

#: Number of the orientation among EXIF's tags.
EXIF_TAG = 274
#: Formats whose orientation OpenCV applies itself.
_TURNED_BY_OPENCV = (b"II", b"MM")  # TIFF
#: Marks of metadata in a PNG; without one, Pillow would decode the picture to look for it.
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")

# OpenCV's own lines about a damaged file would stand beside ours, which names the file.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_bytes(path: Path) -> bytes:
    """The content of a picture file.

    Raises:
        UserError: If it cannot be read, or is no file.
    """
    # A named pipe would block for ever.
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: neither a file nor a folder of pictures; expected a picture")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def kind_of(path: Path) -> str | None:
    """Whether a picture file may hold a video, by its first bytes.

    Returns:
        "animation" for GIF, PNG and WebP, of one frame or more; "stack" for TIFF; None for others.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "stack"
    animated = head[:4] in (b"GIF8", b"\x89PNG") or (head[:4] == b"RIFF" and head[8:] == b"WEBP")
    return "animation" if animated else None


def is_still(path: Path) -> bool:
    """Whether a GIF, PNG or WebP holds a single picture; no if it cannot be read."""
    try:
        with Image.open(path) as image:
            return not getattr(image, "is_animated", False)
    # What Pillow raises for a file that ends early or was damaged.
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def read_values(path: Path) -> NDArray[np.generic]:
    """The values of one picture, upright.

    Returns:
        (H, W) or (H, W, channels), RGB or RGBA, of the type in which they are stored.

    Raises:
        UserError: If it cannot be decoded.
    """
    data = read_bytes(path)
    try:
        # cv2.imread fails on non-ASCII paths on some platforms; decoding bytes does not.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except (cv2.error, MemoryError) as error:
        words = getattr(error, "err", "") or "too large"
        raise UserError(f"{path}: cannot read this image ({words})") from error
    if image is None:
        raise UserError(f"{path}: not a readable image; give another one, or leave it out")
    return orient(rgb_order(np.asarray(image)), exif_orientation(data))


def rgb_order(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """OpenCV's order of channels as RGB; alpha is dropped."""
    return image[:, :, [2, 1, 0]] if image.ndim == 3 and image.shape[2] in (3, 4) else image


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one image as uint8 RGB (H, W, 3); of more than 8 bits, the range that it uses.

    Raises:
        UserError: If it cannot be decoded.
    """
    return read_images(path)[0]


def read_images(*paths: Path) -> list[NDArray[np.uint8]]:
    """Read images that are compared, each as ``read_image``, but with one range for all of a type.

    A range for each would make a change of light of what is none.

    Raises:
        UserError: If one cannot be decoded.
    """
    values = [read_values(path) for path in paths]
    depths = {
        v.dtype: used_depth([w for w in values if w.dtype == v.dtype], "images") for v in values
    }
    return [to_rgb8(v, str(path), depths[v.dtype]) for v, path in zip(values, paths, strict=True)]


def exif_orientation(data: bytes) -> Matrix:
    """How a picture is turned and mirrored for display, by the tag in its metadata."""
    if data.startswith(_TURNED_BY_OPENCV):
        return UPRIGHT
    if data.startswith(b"\x89PNG") and not any(mark in data for mark in _PNG_METADATA):
        return UPRIGHT
    try:
        with Image.open(io.BytesIO(data)) as image:
            tag = image.getexif().get(EXIF_TAG, 1)
    # Pillow raises these and more on broken metadata; OpenCV has decoded the picture all the same.
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, Image.DecompressionBombError):
        return UPRIGHT
    return EXIF_ORIENTATIONS.get(tag, UPRIGHT)
