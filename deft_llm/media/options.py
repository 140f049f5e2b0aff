"""What a user may say about how a clip is read."""

from __future__ import annotations

from dataclasses import dataclass

from deft_llm.errors import UserError


@dataclass(frozen=True)
class ReadOptions:
    """Which part of a video is read, at which rate, and which face is followed.

    Attributes:
        fps: Frames per second, in place of the times in the file; None for those. Pictures and
            bare streams carry no times; high-speed recordings may state the rate of playback.
        start: First frame, 0-based.
        stop: One past the last frame; None for the end.
        stride: Keep every `stride`-th frame of the range.
        face: Which face to follow: 1 is the leftmost in the picture; None for the largest.

    Raises:
        UserError: If a value is out of range.
    """

    fps: float | None = None
    start: int = 0
    stop: int | None = None
    stride: int = 1
    face: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise UserError(f"{self.fps:g} frames per second; expected a rate above 0 (--fps)")
        if self.start < 0 or self.stride < 1 or (self.stop is not None and self.stop <= self.start):
            raise UserError(
                f"range start {self.start}, stop {self.stop}, stride {self.stride}; expected "
                "0 <= start < stop and stride >= 1"
            )
        if self.face is not None and self.face < 1:
            raise UserError(f"face {self.face}; faces are numbered from 1, from left to right")

    @property
    def partial(self) -> bool:
        """Whether frames of the video are left out."""
        return self.start > 0 or self.stop is not None or self.stride > 1


WHOLE = ReadOptions()
