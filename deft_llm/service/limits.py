"""What a front end accepts, checked before anything is decoded, and errors fit for strangers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.media.video import FACE_MAX_SIDE, probe

#: Containers that are read; by their ending, and then by what is in them.
VIDEO_TYPES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
_MEGABYTE = 1_000_000
# A path of two or more parts, from the root or a drive; what a sentence has of "/" is shorter.
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:;,'\"]+)+[\\/]([^\s\\/:;,'\"]+)")


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for.

    Attributes:
        file_bytes: Size of a file.
        clip_seconds: Length of a clip that is explained as one.
        video_seconds: Length of a video that is searched for intervals.
        decoded_bytes: Memory that a clip's frames may take at once.
        files: Files of a batch.
        question: Characters of a question.
    """

    file_bytes: int = 200 * _MEGABYTE
    clip_seconds: float = 30.0
    video_seconds: float = 600.0
    decoded_bytes: int = 1500 * _MEGABYTE
    files: int = 50
    question: int = 500


LIMITS = Limits()


def check_video(path: Path, limits: Limits, *, long: bool = False) -> None:
    """Refuse a file that is of another type, too large or too long; nothing is decoded.

    Args:
        path: The uploaded file.
        limits: What is allowed.
        long: Whether it is to be searched piece by piece (``video_seconds`` counts then).

    Raises:
        UserError: What was got and what is allowed; the file goes by its name alone.
    """
    if path.suffix.lower() not in VIDEO_TYPES:
        raise UserError(f"{path.name}: expected a video ({', '.join(VIDEO_TYPES)})")
    size = path.stat().st_size if path.is_file() else 0
    if size > limits.file_bytes:
        raise UserError(
            f"{path.name}: {size / _MEGABYTE:.0f} MB; at most {limits.file_bytes / _MEGABYTE:.0f} "
            "MB are read; cut or compress it"
        )
    info = probe(path)
    if not info.frames:
        raise UserError(f"{path.name}: no frames; expected a video")
    seconds = float(info.timestamps[-1])
    most = limits.video_seconds if long else limits.clip_seconds
    if seconds > most:
        hint = "cut it" if long else "cut it, or take the page for long videos"
        raise UserError(f"{path.name}: {seconds:.0f} s; at most {most:.0f} s are read; {hint}")
    scale = min(1.0, FACE_MAX_SIDE / max(info.width, info.height, 1))
    decoded = int(info.frames * info.width * info.height * scale**2 * 3)
    if not long and decoded > limits.decoded_bytes:
        raise UserError(
            f"{path.name}: {info.frames} frames of {info.width}x{info.height} take "
            f"{decoded / _MEGABYTE:.0f} MB; at most {limits.decoded_bytes / _MEGABYTE:.0f} MB; "
            "cut it, or make the picture smaller"
        )


def public(error: UserError | str) -> str:
    """A message without paths of this machine: files and folders go by their last name."""
    return _PATH.sub(r"\1", str(error))
