"""Open a video file with FFmpeg's libraries: the track that a player would show.

A plain sequential decode is the truth about a file: its frames, their order, their number.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from deft_llm.errors import UserError
from deft_llm.media.geometry import UPRIGHT, Matrix, nearest_orientation

logger = logging.getLogger(__name__)

#: FFmpeg also "plays" texts, and lists of other files or addresses. They are not videos.
_NOT_VIDEOS = {"tty", "concat", "hls", "dash", "sdp", "lrc", "vobsub", "webm_dash_manifest", "imf"}


def reason(error: BaseException) -> str:
    """FFmpeg's or the system's words for an error, on one line."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words).splitlines()[0]


@contextmanager
def open_video(source: Path | bytes, name: str) -> Iterator[tuple[Any, Any]]:
    """Open a video: the container, and the track to read.

    Raises:
        UserError: If it is not a video, or has no video track.
    """
    try:
        container = _open(source)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise UserError(
            f"{name}: not a readable video ({reason(error)}); expected a video file such as MP4, "
            "MOV, MKV or AVI, complete to its end"
        ) from error
    with container:
        if container.format.name in _NOT_VIDEOS:
            raise UserError(
                f"{name}: a text or a list of other files ({container.format.name}), not a video; "
                "give the video file itself"
            )
        number = choose_track(source, container, name)
        stream: Any = container.streams[number]
        stream.thread_type = "AUTO"
        yield container, stream


def _open(source: Path | bytes) -> Any:
    if isinstance(source, bytes):
        return av.open(io.BytesIO(source), metadata_errors="replace")
    # An absolute path never looks like an address, as "12:30.mp4" does. Lists of files, which
    # FFmpeg knows, may name no address either.
    options = {"protocol_whitelist": "file"}
    return av.open(str(source.absolute()), metadata_errors="replace", container_options=options)


def choose_track(source: Path | bytes, container: Any, name: str) -> int:
    """The number of the track that a player would show.

    Cover pictures and thumbnails are no videos. Of several videos, previews with few frames are
    dropped; then the default track wins, then the largest picture.
    """
    kinds = av.stream.Disposition
    pictures = kinds.attached_pic | kinds.timed_thumbnails | kinds.still_image
    tracks = list(container.streams.video)
    known = [s for s in tracks if s.codec_context is not None]
    moving = [s for s in known if not s.disposition & pictures] or known
    if not moving:
        what = "a video in a format that FFmpeg does not decode" if tracks else "no video stream"
        raise UserError(f"{name}: holds {what}; expected a video, got sound or data only")
    if len(moving) == 1:
        return int(moving[0].index)
    counts = _packets_of(source, name)
    most = max(counts.get(s.index, 0) for s in moving)
    long = [s for s in moving if counts.get(s.index, 0) >= most / 2]
    # Minus, because of equal tracks the first is shown.
    rank = [(bool(s.disposition & kinds.default), s.width * s.height, -s.index) for s in long]
    return int(-max(rank)[2])


def _packets_of(source: Path | bytes, name: str) -> dict[int, int]:
    """Number of packets of each track; opened anew, since not every file can be rewound."""
    counts: dict[int, int] = {}
    try:
        with _open(source) as container:
            for packet in container.demux():
                counts[packet.stream_index] = counts.get(packet.stream_index, 0) + bool(packet.size)
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("%s: counting packets ended early: %s", name, error)
    return counts


def codec_name(codec: Any) -> str:
    """FFmpeg's name of a format, "av1", whatever decoder reads it, "libdav1d"."""
    return str(codec.codec.canonical_name)


def orientation(frame: Any) -> Matrix:
    """How a decoded frame is turned and mirrored for display."""
    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX:
            return nearest_orientation(np.frombuffer(bytes(data), np.int32))
    return UPRIGHT


def frame_rate(stream: Any) -> float:
    """Frames per second, as the container or the codec states them; 25 if neither does."""
    if too_fast_for_times(stream):
        return float(stream.average_rate)
    return float(stream.guessed_rate or stream.average_rate or 25)


def too_fast_for_times(stream: Any) -> bool:
    """Whether frames follow each other faster than the container's clock ticks.

    Matroska counts milliseconds: above 1,000 frames per second several have the same time.
    """
    return bool(stream.average_rate and stream.average_rate * stream.time_base > 1)
