"""Which frames to read from a video, and the result of reading."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

#: Decoded frames of one clip may not take more memory than this.
MAX_CLIP_BYTES = 6 * 2**30


@dataclass(frozen=True)
class Selection:
    """Which frames to keep (``range(start, stop, stride)``) and their size.

    Attributes:
        start: First frame, 0-based.
        stop: One past the last frame; None for the end of the video.
        stride: Keep every `stride`-th frame.
        max_side: Longest side of a kept frame in pixels; None for the original size.
    """

    start: int = 0
    stop: int | None = None
    stride: int = 1
    max_side: int | None = None

    @property
    def wanted(self) -> range:
        """The frame indices; without a stop, up to a very large number."""
        return range(self.start, sys.maxsize if self.stop is None else self.stop, self.stride)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the limit on the longest side."""
        if self.max_side is None or max(height, width) <= self.max_side:
            return height, width
        scale = self.max_side / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass
class Decoded:
    """Result of a backend.

    Attributes:
        frames: RGB frames, each uint8 (H, W, 3).
        seconds: Time of each kept frame, counted from the first frame of the video.
        original_size: (height, width) in the file.
        available: Number of frames in the whole clip, if known.
        problem: What went wrong if frames were lost; None for a clean read.
    """

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    original_size: tuple[int, int] = (0, 0)
    available: int = 0
    problem: str | None = None
    _bytes: int = 0

    def add(self, frame: NDArray[np.uint8], seconds: float, name: str) -> None:
        """Keep one frame.

        Raises:
            UserError: If the clip exceeds ``MAX_CLIP_BYTES``.
        """
        # Checked for each frame: the frame count of a container is not reliable enough to check
        # beforehand.
        self.frames.append(frame)
        self.seconds.append(seconds)
        self._bytes += frame.nbytes
        if self._bytes > MAX_CLIP_BYTES:
            raise UserError(
                f"{name}: more than {MAX_CLIP_BYTES / 2**30:.0f} GiB of frames "
                f"({len(self.frames)} of {frame.shape[1]}x{frame.shape[0]} so far); read a part "
                "of it (start, stop), fewer frames (stride) or smaller ones (max_side)"
            )


def shrink(frame: NDArray[np.uint8], selection: Selection) -> NDArray[np.uint8]:
    """Scale a frame (H, W, 3) down to the selection's longest side, averaging over areas."""
    height, width = selection.size(*frame.shape[:2])
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
