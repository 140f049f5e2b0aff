"""Pictures as a player shows them: upright, with square pixels, all of one size."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deft_llm.media.selection import Selection, resize

Matrix = tuple[int, int, int, int]
Value = TypeVar("Value", bound=np.generic)

#: (x to x, x to y, y to x, y to y) of the stored picture, x to the right, y down.
UPRIGHT: Matrix = (1, 0, 0, 1)
#: EXIF's orientation tag, 1 to 8, as such matrices.
EXIF_ORIENTATIONS: dict[int, Matrix] = {
    1: UPRIGHT,
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
#: A pixel may be this much longer than wide, or wider than long, before the picture is resampled:
#: encoders round the ratio, and resampling blurs.
_NEARLY_SQUARE = 0.01
#: A ratio outside of this range is a broken header.
_MOST_STRETCHED = 8


def orient(image: NDArray[Value], matrix: Matrix) -> NDArray[Value]:
    """Turn and mirror a stored picture (H, W, ...) as its orientation says."""
    xx, xy, yx, yy = matrix
    if xx == 0:
        # A quarter turn is an exchange of the axes and at most two mirrors.
        image, xx, yy = image.swapaxes(0, 1), yx, xy
    if xx < 0:
        image = image[:, ::-1]
    if yy < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def nearest_orientation(display: NDArray[np.int32]) -> Matrix:
    """The turn and mirror nearest to a container's display matrix.

    Args:
        display: FFmpeg's nine numbers, row by row, as fixed-point fractions; a picture point
            (x, y) is shown at (a x + c y, b x + d y) for the entries 0, 1, 3 and 4 = a, b, c, d.

    Returns:
        A matrix of 0, 1 and -1.
    """
    a, b, c, d = (int(display[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


def square_size(height: int, width: int, ratio: Fraction | None) -> tuple[int, int]:
    """Size of a picture with square pixels.

    Args:
        height: Stored rows.
        width: Stored columns.
        ratio: Width of a pixel over its height; None or 0 if unknown.

    Returns:
        (height, width). The shorter axis of a pixel is stretched, so that no detail is lost.
    """
    if not ratio or not 1 / _MOST_STRETCHED <= ratio <= _MOST_STRETCHED:
        return height, width
    if abs(ratio - 1) < _NEARLY_SQUARE:
        return height, width
    return (height, round(width * ratio)) if ratio > 1 else (round(height / ratio), width)


def shown(
    image: NDArray[np.uint8], matrix: Matrix, ratio: Fraction | None, selection: Selection
) -> NDArray[np.uint8]:
    """A stored picture (H, W, 3) as it is shown, scaled down to the selection's longest side."""
    # Scaled before it is turned, so that fewer pixels are turned.
    size = selection.size(*square_size(image.shape[0], image.shape[1], ratio))
    image = resize(image, size)
    return image if matrix == UPRIGHT else orient(image, matrix)


def shown_size(stored: tuple[int, int], matrix: Matrix, ratio: Fraction | None) -> tuple[int, int]:
    """(height, width) of a stored picture as it is shown."""
    size = square_size(stored[0], stored[1], ratio)
    return size if matrix[0] else size[::-1]


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a picture (H, W, 3) to another size; black bars keep its proportions."""
    if image.shape[:2] == size:
        return image
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (
        min(whole, max(1, round(side * scale)))
        for whole, side in zip(size, image.shape[:2], strict=True)
    )
    canvas = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    canvas[top : top + height, left : left + width] = resize(image, (height, width))
    return canvas
