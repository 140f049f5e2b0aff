"""Pictures of more than 8 bits: which value is white.

A camera of 10, 12 or 14 bits stores its values in 16 bits, mostly without scaling them. Divided by
257, such a picture is nearly black and its motion is lost. So the range that is used counts, one
for a whole video: a scale for each frame would turn a change of light into noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

_KINDS = "uif"  # NumPy's codes: unsigned, signed, floating point


@dataclass(frozen=True)
class Depth:
    """How values become 8 bits.

    Attributes:
        white: The value that becomes 255.
        remark: What to tell the user; "" if the values fill their type.
    """

    white: float
    remark: str = ""


FULL_16 = Depth(65535.0)


def used_depth(images: Iterable[NDArray[np.generic]], what: str) -> Depth:
    """The depth that pictures use.

    Args:
        images: All pictures of one video, of one type; read until the answer is certain.
        what: What they are, for the remark: "pictures", "frames".

    Returns:
        The depth. White is the largest value of 8, 10, 12, 14 or more bits that hold all values;
        for floating-point numbers below 2 it is 1.
    """
    largest = 0.0
    kind: np.dtype[np.generic] = np.dtype(np.uint8)
    for image in images:
        kind = image.dtype
        finite = image[np.isfinite(image)] if kind.kind == "f" else image
        largest = max(largest, float(finite.max(initial=0)))
        # Two more bits than this would leave the type: nothing can change the answer any more.
        if kind.kind == "u" and largest >= 2 ** (8 * kind.itemsize - 2):
            break
    if kind.kind == "f" and largest < 2:
        white = 1.0
    else:
        bits = int(largest).bit_length()
        white = float(2 ** max(8, bits + bits % 2) - 1)
    if kind == np.uint8 or not largest or (kind == np.uint16 and white == FULL_16.white):
        return Depth(white)
    stored = "floating-point" if kind.kind == "f" else f"{8 * kind.itemsize}-bit"
    return Depth(
        white, f"{stored} {what} with values up to {largest:g}: {white:g} is taken for white"
    )


def to_rgb8(image: NDArray[np.generic], name: str, depth: Depth = FULL_16) -> NDArray[np.uint8]:
    """Convert an RGB, RGBA or grey image to uint8 RGB.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of integers or floating-point numbers.
            Alpha is dropped.
        name: Its name in error messages.
        depth: For images of more than 8 bits: which value is white.

    Raises:
        UserError: If the type or the number of channels is not one of these.
    """
    if image.ndim not in (2, 3) or image.dtype.kind not in _KINDS:
        raise UserError(f"{name}: {image.dtype} {image.shape}; expected an image of 8 or 16 bits")
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise UserError(f"{name}: {image.shape[2]} channels; expected grey, RGB or RGBA")
    image = image[:, :, :3]
    if image.dtype == np.uint16:
        # Whole numbers, rounded to nearest: no copy of the image as floating-point numbers.
        white = round(depth.white)
        image = np.minimum((image.astype(np.uint32) * 255 + white // 2) // white, 255)
    elif image.dtype != np.uint8:
        values = np.nan_to_num(image.astype(np.float64), posinf=depth.white, neginf=0)
        image = np.rint(values / depth.white * 255).clip(0, 255)
    return np.ascontiguousarray(image).astype(np.uint8, copy=False)
