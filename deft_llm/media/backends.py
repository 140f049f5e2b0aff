"""Video decoders behind one signature: PyAV, decord and OpenCV.

A backend is a function ``(source, name, selection) -> Decoded``. Each returns the frames whose
index is in the selection's range, as RGB, with the container's own timestamps relative to the
first frame of the video. The index counts the frames that a player would show: frames hidden by an
edit list do not count.

Differences (measured by ``eval/speed/video.py``, see ``video.DEFAULT_BACKEND``):

- PyAV knows every timestamp before it decodes, so it can start a range at the nearest key frame.
  It also applies edit lists and rotation.
- OpenCV decodes (but does not convert) everything before the range.
- decord counts frames hidden by an edit list; they are dropped here by their negative time.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.selection import Decoded, Selection, shrink
from deft_llm.registry import resolve

logger = logging.getLogger(__name__)

BACKENDS = {
    "pyav": "deft_llm.media.backends:read_pyav",
    "opencv": "deft_llm.media.backends:read_opencv",
    "decord": "deft_llm.media.backends:read_decord",
}


Backend = Callable[["Path | bytes", str, Selection], Decoded]


def get_backend(name: str) -> Backend:
    """The backend function for a name.

    Raises:
        UserError: If the name is unknown.
    """
    backend: Backend = resolve(BACKENDS, name, "video backend")
    return backend


def open_container(source: Path | bytes, name: str) -> Any:
    """Open a video with PyAV.

    Raises:
        UserError: If it is not a video, or has no video stream.
    """
    try:
        container = av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"{name}: not a readable video ({getattr(error, 'strerror', None) or error}); expected "
            "a video file such as MP4, MOV, MKV or AVI, complete to its end"
        ) from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{name}: holds no video stream; expected a video, got sound or data only")
    return container


@dataclass(frozen=True)
class PacketTable:
    """Times of all frames, read from the packets without decoding.

    Attributes:
        pts: Presentation times of the shown frames, in units of the stream's time base, sorted;
            empty if the container does not state all of them.
        packets: Number of packets, including hidden ones.
    """

    pts: NDArray[np.int64]
    packets: int


def scan_packets(container: Any, stream: Any) -> PacketTable:
    """Read the frame times of `stream`; leaves the container at its end."""
    times: list[int | None] = []
    packets = 0
    try:
        for packet in container.demux(stream):
            if packet.size:  # demux ends with an empty packet for flushing
                packets += 1
                if not packet.is_discard:  # an edit list marks hidden frames like this
                    times.append(packet.pts)
    except av.FFmpegError as error:
        logger.debug("packet scan ended early: %s", error)
    known = [t for t in times if t is not None]
    # Packets come in decoding order; with B-frames their times must be sorted. If times are missing
    # or repeated, they cannot number the frames, so the table stays empty.
    pts = np.unique(np.asarray(known, np.int64)) if len(known) == len(times) else np.empty(0, int)
    return PacketTable(pts if len(pts) == len(times) else np.empty(0, np.int64), packets)


def rewind(container: Any, stream: Any, table: PacketTable, start: int) -> None:
    """Seek to the last key frame from which frame `start` can be decoded."""
    if start < len(table.pts):
        target = int(table.pts[start]) if start else int(table.pts[0])
    else:
        target = 0
    container.seek(target, stream=stream, backward=True)


def _numbered(
    container: Any, stream: Any, table: PacketTable, problems: list[str]
) -> Iterator[tuple[int, Any]]:
    """Decoded frames with their index; damaged frames are dropped and noted in `problems`."""
    counter = itertools.count()
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames)
        except (StopIteration, EOFError):
            return
        except av.FFmpegError as error:
            problems.append(f"decoding stopped: {error.strerror}")
            return
        index = next(counter)
        if len(table.pts):
            # After a seek, counting would be wrong: the time says which frame this is.
            index = int(np.searchsorted(table.pts, frame.pts)) if frame.pts is not None else index
        if frame.is_corrupt:
            problems.append(f"frame {index} is damaged")
            continue
        yield index, frame


def _to_rgb(frame: Any, converter: VideoReformatter, selection: Selection) -> NDArray[np.uint8]:
    """Convert a PyAV frame to RGB, upright, scaled down if asked."""
    # One converter for the clip: `frame.to_ndarray` makes a new one for each frame, 4x slower.
    rgb = np.asarray(converter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
    rgb = shrink(rgb, selection)
    # Shrink before turning, to turn fewer pixels. FFmpeg and rot90 both count counter-clockwise.
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def read_pyav(source: Path | bytes, name: str, selection: Selection) -> Decoded:
    """Read with PyAV (FFmpeg's libraries)."""
    result, problems = Decoded(), []
    with open_container(source, name) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        table = scan_packets(container, stream)
        result.available = len(table.pts)
        if stream.frames > table.packets:
            problems.append(f"{stream.frames} frames promised, {table.packets} stored")
        rewind(container, stream, table, selection.start)
        wanted = selection.wanted
        first = int(table.pts[0]) if len(table.pts) else None
        converter = VideoReformatter()
        rate = stream.average_rate or stream.guessed_rate or 25
        for index, frame in _numbered(container, stream, table, problems):
            if index >= wanted.stop:  # frames come in order of display
                break
            result.original_size = (frame.height, frame.width)
            if index not in wanted:
                continue
            ticks = None if first is None or frame.pts is None else frame.pts - first
            seconds = index / rate if ticks is None else ticks * stream.time_base
            result.add(_to_rgb(frame, converter, selection), float(seconds), name)
    result.problem = "; ".join(problems[:3]) or None
    return result


def read_opencv(source: Path | bytes, name: str, selection: Selection) -> Decoded:
    """Read with OpenCV's VideoCapture: decodes from the first frame, converts selected frames."""
    if isinstance(source, bytes):
        raise UserError(f"{name}: the opencv backend reads files only; use pyav for bytes")
    capture = cv2.VideoCapture(str(source))
    result, wanted = Decoded(), selection.wanted
    try:
        first = 0.0
        for index in itertools.count():
            # grab() decodes, retrieve() converts to BGR. Seeking by frame number is not exact in
            # OpenCV.
            if index >= wanted.stop or not capture.grab():
                break
            result.available = index + 1
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            first = seconds if index == 0 else first
            if index not in wanted:
                continue
            ok, bgr = capture.retrieve()
            if not ok:
                result.problem = f"frame {index} is damaged"
                continue
            result.original_size = (bgr.shape[0], bgr.shape[1])
            rgb = cv2.cvtColor(np.asarray(bgr, np.uint8), cv2.COLOR_BGR2RGB)
            result.add(shrink(np.asarray(rgb, np.uint8), selection), seconds - first, name)
    finally:
        capture.release()
    return result


def read_decord(source: Path | bytes, name: str, selection: Selection) -> Decoded:
    """Read with decord, which is optional (no wheel on ARM Macs, none newer than 2021)."""
    try:
        import decord
    except ImportError as error:
        raise UserError(
            "video backend 'decord' is not installed; pip install decord, or use backend 'pyav'"
        ) from error
    try:
        reader = decord.VideoReader(
            io.BytesIO(source) if isinstance(source, bytes) else str(source)
        )
        times = np.asarray(reader.get_frame_timestamp(range(len(reader))), np.float64)[:, 0]
        # An edit list hides frames at negative times; decord skips them but counts them.
        times = times[times >= 0]
        result = Decoded(original_size=reader[0].shape[:2], available=len(times))
        for index in range(len(times))[selection.start : selection.stop : selection.stride]:
            frame = reader[index].asnumpy()
            result.add(shrink(frame, selection), float(times[index] - times[0]), name)
    except (RuntimeError, decord.DECORDError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no frames"
        raise UserError(f"{name}: decord cannot read this video ({reason})") from error
    return result
