"""Read a video of any length in a bounded amount of memory: whole if it fits, else by windows.

A window holds as many frames as ``WINDOW_BYTES`` and its longest duration allow, and overlaps the
one before by ``OVERLAP``, longer than an expression lasts, so that every expression lies whole in
some window.
The video is decoded once, from its first frame to its last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.media.collecting import FrameBuffer
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.selection import Notes, Selection
from deft_llm.media.video import FACE_MAX_SIDE, existing, frames_of, name_of

#: Memory for the frames of one window, and for what is made of them.
WINDOW_BYTES = 320 * 2**20
#: Seconds that neighbouring windows share.
OVERLAP = 1.0
#: A window shorter than this, in seconds, would cut expressions: its frames are scaled down.
SHORTEST = 2.5
#: Frames are not scaled down below this side, pixels: the face would be too small to measure.
SMALLEST_SIDE = 480
_ROUNDING = 1e-6  # s: times are fractions that binary numbers do not hold
#: Bytes made of each frame: the aligned face, and the small grey image that is followed in time.
_MADE = CANONICAL_SIZE**2 * 3 + (CANONICAL_SIZE // 2) ** 2 * 4


@dataclass(frozen=True)
class Window:
    """A part of a video.

    Attributes:
        clip: Its frames; they are overwritten when the next window is read.
        first: Number of its first frame in the video, 0-based.
        last: Whether the video ends with it.
    """

    clip: Clip
    first: int
    last: bool


def read_windows(
    path: Path | str, options: ReadOptions = WHOLE, longest: float = math.inf
) -> Iterator[Window]:
    """Read a video, in one window if it fits in memory.

    Args:
        path: A video file, an animation, or a folder of frames.
        options: Which part to read, and at which rate.
        longest: Most seconds of a window, even if more would fit.

    Yields:
        The windows in order. Frames and times are those of ``read_clip``.

    Raises:
        UserError: If nothing can be read, or the range is empty.
    """
    path, max_side = existing(path), FACE_MAX_SIDE
    while max_side:
        smaller = 0
        for number, window in enumerate(_windows(path, options, longest, max_side)):
            if number == 0 and not window.last:
                smaller = _smaller(window.clip)
            if smaller:
                break
            yield window
        max_side = smaller


def _smaller(clip: Clip) -> int:
    """The longest side with which a window lasts long enough; 0 if it does with this one."""
    frames = SHORTEST * clip.fps
    if len(clip) >= frames or max(clip.frames.shape[1:3]) <= SMALLEST_SIDE:
        return 0
    room = max(WINDOW_BYTES / frames - _MADE, 0.0)
    share = (room / clip.frames[0].nbytes) ** 0.5
    if share >= 1:  # its frames would fit: it is short in time, by a gap in the video
        return 0
    return max(SMALLEST_SIDE, int(share * max(clip.frames.shape[1:3])))


def _windows(path: Path, options: ReadOptions, longest: float, max_side: int) -> Iterator[Window]:
    notes = Notes()
    selection = Selection(options.start, options.stop, options.stride, max_side)
    buffer = FrameBuffer(str(path), notes, selection, WINDOW_BYTES, _MADE)

    def window(last: bool) -> Window:
        clip = buffer.clip(name_of(path), path, options.fps, options.start)
        return Window(replace(clip, goes_on=not last), buffer.numbers[0], last)

    for frame in frames_of(path, selection, notes):
        after = buffer.until(frame, options.fps)
        if buffer.full or after >= longest - _ROUNDING:
            part = window(False)
            yield part
            times = part.clip.timestamps - part.clip.timestamps[0]
            shared = (times > times[-1] - OVERLAP) & (times > after - longest + _ROUNDING)
            # At most half, so that every window gets on in the video.
            buffer.keep_last(min(int(np.count_nonzero(shared)), len(buffer) // 2))
        buffer.add(frame)
    yield window(True)
