"""What the packets of a track say without decoding it: times, and where decoding may start.

Packets tell the frames only for containers and codecs that keep one shown frame a packet
(``Index.exact``). Where they do not, only a decoder knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from deft_llm.media.containers import codec_name

logger = logging.getLogger(__name__)

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


@dataclass
class _Packets:
    """What is gathered from the packets of a track, one by one."""

    codec: Any
    times: list[int | None] = field(default_factory=list)
    starts: list[bool] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    count: int = 0
    key_frames: int = 0
    opened: bool = False  # decoding may start at the first packet
    hidden: bool = False  # some packets hold no frame that is shown
    end: int = 0

    def add(self, packet: Any) -> None:
        """Take the next packet in decoding order."""
        data = bytes(packet) if packet.is_keyframe else b""
        entry = bool(data) and _is_entry(self.codec, data)
        self.opened = entry if self.count == 0 else self.opened
        self.count += 1
        self.key_frames += bool(data)
        if data and len(self.keys) < _KEYS_LOOKED_AT:
            self.keys.append(data)
        if packet.pts is not None:
            self.end = max(self.end, packet.pts + 2 * (packet.duration or 0))
        # An edit list marks frames that are decoded and not shown.
        if not packet.is_discard:
            self.hidden = self.hidden or not _is_shown(codec_name(self.codec), packet)
            self.times.append(packet.pts)
            self.starts.append(entry)


def scan(container: Any, stream: Any) -> Index:
    """Read all packets of a track; leaves the container at its end."""
    seen, whole = _Packets(stream.codec_context), True
    try:
        for packet in container.demux(stream):
            if packet.size:  # demux ends with an empty packet for flushing
                seen.add(packet)
    except (av.FFmpegError, OSError) as error:
        logger.debug("packet scan ended early: %s", error)
        whole = False
    pts, entries = _sorted_times(seen.times, seen.starts)
    exact = bool(
        whole
        and container.format.name in _INDEXED
        and codec_name(stream.codec_context) in _FRAME_A_PACKET
        # Older versions of PyAV do not tell.
        and getattr(stream.codec_context, "field_order", 0) in _PROGRESSIVE
        and not seen.hidden
        and len(pts) == len(seen.times) > 0
        # A video that opens in the middle of a group of pictures loses frames when decoded.
        and seen.opened
        and (seen.count > len(pts) or (len(entries) > 0 and entries[0] == pts[0]))
    )
    # In a video of key frames alone, all frames would have to be decoded; one is enough.
    keys = seen.keys[:1] if seen.key_frames == seen.count else seen.keys
    # An edit list may hide frames that the header counts, so the count alone says nothing.
    stated = (stream.start_time or 0) + (stream.duration or 0)
    cut = stream.frames > seen.count and seen.end < stated
    return Index(exact, pts, entries, seen.count, cut, _largest(stream, keys))


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
    name = codec_name(codec)
    if name == "h264":
        return any(unit & 0x1F == 5 for unit in _units(codec, data))  # 5: IDR
    if name == "hevc":
        return any(unit >> 1 & 0x3F in (19, 20) for unit in _units(codec, data))  # 19, 20: IDR
    return True


def _units(codec: Any, data: bytes) -> Iterator[int]:
    """First byte of every unit of an H.264 or HEVC packet with lengths before its units."""
    extra = bytes(codec.extradata or b"")
    if not extra or extra[0] != 1:  # units after start codes: not looked into
        return
    # Bytes of a unit's length: stated at byte 4 of H.264's header and byte 21 of HEVC's.
    width = (extra[4 if codec_name(codec) == "h264" else 21] & 3) + 1
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
