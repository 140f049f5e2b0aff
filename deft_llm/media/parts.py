"""The parts of a video that are measured each by itself: its shots, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.media.cuts import shots
from deft_llm.media.options import ReadOptions
from deft_llm.media.windows import Window, read_windows


@dataclass(frozen=True)
class Part:
    """A shot of a video, or of one of its windows.

    Attributes:
        clip: Its frames, with remarks on which part of the video they are.
        start: Number of its first frame in the video.
        room: Frames of its window; 0 if the video was read whole. The next window overwrites them.
        final: Whether no later part shows more of the shot.
    """

    clip: Clip
    start: int
    room: int
    final: bool


def parts_of(source: Path | str | Clip, options: ReadOptions) -> Iterator[Part]:
    """Read a video and split it at its hard cuts.

    Args:
        source: A video file, an animation, a folder of frames, or a clip.
        options: Which part to read, and at which rate.

    Raises:
        UserError: If nothing can be read, or the range is empty.
    """
    if isinstance(source, Clip):
        windows = iter([Window(_selected(source, options), options.start, True)])
    else:
        windows = read_windows(source, options)
    for number, window in enumerate(windows):
        # A video that fits in one window keeps its frames: no other window overwrites them.
        room = 0 if window.last and number == 0 else len(window.clip)
        yield from split(window, options, room)


def split(window: Window, options: ReadOptions, room: int) -> Iterator[Part]:
    """The shots of a window."""
    found = shots(window.clip)
    for first, stop in found:
        start = window.first + first * options.stride
        clip = window.clip.part(first, stop) if len(found) > 1 else window.clip
        cuts = [float(window.clip.timestamps[after]) for after, _ in found[1:]]
        remarks = (*clip.remarks, *_where(clip, start, cuts, options, room > 0))
        final = window.last or stop < len(window.clip)
        yield Part(replace(clip, remarks=remarks), start, room, final)


def _where(
    clip: Clip, start: int, cuts: list[float], options: ReadOptions, windowed: bool
) -> Iterator[str]:
    """Remarks on which part of the video a clip is, and how its frames are counted."""
    begin, end = float(clip.timestamps[0]), float(clip.timestamps[-1])
    if windowed:
        yield "the video does not fit in memory and was measured by windows"
    if cuts:
        times = ", ".join(f"{time:.2f}" for time in cuts)
        yield f"hard cut at {times} s; no motion is measured across it"
    if windowed or cuts:
        yield f"the part from {begin:.2f} to {end:.2f} s is shown"
    if start > 0 or options.stride > 1:
        every = f", and only one of {options.stride} was read" if options.stride > 1 else ""
        # Times are those of the file, whichever part of it is read.
        place = f"frames count from frame {start} of the video, at {begin:.2f} s{every}"
        yield f"{place}; seconds from its start"


def _selected(clip: Clip, options: ReadOptions) -> Clip:
    """The frames of a clip that the options ask for, at their rate."""
    if not options.partial and options.fps is None:
        return clip
    chosen = np.arange(len(clip))[options.start : options.stop : options.stride]
    if not len(chosen):
        raise UserError(
            f"{clip.label}: no frame in the range from {options.start}; the clip has "
            f"{len(clip)} frames, numbered from 0"
        )
    times = clip.timestamps[chosen] if options.fps is None else chosen / options.fps
    return replace(clip, frames=clip.frames[chosen], timestamps=times)
