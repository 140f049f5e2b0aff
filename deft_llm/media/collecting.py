"""Frames from any reader, put together as a clip: one size, one array, times that increase."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.media import selection as limits
from deft_llm.media.geometry import fit
from deft_llm.media.selection import Frame, Notes, Selection

logger = logging.getLogger(__name__)

_FIRST_ROOM = 64  # frames


class FrameBuffer:
    """Frames of one size in one array, which grows as they come.

    Args:
        name: Name of the video in messages.
        notes: What its reader finds out.
        selection: Which frames are read.
        room: Bytes for all frames; None for as many frames as come.
        made: Bytes that will be made of each frame, which count as well.
    """

    def __init__(
        self,
        name: str,
        notes: Notes,
        selection: Selection,
        room: int | None = None,
        made: int = 0,
    ) -> None:
        self.name, self.notes, self.selection = name, notes, selection
        self.room, self.made = room, made
        self.numbers: list[int] = []
        self.seconds: list[float] = []
        self._pixels = np.empty((0, 0, 0, 3), np.uint8)
        self._resized = False
        self._told: set[str] = set()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def full(self) -> bool:
        """Whether there is no room for another frame."""
        return self.room is not None and 0 < len(self._pixels) <= len(self)

    def until(self, frame: Frame, fps: float | None) -> float:
        """Seconds from the first frame that is kept to a later one; 0 without a frame."""
        if not len(self):
            return 0.0
        stated = frame.seconds - self.seconds[0]
        if fps is None and math.isfinite(stated):
            return stated
        here, there = self.notes.placed([self.numbers[0], frame.number])
        return (there - here) / (fps or self.notes.rate)

    @property
    def images(self) -> NDArray[np.uint8]:
        """The frames, (T, H, W, 3); a view, valid until the next change."""
        return self._pixels[: len(self)]

    def add(self, frame: Frame) -> None:
        """Keep a frame.

        Raises:
            UserError: If the frames take more than ``selection.MAX_CLIP_BYTES``.
        """
        # The first frame decides where the reader does not know better.
        size = self.notes.size or (frame.image.shape[0], frame.image.shape[1])
        self.notes.size = size
        if frame.image.shape[:2] != size and not self._resized:
            self._resized = True
            (h, w), (height, width) = frame.image.shape[:2], size
            self.notes.remarks.append(
                f"the picture size changes in the video: frame {frame.number} is {w}x{h}, and is "
                f"scaled to {width}x{height} like all"
            )
        self._check_memory(size)
        if len(self) == len(self._pixels):
            self._grow(size)
        self._pixels[len(self)] = fit(frame.image, size)
        self.numbers.append(frame.number)
        self.seconds.append(frame.seconds)

    def _check_memory(self, size: tuple[int, int]) -> None:
        # For each frame: the frame count of a container is not reliable enough beforehand.
        height, width = size
        if (len(self) + 1) * height * width * 3 > limits.MAX_CLIP_BYTES:
            raise UserError(
                f"{self.name}: more than {limits.MAX_CLIP_BYTES / 2**30:.0f} GiB of frames "
                f"({len(self)} of {width}x{height} so far); read a part of it (start, stop), "
                "fewer frames (stride) or smaller ones (max_side)"
            )

    def _grow(self, size: tuple[int, int]) -> None:
        """Make room; memory is taken only by the frames that are written to it."""
        height, width = size
        count = max(2 * len(self), _FIRST_ROOM)
        # All at once where it can be told, since growing holds the frames twice for a moment.
        if self.room is not None:
            count = max(2, self.room // (height * width * 3 + self.made))
        elif not len(self) and self.notes.available:
            wanted = self.selection
            count = len(range(self.notes.available)[wanted.start : wanted.stop : wanted.stride])
            count = max(1, min(count, limits.MAX_CLIP_BYTES // (height * width * 3)))
        try:
            grown = np.empty((count, height, width, 3), np.uint8)
        except MemoryError as error:
            raise UserError(
                f"{self.name}: no memory for {count} frames of {width}x{height}; read a part of "
                "it (start, stop), or fewer frames (stride)"
            ) from error
        if len(self):
            grown[: len(self)] = self._pixels
        self._pixels = grown

    def clip(self, name: str, source: Path | None, fps: float | None, start: int = 0) -> Clip:
        """All frames as a clip, which shares the pixels; what its reader noted is logged.

        Args:
            name: Name of the clip.
            source: Its file or folder.
            fps: Frames per second, in place of the file's times.
            start: First frame that was asked for.

        Raises:
            UserError: If there is no frame.
        """
        notes = self.notes
        if not len(self):
            raise no_frames(self.name, notes, start)
        (height, width), (kept_height, kept_width) = notes.original, self.images.shape[1:3]
        if height > kept_height:
            logger.info(
                "%s: %dx%d scaled to %dx%d", self.name, width, height, kept_width, kept_height
            )
        places = notes.placed(self.numbers)
        times, doubt = frame_times(places, self.seconds, fps, notes.rate)
        remarks = notes.remarks + warnings(notes, len(self), fps) + ([doubt] if doubt else [])
        for remark in remarks:
            # Once, not for every window of a long video.
            if remark not in self._told:
                logger.warning("%s: %s", self.name, remark)
        self._told.update(remarks)
        return Clip(name, self.images, times, source, tuple(remarks))

    def keep_last(self, count: int) -> None:
        """Drop all frames but the last `count`."""
        first = len(self) - count
        self._pixels[:count] = self._pixels[first : len(self)].copy()
        self.numbers, self.seconds = self.numbers[first:], self.seconds[first:]


def warnings(notes: Notes, frames: int, fps: float | None) -> list[str]:
    """Remarks on lost frames and on a rate that was assumed."""
    found = []
    if lost := _lost(notes):
        found.append(f"damaged or cut: {lost}; going on with the {frames} frames that decode")
    if notes.untimed and fps is None and frames > 1:
        found.append(
            f"{notes.untimed}: {notes.rate:g} fps assumed; if it is wrong, so are all times"
        )
    return found


def _lost(notes: Notes) -> str:
    """What went wrong while a video was read, shortly; "" if nothing did."""
    found = list(dict.fromkeys(notes.problems))[:3]
    if notes.damaged:
        many = f"{len(notes.damaged)} frames are" if len(notes.damaged) > 1 else "one frame is"
        found.append(f"{many} damaged, the first is number {notes.damaged[0]}")
    return "; ".join(found)


def no_frames(label: str, notes: Notes, start: int = 0) -> UserError:
    """The error for a video that gave no frame."""
    # A range past the end is the user's mistake; no frame at all is a broken file.
    there = max(notes.available, len(notes.seconds))
    if 0 < there <= start:
        return UserError(
            f"{label}: no frame in the range from {start}; the clip has {there} frames, "
            "numbered from 0"
        )
    lost = _lost(notes)
    what = f" ({lost})" if lost else ""
    return UserError(f"{label}: no frame can be decoded{what}; the file is cut or damaged")


def frame_times(
    numbers: Sequence[int], seconds: Sequence[float], fps: float | None, rate: float
) -> tuple[NDArray[np.float64], str]:
    """Seconds from the first frame of the video.

    Args:
        numbers: Places of the frames in time, counted in frames, (T,).
        seconds: Their times; NaN where the file does not say.
        fps: Frames per second, in place of the file's times.
        rate: Frames per second where nothing is known.

    Returns:
        Times (T,), increasing, and a remark if the stated ones are not; "" otherwise. Times that
        are unknown or out of order are placed between the others.
    """
    index, times = np.asarray(numbers, np.float64), np.asarray(seconds, np.float64)
    if fps is not None:
        return index / fps, ""
    known = np.isfinite(times)
    order = np.flatnonzero(known)[_increasing(times[known])]
    doubt = ""
    if len(order) < np.count_nonzero(known):
        out = np.count_nonzero(known) - len(order)
        doubt = f"{out} frames have times out of order and were placed between the others"
    if len(order) < len(times):
        # The first frame of the video is at 0; after the last known time the rate counts.
        order = order[(index[order] > 0) & (times[order] > 0)]
        last, end = (index[order][-1], times[order][-1]) if len(order) else (0.0, 0.0)
        # A point far beyond, so that frames after the last known time go on at the rate.
        at = [0.0, *index[order], last + 1e6]
        times = np.interp(index, at, [0.0, *times[order], end + 1e6 / rate])
    return np.asarray(times, np.float64), doubt


def _increasing(times: NDArray[np.float64]) -> list[int]:
    """Indices of the longest strictly increasing subsequence; of equal times, the first."""
    ends: list[float] = []  # the smallest last time of a subsequence of each length
    at: list[int] = []
    before = [-1] * len(times)
    for i, time in enumerate(times.tolist()):
        # The ends stay sorted, so bisection finds the longest run that this time can follow.
        length = bisect_left(ends, time)
        if length < len(ends) and ends[length] == time:
            continue
        before[i] = at[length - 1] if length else -1
        ends[length : length + 1] = [time]
        at[length : length + 1] = [i]
    found = []
    i = at[-1] if at else -1
    while i >= 0:
        found.append(i)
        i = before[i]
    return found[::-1]
