"""One rendered clip in many files: containers, orientations, depths. Frames and sides must survive.

The clip is a smile on the subject's left. Each frame carries its number as black and white blocks
along its upper border, so that a lost, doubled or mirrored frame is seen.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft_llm.data.measuring import measure_video
from deft_llm.errors import UserError
from deft_llm.media.options import ReadOptions
from deft_llm.media.video import read_clip
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.simulator.scene.clips import render_clip

Frames = NDArray[np.uint8]
_RATE, _BITS, _BLOCK = 50, 6, 16  # frames per second, digits of a number, px of a block
_H264 = ("libx264", {"crf": "14", "g": "10", "bf": "3"})
_MPEG2 = ("mpeg2video", {"b": "6000k", "g": "10", "bf": "2"})
# File name -> FFmpeg's container, encoder and its options.
CONTAINERS: dict[str, tuple[str, tuple[str, dict[str, str]]]] = {
    "a.mp4": ("mp4", _H264),
    "a.mov": ("mov", _H264),
    "a.mkv": ("matroska", _H264),
    "a.flv": ("flv", _H264),
    "a.avi": ("avi", ("mpeg4", {"b": "6000k", "g": "10"})),
    "a.mts": ("mpegts", _H264),
    "a.m2ts": ("mpegts", _MPEG2),
    "a.vob": ("vob", _MPEG2),
    "a.mpg": ("mpeg", _MPEG2),
    "a.h264": ("h264", _H264),
    "a.webm": ("webm", ("libvpx", {"b": "3000k", "g": "10"})),
    "a.mjpeg": ("mjpeg", ("mjpeg", {"qmin": "2", "qmax": "3"})),
}
# EXIF's orientation -> what a writer did to the upright picture before it set that tag.
_UNDO: dict[int, Callable[[Frames], Frames]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x, -1),
}
# The same eight as the matrix (a, b, c, d) in the track header of an MP4.
_MATRIX = {
    **{1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1)},
    **{5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0)},
}
DEPTHS = (8, 10, 12, 14, 16)
_EXIF_TAG = 0x0112


def one_sided_clip(seed: int, identity: int) -> Frames:
    """Numbered frames (T, H, W, 3) of a face that smiles on the subject's left."""
    spec = draw_spec(
        seed, identity, emotion="happiness", aus=("L6", "L12"), peak_px=2.5, fps=_RATE, blink=None
    )
    frames = render_clip(spec).clip.frames.copy()
    for number, frame in enumerate(frames):
        for bit in range(_BITS):
            value = 255 * (number >> bit & 1)
            frame[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = value
        # A white block at the end tells the left end from the right one.
        frame[:_BLOCK, _BITS * _BLOCK : (_BITS + 1) * _BLOCK] = 255
        frame[:_BLOCK, (_BITS + 1) * _BLOCK :] = 0
    return frames


def numbers(frames: Frames) -> list[int]:
    """The numbers that frames carry; -1 where the blocks are not where they were drawn."""
    found = []
    for frame in frames:
        centres = frame[_BLOCK // 2, _BLOCK // 2 : (_BITS + 2) * _BLOCK : _BLOCK].mean(-1) > 128
        marked = bool(centres[_BITS]) and not centres[_BITS + 1]
        found.append(sum(int(b) << i for i, b in enumerate(centres[:_BITS])) if marked else -1)
    return found


def files(folder: Path, frames: Frames) -> Iterator[tuple[str, str, Path]]:
    """Write the clip in every form.

    Yields:
        Kind (containers, orientations or depths), name, and where it is.
    """
    for name, (container, (codec, options)) in CONTAINERS.items():
        _film(folder / name, frames, container, codec, options)
        yield "containers", name, folder / name
    for tag, undo in _UNDO.items():
        turned = np.stack([undo(frame) for frame in frames])
        path = folder / f"turned-{tag}.mp4"
        _film(path, turned, "mp4", *_H264)
        _turn(path, _MATRIX[tag])
        yield "orientations", path.name, path
        for suffix in ("jpg", "png", "tiff", "webp"):
            pictures = folder / f"{suffix}-{tag}"
            _pictures(pictures, turned, suffix, tag)
            yield "orientations", pictures.name, pictures
    for bits in DEPTHS:
        for suffix in ("png", "tiff"):
            pictures = folder / f"{suffix}-{bits}-bit"
            _deep(pictures, frames, suffix, bits)
            yield "depths", pictures.name, pictures


def right(path: Path, frames: Frames) -> tuple[bool, bool]:
    """Whether a file gives every frame in order and upright, and the smile on its side."""
    try:
        read = numbers(read_clip(path, fps=_RATE).frames)
        _, measured = measure_video(path, ReadOptions(fps=_RATE))
    except UserError:
        return False, False
    table = measured.table_apex
    left, other = (REGION_NAMES.index(f"{side} mouth corner") for side in ("left", "right"))
    side = bool(table.active[left]) and table.magnitude[left] > 2 * table.magnitude[other]
    return read == list(range(len(frames))), bool(side)


def _film(path: Path, frames: Frames, container: str, codec: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=_RATE, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, _RATE)
            output.mux(stream.encode(picture))
        output.mux(stream.encode())


def _turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # of the matrix in a track header of version 0
    # Fractions of 16 bits; the last column has 30.
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def _pictures(folder: Path, frames: Frames, suffix: str, tag: int) -> None:
    folder.mkdir()
    exif = Image.Exif()
    exif[_EXIF_TAG] = tag
    quality: dict[str, Any] = {} if suffix in {"png", "tiff"} else {"quality": 95}
    for index, frame in enumerate(frames):
        picture = Image.fromarray(np.ascontiguousarray(frame))
        picture.save(folder / f"img{index}.{suffix}", exif=exif, **quality)


def _deep(folder: Path, frames: Frames, suffix: str, bits: int) -> None:
    folder.mkdir()
    for index, frame in enumerate(frames):
        top = 2**bits - 1
        # OpenCV writes blue, green, red.
        deep = np.rint(frame[..., ::-1] / 255.0 * top)
        cv2.imwrite(
            str(folder / f"img{index}.{suffix}"), deep.astype(np.uint8 if bits == 8 else np.uint16)
        )
