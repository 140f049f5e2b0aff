"""Small videos for the tests of the readers, in any container."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def moving(frames: int = 24, height: int = 48, width: int = 64) -> Frames:
    """A smooth pattern that slides, so that each frame differs from the others."""
    rng = np.random.default_rng(0)
    # skin-like: chroma is halved by 4:2:0, so strong colours would not come back
    coarse = (rng.integers(40, 180, (8, 16, 1)) + np.array([40, 20, 0])).astype(np.uint8)
    wide = cv2.resize(coarse, (width + 4 * frames, height), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, 4 * i : 4 * i + width] for i in range(frames)]).astype(np.uint8)


def add_track(
    container: Any, codec: str, options: dict[str, str], size: tuple[int, int], rate: int = 25
) -> Any:
    """A video track of (height, width)."""
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = size
    stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
    return stream


def encode(container: Any, stream: Any, frames: Frames, start: int = 0, rate: int = 25) -> None:
    """Encode and mux frames; the first one is shown at ``start / rate`` seconds."""
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = index + start, Fraction(1, rate)
        container.mux(stream.encode(picture))
    container.mux(stream.encode())


def write_film(
    path: Path,
    frames: Frames,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    form: str | None = None,
    start: int = 0,
    ratio: Fraction | None = None,
) -> Path:
    """Write a video of 25 frames per second.

    Args:
        path: The file.
        frames: uint8 RGB (T, H, W, 3).
        codec: FFmpeg's name of the encoder.
        options: Its options; by default B-frames and a key frame every eight.
        form: FFmpeg's name of the container, if the suffix does not say it.
        start: Frame number at which the first frame is shown; negative times stay negative.
        ratio: Width of a pixel over its height.
    """
    given = {"g": "8", "bf": "3", "crf": "12"} if options is None else options
    negative = {"avoid_negative_ts": "disabled"} if start < 0 else {}
    with av.open(str(path), "w", format=form, options=negative) as container:
        stream = add_track(container, codec, given, frames.shape[1:3])
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        encode(container, stream, frames, start)
    return path


def turn_film(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write the turn (a, b, c, d) into the track header of an MP4, as cameras do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def plain_decode(path: Path, track: int = 0) -> Frames:
    """All frames of a track, decoded one after the other."""
    with av.open(f"file:{path}") as container:
        stream: Any = container.streams[track]
        pictures = [
            np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(stream)
        ]
        return np.stack(pictures)
