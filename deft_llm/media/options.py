"""What a user may say about how a clip is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deft_llm.errors import UserError, did_you_mean
from deft_llm.media.landmarks import DEFAULT_FINDER, LANDMARK_FINDERS
from deft_llm.media.video import probe


@dataclass(frozen=True)
class Moment:
    """A place in a video: a frame number, or seconds from its first frame."""

    value: float
    in_seconds: bool

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read "120" as a frame and "1.5s" as seconds.

        Raises:
            UserError: If it is neither.
        """
        number = text.strip().lower()
        in_seconds = number.endswith("s")
        try:
            value = float(number.removesuffix("s")) if in_seconds else int(number)
        except ValueError:
            value = -1
        if not 0 <= value < float("inf"):
            raise UserError(f"{text!r} is no moment; expected a frame (120) or seconds (1.5s)")
        return cls(value, in_seconds)


@dataclass(frozen=True)
class ReadOptions:
    """Which part of a video is read, at which rate, and which face is followed by what.

    Attributes:
        fps: Frames per second, in place of the times in the file; None for those. Pictures and
            bare streams carry no times; high-speed recordings may state the rate of playback.
        start: First frame, 0-based.
        stop: One past the last frame; None for the end.
        stride: Keep every `stride`-th frame of the range.
        face: Which face to follow: 1 is the leftmost in the picture; None for the largest.
        landmarks: Name of the landmark finder.

    Raises:
        UserError: If a value is out of range.
    """

    fps: float | None = None
    start: int = 0
    stop: int | None = None
    stride: int = 1
    face: int | None = None
    landmarks: str = DEFAULT_FINDER

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise UserError(f"{self.fps:g} frames per second; expected a rate above 0 (--fps)")
        if self.start < 0 or self.stride < 1 or (self.stop is not None and self.stop <= self.start):
            stop = "at the end" if self.stop is None else self.stop
            raise UserError(
                f"range start {self.start}, stop {stop}, stride {self.stride}; expected "
                "0 <= start < stop and stride >= 1"
            )
        if self.face is not None and self.face < 1:
            raise UserError(f"face {self.face}; faces are numbered from 1, from left to right")
        if self.landmarks not in LANDMARK_FINDERS:
            names, hint = (
                ", ".join(LANDMARK_FINDERS),
                did_you_mean(self.landmarks, LANDMARK_FINDERS),
            )
            raise UserError(
                f"landmark finder {self.landmarks!r} (--landmarks): expected one of {names}{hint}"
            )

    @property
    def partial(self) -> bool:
        """Whether frames of the video are left out."""
        return self.start > 0 or self.stop is not None or self.stride > 1

    @classmethod
    def of(
        cls,
        path: Path | str,
        *,
        fps: float | None = None,
        start: Moment | None = None,
        stop: Moment | None = None,
        stride: int = 1,
        face: int | None = None,
        landmarks: str = DEFAULT_FINDER,
    ) -> ReadOptions:
        """The options for one video, in which seconds become frames.

        Args:
            path: The video, which is looked into only for moments in seconds.
            fps: See the class.
            start: First moment to read.
            stop: Moment before which reading ends.
            stride: See the class.
            face: See the class.
            landmarks: See the class.

        Raises:
            UserError: If a value is out of range, or the video cannot be read.
        """
        in_seconds = any(moment and moment.in_seconds for moment in (start, stop))
        times = probe(path, fps=fps).timestamps if in_seconds else np.empty(0)

        def frame(moment: Moment) -> int:
            if not moment.in_seconds:
                return int(moment.value)
            # A frame whose time misses the moment by rounding is still meant.
            return int(np.searchsorted(times, moment.value - 1e-6))

        first, last = frame(start) if start else 0, frame(stop) if stop else None
        return cls(fps, first, last, stride, face, landmarks)


WHOLE = ReadOptions()
