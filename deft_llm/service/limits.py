"""Input limits of a front end, checked before decoding, and error messages safe to show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.media.suffixes import CLIP_SUFFIXES
from deft_llm.media.video import FACE_MAX_SIDE, VideoInfo, probe
from deft_llm.queries.query import MOST_CHARACTERS

_MEGABYTE = 1_000_000
_TEXT_OF_VIDEO = b"YUV4MPEG2 "  # how .y4m starts; no list of other files does
# A path of two or more parts, from the root or a drive. A slash in a sentence has fewer parts.
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:;,'\"]+)+[\\/]([^\s\\/:;,'\"]+)")


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        file_bytes: Size of a file.
        clip_seconds: Length of a single clip.
        video_seconds: Length of a long video that is searched for intervals.
        decoded_bytes: Memory for a clip's decoded frames.
        files: Files in a batch.
        scan_frames: Frames of a 4D sequence.
        question: Characters in a question.
        inline_bytes: Size of a clip that comes inside a request instead of as an upload.
        waiting: Requests that may wait for their turn.
    """

    file_bytes: int = 200 * _MEGABYTE
    clip_seconds: float = 30.0
    video_seconds: float = 600.0
    decoded_bytes: int = 1500 * _MEGABYTE
    files: int = 50
    scan_frames: int = 150
    question: int = MOST_CHARACTERS
    inline_bytes: int = 50 * _MEGABYTE
    waiting: int = 24


LIMITS = Limits()


def check_video(path: Path, limits: Limits, *, long: bool = False) -> VideoInfo:
    """Refuse a file of another type, or one that is too large or too long, without decoding it.

    Args:
        path: The uploaded file, or a folder that holds a clip's frames.
        limits: The limits.
        long: Whether it is a long video, searched window by window (``video_seconds`` applies).

    Returns:
        What the file holds.

    Raises:
        UserError: States the value and the limit; names the file without its folder.
    """
    # A folder holds frames that this server has written itself, with endings of its own.
    if not path.is_dir() and (path.suffix.lower() not in CLIP_SUFFIXES or _is_text(path)):
        raise UserError(f"{path.name}: expected a video, such as .mp4, .mov, .avi, .mkv or .webm")
    size = path.stat().st_size if path.is_file() else 0
    if size > limits.file_bytes:
        raise UserError(
            f"{path.name}: {size / _MEGABYTE:.0f} MB; at most {limits.file_bytes / _MEGABYTE:.0f} "
            "MB are read; cut or compress it"
        )
    info = probe(path)
    if not info.frames:
        raise UserError(f"{path.name}: no frames; expected a video")
    # Of the last frame's start: times count from the first frame.
    seconds = float(info.timestamps[-1])
    most = limits.video_seconds if long else limits.clip_seconds
    if seconds > most:
        hint = "cut it" if long else "cut it, or take the page for long videos"
        raise UserError(f"{path.name}: {seconds:.0f} s; at most {most:.0f} s are read; {hint}")
    # What ``read_clip`` keeps: RGB frames, scaled down to this side. A long video is read by
    # windows and never held as a whole.
    scale = min(1.0, FACE_MAX_SIDE / max(info.width, info.height, 1))
    decoded = int(info.frames * info.width * info.height * scale**2 * 3)
    if not long and decoded > limits.decoded_bytes:
        raise UserError(
            f"{path.name}: {info.frames} frames of {info.width}x{info.height} take "
            f"{decoded / _MEGABYTE:.0f} MB; at most {limits.decoded_bytes / _MEGABYTE:.0f} MB; "
            "cut it, or make the picture smaller"
        )
    return info


def _is_text(path: Path) -> bool:
    """Whether a file starts as text: FFmpeg would read it as a playlist and open what it names."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(32)
    # Every other format of video has bytes that are no text among its first.
    if start.startswith(_TEXT_OF_VIDEO):
        return False
    # An empty file is refused by ``probe``, with a better reason.
    return bool(start) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def public(error: UserError | str) -> str:
    """An error message without local paths: files and folders are named without their parents."""
    return _PATH.sub(r"\1", str(error))
