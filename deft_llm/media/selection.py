"""Which frames to read from a video, and the result of reading.

Every reader (`backends`, `frames`, `animations`) is a generator of `Frame`; it writes what it
learns about the video on the way into `Notes`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

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


class Frame(NamedTuple):
    """One frame as a reader yields it.

    Attributes:
        number: In the whole video, 0-based.
        image: uint8 RGB (H, W, 3), upright, with square pixels.
        seconds: Time from the first frame of the video; NaN if the file does not say.
    """

    number: int
    image: NDArray[np.uint8]
    seconds: float


@dataclass
class Notes:
    """What a reader found out about a video, beside its frames.

    Attributes:
        size: (height, width) of every frame that is kept; None for that of the first one.
        original: (height, width) before frames were scaled down.
        available: Number of frames in the whole video, if known.
        seconds: Times of all frames that were passed, selected or not; NaN if unknown.
        places: Place in time of each frame of the video, counted in frames, where some are missing
            between them; empty if they follow each other.
        codec: Name of the codec, or of the image format.
        rate: Frames per second where the file states no times.
        untimed: Why there are no times: "pictures carry no times"; "" if there are.
        damaged: Numbers of frames that were left out because they are damaged.
        problems: What else went wrong if frames were lost.
        remarks: What the user should know about how the video was read.
    """

    size: tuple[int, int] | None = None
    original: tuple[int, int] = (0, 0)
    available: int = 0
    seconds: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    codec: str = ""
    rate: float = 25.0
    untimed: str = ""
    damaged: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def placed(self, numbers: Sequence[int]) -> Sequence[int]:
        """Places in time of frames, by their numbers in the video."""
        return [self.places[number] for number in numbers] if self.places else numbers


def shrink(frame: NDArray[np.uint8], selection: Selection) -> NDArray[np.uint8]:
    """Scale a frame (H, W, 3) down to the selection's longest side, averaging over areas."""
    return resize(frame, selection.size(*frame.shape[:2]))


def resize(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a frame (H, W, 3) to (height, width), averaging over areas where it shrinks."""
    if size == frame.shape[:2]:
        return frame
    smaller = size[0] <= frame.shape[0] and size[1] <= frame.shape[1]
    # Averaging over areas is defined for shrinking only; enlarged, it would repeat pixels.
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=how), np.uint8)
