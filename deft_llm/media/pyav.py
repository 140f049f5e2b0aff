"""Read videos with PyAV (FFmpeg's libraries): the frames of a plain sequential decode."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from deft_llm.media.containers import (
    codec_name,
    frame_rate,
    open_video,
    orientation,
    reason,
    too_fast_for_times,
)
from deft_llm.media.depth import Depth, to_rgb8, used_depth
from deft_llm.media.geometry import shown, shown_size
from deft_llm.media.packets import Index, scan
from deft_llm.media.selection import Frame, Notes, Selection

#: Containers without times of display: what FFmpeg gives as such is a guess.
_TIMED_BY_DECODING = ("avi", "asf")
_COMBS = "the video is interlaced: parts that move show combs, which add noise"
_NONE = Selection(start=sys.maxsize)


def read_pyav(
    source: Path | bytes, name: str, selection: Selection, notes: Notes
) -> Iterator[Frame]:
    """Read with PyAV (FFmpeg's libraries)."""
    with open_video(source, name) as (container, stream):
        reader = _Reader(source, name, selection, notes, scan(container, stream))
        reader.note_facts(stream)
        entry = reader.index.entry(selection.start)
        if entry is not None:
            numbered = _from_entry(container, stream, reader.index, entry, notes.problems)
            # The first frame shows whether the container went where it was told to.
            if (head := next(numbered, None)) is not None:
                numbered = itertools.chain([head], numbered)
                numbered = _to_the_end(numbered, reader.index, notes.problems)
                yield from reader.frames(numbered, stream)
                return
    # Opened anew: a file that has been scanned to its end cannot always be rewound.
    with open_video(source, name) as (container, stream):
        numbered = enumerate(decode(container, stream, notes.problems))
        numbered = _to_the_end(numbered, reader.index, notes.problems)
        yield from reader.frames(numbered, stream)


def survey(source: Path, name: str, notes: Notes) -> None:
    """Find the size and the times of all frames; decodes the video only if it has to.

    Raises:
        UserError: If it is not a video.
    """
    with open_video(source, name) as (container, stream):
        reader = _Reader(source, name, _NONE, notes, scan(container, stream))
        reader.note_facts(stream)
    exact = reader.index.exact
    with open_video(source, name) as (container, stream):
        numbered = enumerate(decode(container, stream, notes.problems))
        # One frame tells its orientation; where packets do not tell the frames, all are decoded.
        for _ in reader.frames(itertools.islice(numbered, 1) if exact else numbered, stream):
            pass
        if exact:
            ticks = reader.index.pts - reader.index.pts[0]
            notes.seconds = [float(t * stream.time_base) for t in ticks.tolist()]


def decode(container: Any, stream: Any, problems: list[str]) -> Iterator[Any]:
    """Decoded frames in order of display; what cannot be decoded is noted in `problems`."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except EOFError:
            return
        except av.InvalidDataError as error:
            # One packet is lost; the next ones may be whole.
            problems.append(f"damaged data: {reason(error)}")
            continue
        except (av.FFmpegError, OSError, MemoryError) as error:
            problems.append(f"decoding stopped: {reason(error)}")
            return
        yield from frames
        if packet is None:
            return


def _from_entry(
    container: Any, stream: Any, index: Index, entry: int, problems: list[str]
) -> Iterator[tuple[int, Any]]:
    """Frames decoded from an entry of the index, numbered by their times; none if it is missed."""
    try:
        container.seek(entry, stream=stream, backward=True)
    except av.FFmpegError:
        return
    frames = decode(container, stream, problems)
    first = next(frames, None)
    if first is None or first.pts != entry:
        return
    number = 0
    for frame in itertools.chain([first], frames):
        known = frame.pts is not None
        number = int(np.searchsorted(index.pts, frame.pts)) if known else number + 1
        yield number, frame


def _to_the_end(
    numbered: Iterator[tuple[int, Any]], index: Index, problems: list[str]
) -> Iterator[tuple[int, Any]]:
    """The same frames; notes if there are fewer than the index says."""
    count = 0
    for number, frame in numbered:
        count = number + 1
        yield number, frame
    if index.exact and count < len(index.pts):
        problems.append(f"{len(index.pts)} frames stored, {count} decoded")


class _Reader:
    """Turns decoded frames into the selected RGB frames with their times."""

    def __init__(
        self, source: Path | bytes, name: str, selection: Selection, notes: Notes, index: Index
    ) -> None:
        self.source, self.name = source, name
        self.selection, self.notes, self.index = selection, notes, index
        # One converter for the clip: `frame.to_ndarray` makes a new one for each frame, 4x slower.
        self.converter = VideoReformatter()
        self.depth: Depth | None = None

    def note_facts(self, stream: Any) -> None:
        """What is known before decoding."""
        self.notes.available = len(self.index.pts) if self.index.exact else 0
        self.notes.codec = codec_name(stream.codec_context)
        self.notes.rate = frame_rate(stream)
        if self.index.cut:
            self.notes.problems.append(
                f"{stream.frames} frames promised, {self.index.packets} stored"
            )

    def frames(self, numbered: Iterator[tuple[int, Any]], stream: Any) -> Iterator[Frame]:
        """Keep, convert and time the frames of the selection."""
        wanted, ratio, notes = self.selection.wanted, stream.sample_aspect_ratio, self.notes
        by_decoding = stream.container.format.name in _TIMED_BY_DECODING
        by_rate = too_fast_for_times(stream)
        zero = int(self.index.pts[0]) if self.index.exact else None
        notes.untimed = "" if by_rate or zero is not None else "the file states no times"
        for number, frame in numbered:
            if number >= wanted.stop:  # frames come in order of display
                break
            ticks = None if by_rate else frame.dts if by_decoding else frame.pts
            if zero is None and ticks is not None:
                # Frames before the first known time are as far apart as the rate says.
                zero = ticks - round(number / notes.rate / stream.time_base)
                notes.untimed = ""
            if frame.is_corrupt:
                notes.damaged.append(number)
                continue
            seconds = float("nan")
            if zero is not None and ticks is not None:
                seconds = float((ticks - zero) * stream.time_base)
            notes.seconds.append(seconds)
            self._note_size(frame, ratio)
            if frame.interlaced_frame and _COMBS not in notes.remarks:
                notes.remarks.append(_COMBS)
            if number in wanted:
                yield Frame(number, self._convert(frame, ratio), seconds)

    def _note_size(self, frame: Any, ratio: Fraction | None) -> None:
        """On the first frame: the size of all, since a recording may change it."""
        if self.notes.size is None:
            stored = self.index.largest or (frame.height, frame.width)
            self.notes.original = shown_size(stored, orientation(frame), ratio)
            self.notes.size = self.selection.size(*self.notes.original)

    def _convert(self, frame: Any, ratio: Fraction | None) -> NDArray[np.uint8]:
        """Convert a decoded frame to RGB as it is shown, scaled down if asked."""
        wide = _wide_format(frame)
        if wide is None:
            rgb = np.asarray(self.converter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
        else:
            if self.depth is None:
                self.depth = self._used_depth(wide)
            rgb = to_rgb8(self._values(frame, wide), self.name, self.depth)
        return shown(rgb, orientation(frame), ratio, self.selection)

    def _values(self, frame: Any, form: str) -> NDArray[np.generic]:
        return np.asarray(self.converter.reformat(frame, format=form).to_ndarray())

    def _used_depth(self, form: str) -> Depth:
        """The depth that the values of the whole video use."""
        with open_video(self.source, self.name) as (container, stream):
            frames = decode(container, stream, [])
            depth = used_depth((self._values(frame, form) for frame in frames), "frames")
        if depth.remark:
            self.notes.remarks.append(depth.remark)
        return depth


def _wide_format(frame: Any) -> str | None:
    """The format in which values of 16 bits, or floating-point ones, are looked at; else None."""
    # Formats of 9 to 14 bits state their depth, and FFmpeg scales by it; those of luma and chroma,
    # whatever their name (yuv, p016, y216, xv48), are scaled by their standards.
    name, parts = frame.format.name, frame.format.components
    if name.startswith("grayf"):
        return "grayf32le"
    if parts[0].bits != 16 or not (frame.format.is_rgb or name.startswith(("gray", "ya"))):
        return None
    return "gray16le" if len(parts) == 1 else "rgb48le"
