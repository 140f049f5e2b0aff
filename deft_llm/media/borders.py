"""Where the picture ends: the frame's own edge, or the black bars of a film in another format.

Aligning a face fills what lies beyond with the picture's last pixels, so that no edge stands still
while the face moves. A bar inside the frame is such an edge as well, hence it is cut away first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.media.canonical import invert, transform

_BLACK = 24  # grey levels: the darkest that a bar is after a codec that writes black as 16
_EVEN = 6  # grey levels between the darkest and the brightest of a bar
_LOOKED_AT = 16  # frames
_RINGING = 2  # px beside a bar, into which codecs smear its edge


@dataclass(frozen=True)
class Picture:
    """Part of the frames that shows something, in pixels; the ends are not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def of(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This part of a frame (H, W, 3)."""
        return frame[self.top : self.bottom, self.left : self.right]

    def from_here(self, transforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transforms (N, 2, 3) of frame pixels, for pixels of this part."""
        moved = transforms.copy()
        # A pixel of this part lies at its own place plus the part's corner in the frame.
        moved[:, :, 2] += transforms[:, :, :2] @ np.array([self.left, self.top], np.float64)
        return moved


def find_picture(frames: NDArray[np.uint8]) -> Picture:
    """The part of the frames (T, H, W, 3) inside of black bars, if there are any."""
    height, width = frames.shape[1:3]
    looked_at = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _LOOKED_AT)).astype(int))
    shown = frames[looked_at]
    top, bottom = _bars(shown), _bars(shown[:, ::-1])
    # Columns become rows, for the bars at the sides.
    across = shown.transpose(0, 2, 1, 3)
    left, right = _bars(across), _bars(across[:, ::-1])
    # A clip that is black altogether has no picture to cut out.
    if top + bottom >= height or left + right >= width:
        return Picture(0, height, 0, width)
    return Picture(top, height - bottom, left, width - right)


def _bars(frames: NDArray[np.uint8]) -> int:
    """How many rows from the first on are a black bar in all frames, with what it smears."""
    rows = 0
    while rows < frames.shape[1] and _black(frames[:, rows]):
        rows += 1
    return rows + _RINGING if rows else 0


def _black(row: NDArray[np.uint8]) -> bool:
    """Whether a row of pixels (T, W, 3) is evenly black; a dark room has noise."""
    low, high = np.percentile(row, (1, 99))
    return bool(high <= _BLACK and high - low <= _EVEN)


def always_inside(
    transforms: NDArray[np.float64], size: tuple[int, int], side: int
) -> NDArray[np.bool_] | None:
    """Which pixels of a square lie inside the picture in all frames.

    Args:
        transforms: (N, 2, 3) from the picture's pixels to the square.
        size: (height, width) of the picture.
        side: Of the square.

    Returns:
        (side, side) bool; None if all do.
    """
    ends = np.array(size[::-1]) - 1
    corners = np.array([[x, y] for x in (0, side - 1) for y in (0, side - 1)], np.float64)
    # A clip with one constant transform is looked at once.
    back = np.unique(np.array([invert(matrix) for matrix in transforms]), axis=0)
    places = np.array([transform(matrix, corners) for matrix in back])
    # A square lands on a parallelogram: if all corners are inside, so is the rest.
    if ((places >= 0) & (places <= ends)).all():
        return None
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
    inside = np.ones(len(pixels), bool)
    for matrix in back:
        found = transform(matrix, pixels)
        inside &= ((found >= 0) & (found <= ends)).all(axis=1)
    return inside.reshape(side, side)
