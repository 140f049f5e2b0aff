"""Open a video file with FFmpeg's libraries: the right track, its frame times, its random access.

A plain sequential decode is the truth about a file: its frames, their order, their number. Packets
tell the same without decoding only for containers and codecs that keep one shown frame a packet;
`scan` says whether they do (``Index.exact``), and where decoding may start in the middle.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.geometry import UPRIGHT, Matrix, nearest_orientation

logger = logging.getLogger(__name__)

#: FFmpeg also "plays" texts, and lists of other files or addresses. They are not videos.
_NOT_VIDEOS = {"tty", "concat", "hls", "dash", "sdp", "lrc", "vobsub", "webm_dash_manifest", "imf"}
#: Containers that state the time of every frame and are read from any key frame.
_INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
#: Codecs whose packets hold one frame each; in VP8 and VP9 it may be a hidden one.
_FRAME_A_PACKET = {
    *("h264", "hevc", "av1", "vp8", "vp9", "mjpeg", "prores", "ffv1", "dnxhd", "theora"),
    *("rawvideo", "png", "huffyuv", "utvideo", "qtrle"),
}
#: FFmpeg's numbers for "progressive or unknown"; the fields of others may lie in two packets.
_PROGRESSIVE = (0, 1)
#: Looking at more key frames than this for a change of size would be a decode of the video.
_KEYS_LOOKED_AT = 64


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


@dataclass(frozen=True)
class Index:
    """What the packets of a track say, without decoding it (but for some key frames).

    Attributes:
        exact: Whether ``pts`` are the times of all frames that a decoder shows.
        pts: Presentation times in the track's time base, increasing; empty if not all are known.
        entries: The times among ``pts`` at which decoding may start: what follows needs nothing
            from before.
        packets: Number of packets, those of hidden frames included.
        cut: Whether the file ends before the time that it states.
        largest: (height, width) of the largest picture among the key frames, as stored; None if
            none can be decoded.
    """

    exact: bool
    pts: NDArray[np.int64]
    entries: NDArray[np.int64]
    packets: int
    cut: bool
    largest: tuple[int, int] | None

    def entry(self, frame: int) -> int | None:
        """The time from which to decode for `frame`; None: from the start of the file."""
        if not self.exact or frame >= len(self.pts):
            return None
        before = self.entries[self.entries <= self.pts[frame]]
        return int(before[-1]) if len(before) and before[-1] > self.pts[0] else None


def scan(container: Any, stream: Any) -> Index:
    """Read all packets of a track; leaves the container at its end."""
    times: list[int | None] = []
    starts: list[bool] = []
    keys: list[bytes] = []
    packets, key_frames, hidden, whole, end = 0, 0, False, True, 0
    try:
        for packet in container.demux(stream):
            if not packet.size:  # demux ends with an empty packet for flushing
                continue
            packets += 1
            if packet.pts is not None:
                end = max(end, packet.pts + 2 * (packet.duration or 0))
            data = bytes(packet) if packet.is_keyframe else b""
            key_frames += packet.is_keyframe
            if data and len(keys) < _KEYS_LOOKED_AT:
                keys.append(data)
            # An edit list marks frames that are decoded and not shown.
            if packet.is_discard:
                continue
            hidden = hidden or not _is_shown(stream.codec_context.name, packet)
            times.append(packet.pts)
            starts.append(bool(data) and _is_entry(stream.codec_context, data))
    except (av.FFmpegError, OSError) as error:
        logger.debug("packet scan ended early: %s", error)
        whole = False
    pts, entries = _sorted_times(times, starts)
    exact = bool(
        whole
        and not hidden
        and len(pts) == len(times) > 0
        and container.format.name in _INDEXED
        and stream.codec_context.name in _FRAME_A_PACKET
        # Older versions of PyAV do not tell.
        and getattr(stream.codec_context, "field_order", 0) in _PROGRESSIVE
        # A video that opens in the middle of a group of pictures loses frames when decoded.
        and (packets > len(times) or (len(entries) > 0 and entries[0] == pts[0]))
    )
    # In a video of key frames alone, all frames would have to be decoded; one is enough.
    size = _largest(stream, keys[:1] if key_frames == packets else keys)
    # An edit list may hide frames that the header counts, so the count alone says nothing.
    cut = stream.frames > packets and end < (stream.start_time or 0) + (stream.duration or 0)
    return Index(exact, pts, entries, packets, cut, size)


def _sorted_times(
    times: list[int | None], starts: list[bool]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times in order of display, and those at which decoding may start; empty if not all known."""
    known = [t for t in times if t is not None]
    if len(known) < len(times) or not known:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.asarray(known, np.int64)
    # Packets come in decoding order. Where a later one is shown before a key frame, decoding from
    # the key frame would lose it.
    later = np.minimum.accumulate(np.append(order[1:], np.iinfo(np.int64).max)[::-1])[::-1]
    clean = np.asarray(starts, bool) & (later > order)
    pts = np.unique(order)
    # A time that occurs twice numbers no frame.
    return (pts, order[clean]) if len(pts) == len(order) else (pts[:0], pts[:0])


def _is_shown(codec: str, packet: Any) -> bool:
    """Whether a packet holds a shown frame: VP8 and VP9 keep hidden ones for prediction."""
    if codec not in ("vp8", "vp9"):
        return True
    first = bytes(packet)[0]
    if codec == "vp8":
        return bool(first & 0x10)
    # Bits from the left: marker (2), profile (2), show an existing frame, inter frame, show frame.
    return bool(first & 0x08 or first & 0x02)


def _is_entry(codec: Any, data: bytes) -> bool:
    """Whether decoding from this key frame gives what decoding from the start gives.

    H.264 and HEVC also mark as key frames pictures from which a decoder only recovers; those that
    clear all memory have their own types.
    """
    if codec.name == "h264":
        return any(unit & 0x1F == 5 for unit in _units(codec, data))
    if codec.name == "hevc":
        return any(unit >> 1 & 0x3F in (19, 20) for unit in _units(codec, data))
    return True


def _units(codec: Any, data: bytes) -> Iterator[int]:
    """First byte of every unit of an H.264 or HEVC packet with lengths before its units."""
    extra = bytes(codec.extradata or b"")
    if not extra or extra[0] != 1:  # units after start codes: not looked into
        return
    width = (extra[4 if codec.name == "h264" else 21] & 3) + 1
    at = 0
    while at + width < len(data):
        yield data[at + width]
        at += width + int.from_bytes(data[at : at + width], "big")


def _largest(stream: Any, keys: list[bytes]) -> tuple[int, int] | None:
    """The largest stored size among key frames: at these a recording may change its size."""
    decoder = av.CodecContext.create(stream.codec_context.codec.name, "r")
    decoder.extradata = stream.codec_context.extradata
    sizes = []
    for data in keys:
        try:
            frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
            decoder.flush_buffers()
        except (av.FFmpegError, ValueError, MemoryError) as error:
            logger.debug("a key frame cannot be decoded alone: %s", error)
            continue
        sizes += [(frame.height, frame.width) for frame in frames]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def orientation(frame: Any) -> Matrix:
    """How a decoded frame is turned and mirrored for display."""
    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX:
            return nearest_orientation(np.frombuffer(bytes(data), np.int32))
    return UPRIGHT


def frame_rate(stream: Any) -> Fraction | None:
    """Frames per second, as the container or the codec states them."""
    return stream.guessed_rate or stream.average_rate or None
