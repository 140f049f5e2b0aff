"""Read and write clips: video files, folders of frames, animations, arrays.

`read_clip` reads a video file, a folder of frames, an animated GIF, PNG or WebP, or a TIFF stack,
and returns a `Clip` with the file's true timestamps, for constant and variable frame rates.
`windows.read_windows` does the same for videos that do not fit in memory, part by part.

The default backend is PyAV. `eval/speed/video.py` measured (two cores, 640x360 H.264, 400 frames;
frame counts and times over two generated files and six real ones):

==========  ==============  =================  ==========================
backend     frames per s    20 late frames     frame counts, times right
==========  ==============  =================  ==========================
PyAV        981             26 ms              8 of 8, exact
decord      666             47 ms              8 of 8, single precision
OpenCV      298             134 ms             8 of 8, exact
==========  ==============  =================  ==========================
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.files import replacing
from deft_llm.media import animations, backends, pyav
from deft_llm.media import frames as folders
from deft_llm.media.collecting import FrameBuffer, frame_times, no_frames
from deft_llm.media.depth import to_rgb8, used_depth
from deft_llm.media.pictures import kind_of
from deft_llm.media.selection import Frame, Notes, Selection

DEFAULT_BACKEND = "pyav"
#: Longer sides are scaled down on read: enough for a face, and 3 MB a frame, where 4K takes 25.
FACE_MAX_SIDE = 1280
#: Rate of a folder of frames when nobody states it (CASME II, SAMM).
FOLDER_FPS = 200.0
#: Largest denominator of the frame rate of a file that is written.
_FINEST = 10_000
#: OpenCV's feature number for AVX-512F, which it does not name; AVX-512 implies AVX2.
_CPU_AVX512 = 13


@dataclass(frozen=True)
class VideoInfo:
    """Contents of a video or folder.

    Attributes:
        frames: Number of frames that a player shows.
        width: Pixels as shown: upright, with square pixels.
        height: The same.
        timestamps: Seconds from the first frame, (frames,).
        codec: Name of the codec, or of the image format.
    """

    frames: int
    width: int
    height: int
    timestamps: NDArray[np.float64]
    codec: str

    @property
    def fps(self) -> float:
        """Frames per second from the median time step; 0 for a single frame."""
        return float(1 / np.median(np.diff(self.timestamps))) if self.frames > 1 else 0.0

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last one, as of a clip."""
        if self.frames < 2:
            return 0.0
        return float(self.timestamps[-1] - self.timestamps[0]) + 1 / self.fps

    @property
    def variable_rate(self) -> bool:
        """Whether a time step differs from the median by more than both 2 ms and 10 %."""
        # Containers round times, often to milliseconds; that is not a variable rate.
        steps = np.diff(self.timestamps)
        if len(steps) < 2:
            return False
        median = float(np.median(steps))
        return bool(np.max(np.abs(steps - median)) > max(0.002, 0.1 * median))

    def part(self, start: int, stop: int | None, stride: int) -> VideoInfo:
        """What a selection of its frames leaves; see ``read_clip``."""
        times = self.timestamps[start:stop:stride]
        return replace(self, frames=len(times), timestamps=times)


def existing(path: Path | str) -> Path:
    """The path, if it can hold a video.

    Raises:
        UserError: If it is missing, empty, or neither a file nor a folder.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise UserError(
                f"{path}: no such file or folder; expected a video or a folder of frames"
            )
        if not path.is_file() and not path.is_dir():
            # A pipe or a device can be read once, if it ends at all.
            raise UserError(f"{path}: neither a file nor a folder; save the video in a file first")
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty; expected a video")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return path


def frames_of(
    path: Path, selection: Selection, notes: Notes, backend: str = "auto"
) -> Iterator[Frame]:
    """The selected frames of anything that can be read."""
    return _frames_of(path, _opened(path), selection, notes, backend)


def _opened(path: Path) -> folders.FrameFiles | Path:
    """The pictures of a folder, or the file to read: possibly a stack, alone in its folder."""
    if not path.is_dir():
        return path
    listed = folders.list_frames(path)
    return listed if len(listed.frames) > 1 else listed.frames[0]


def _frames_of(
    path: Path,
    opened: folders.FrameFiles | Path,
    selection: Selection,
    notes: Notes,
    backend: str = "auto",
) -> Iterator[Frame]:
    if isinstance(opened, folders.FrameFiles):
        notes.rate = FOLDER_FPS
        return folders.read_folder(path, opened, selection, notes)
    kind = kind_of(opened)
    if kind == "stack":
        notes.rate = FOLDER_FPS
        return animations.read_stack(opened, selection, notes)
    if kind == "animation":
        return animations.read_animation(opened, selection, notes)
    reader = backends.get_backend(DEFAULT_BACKEND if backend == "auto" else backend)
    return reader(opened, str(opened), selection, notes)


def probe(path: Path | str, *, fps: float | None = None) -> VideoInfo:
    """Size, frame count and timestamps of a video or folder.

    Containers that state them are not decoded for it; others are, since only a decoder knows.

    Raises:
        UserError: If there is nothing readable at `path`, or `fps` is no rate.
    """
    path, notes = existing(path), Notes()
    _check_rate(str(path), fps)
    opened = _opened(path)
    kind = kind_of(opened) if isinstance(opened, Path) else "folder"
    if isinstance(opened, Path) and kind is None:
        pyav.survey(opened, str(opened), notes)
    else:
        # The time of an animation's frame is the sum of the durations before it.
        selection = Selection(stop=None if kind == "animation" else 1)
        for _ in _frames_of(path, opened, selection, notes):
            pass
    if not notes.seconds:
        raise no_frames(str(path), notes)
    places = notes.placed(range(len(notes.seconds)))
    times, _ = frame_times(places, notes.seconds, fps, notes.rate)
    height, width = notes.original
    return VideoInfo(len(times), width, height, times, notes.codec)


def read_clip(
    path: Path | str,
    *,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    backend: str = "auto",
    max_side: int | None = FACE_MAX_SIDE,
    fps: float | None = None,
) -> Clip:
    """Read a video file, a folder of frames, an animation or a TIFF stack.

    Args:
        path: A file, or a folder with one image per frame, in natural order (2 before 10).
        start: First frame, 0-based.
        stop: One past the last frame; None for the end.
        stride: Keep every `stride`-th frame of the range.
        backend: "pyav", "opencv", "decord", or "auto" for the measured default.
        max_side: Frames whose longer side exceeds this many pixels are scaled down; None: never.
        fps: Frames per second, in place of the file's times; None for those. A folder of frames
            has none and is taken at 200.

    Returns:
        Frames uint8 RGB (T, H, W, 3) and their times in seconds from the first frame of the video.

    Raises:
        UserError: If nothing can be read, the range is empty, `max_side` or `fps` is out of range,
            or the frames need too much memory.
    """
    path = existing(path)
    _check_rate(str(path), fps)
    if max_side is not None and max_side < 1:
        raise UserError(f"{path}: max_side {max_side}; expected at least one pixel, or None")
    if start < 0 or stride < 1 or (stop is not None and stop <= start):
        raise UserError(
            f"{path}: range start {start}, stop {stop}, stride {stride}; expected "
            "0 <= start < stop and stride >= 1"
        )
    selection, notes = Selection(start, stop, stride, max_side), Notes()
    buffer = FrameBuffer(str(path), notes, selection)
    for frame in frames_of(path, selection, notes, backend):
        buffer.add(frame)
    return buffer.clip(name_of(path), path, fps, start)


def _check_rate(name: str, fps: float | None) -> None:
    # Written so that NaN fails too.
    if fps is not None and not 0 < fps < math.inf:
        raise UserError(f"{name}: {fps:g} frames per second; expected a rate above 0")


def name_of(path: Path) -> str:
    """The name of a clip read from a file or folder."""
    return path.stem if path.is_file() else path.resolve().name


def decode_bytes(data: bytes, name: str, *, max_side: int | None = None) -> Clip:
    """Decode a whole video held in memory.

    Raises:
        UserError: If no frame can be decoded.
    """
    if not data:
        raise UserError(f"{name}: no data; expected a video")
    notes, selection = Notes(), Selection(max_side=max_side)
    buffer = FrameBuffer(name, notes, selection)
    for frame in pyav.read_pyav(data, name, selection, notes):
        buffer.add(frame)
    return buffer.clip(name, None, None)


def clip_from_array(frames: NDArray[np.generic], fps: float, name: str) -> Clip:
    """Make a clip from an array.

    Args:
        frames: (T, H, W), (T, H, W, 1), (T, H, W, 3) or (T, H, W, 4), uint8 or uint16; of
            more than 8 bits, the range that they use becomes 8.
        fps: Frames per second.
        name: Name of the clip.

    Raises:
        UserError: If shape or depth is not one of these, or `fps` is no rate.
    """
    _check_rate(name, fps)
    if frames.ndim not in (3, 4) or not len(frames):
        raise UserError(f"{name}: array {frames.shape}; expected (T, H, W[, channels]) with T >= 1")
    depth = used_depth(frames, "frames")
    rgb = np.stack([to_rgb8(f, name, depth) for f in frames])
    remarks = (depth.remark,) if depth.remark else ()
    return Clip(name, rgb, np.arange(len(rgb)) / fps, remarks=remarks)


def write_video(
    target: Path | str | BinaryIO, frames: NDArray[np.uint8], fps: float, crf: int = 18
) -> None:
    """Write H.264, yuv420p, in an MP4.

    A file appears under its name only when it is complete. Odd sizes are padded by repeating the
    last row or column, because 4:2:0 needs even sizes. The same frames give the same bytes on any
    number of cores.

    Args:
        target: Path ending in .mp4, .mov or .mkv, or a seekable binary buffer (MP4).
        frames: uint8 RGB (T, H, W, 3).
        fps: Frames per second.
        crf: Constant rate factor of x264, 0 (best) to 51.

    Raises:
        UserError: If the frames have a wrong shape, or the file cannot be written.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UserError(
            f"cannot write frames {frames.dtype} {frames.shape}; expected uint8 RGB (T, H, W, 3)"
        )
    _check_coding(fps, crf)
    if not isinstance(target, (str, Path)):
        _encode(target, "mp4", frames, fps, crf)
        return
    write_frames(Path(target), frames, fps, crf)


def write_frames(
    path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int = 18
) -> None:
    """``write_video`` of a file from frames as they come: memory does not grow with the video.

    Args:
        path: As for ``write_video``.
        frames: uint8 RGB (H, W, 3), at least one, all of one size.
        fps: Frames per second.
        crf: Constant rate factor of x264, 0 (best) to 51.

    Raises:
        UserError: If there is no frame, `fps` or `crf` is out of range, or the file cannot be
            written.
    """
    _check_coding(fps, crf)
    kind = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: cannot write '{path.suffix}'; expected .mp4, .mov or .mkv")
    if not path.parent.is_dir():
        raise UserError(f"{path}: folder {path.parent} does not exist; make it first")
    try:
        with replacing(path) as partial, partial.open("w+b") as file:
            _encode(file, kind, frames, fps, crf)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def encode_h264(frames: NDArray[np.uint8], fps: float, crf: int = 18) -> bytes:
    """Encode frames (T, H, W, 3) to an H.264 MP4 in memory; see `write_video`."""
    buffer = io.BytesIO()
    write_video(buffer, frames, fps, crf)
    return buffer.getvalue()


def _check_coding(fps: float, crf: int) -> None:
    # A rate of less than half of 1 / _FINEST would be rounded to none.
    if not 1 / _FINEST <= fps < math.inf or not 0 <= crf <= 51:
        raise UserError(
            f"cannot write at {fps} fps, crf {crf}; expected {1 / _FINEST:g} fps or more, "
            "crf 0 to 51"
        )


def _encode(
    target: Any, kind: str, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int
) -> None:
    """Encode into an open, seekable binary file."""
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise UserError("no frames to write; expected at least one")
    # Fraction(29.97) has a denominator near 2^45; FFmpeg stores rates as 32-bit integers.
    rate = Fraction(fps).limit_denominator(_FINEST)
    pad_h, pad_w = first.shape[0] % 2, first.shape[1] % 2
    with av.open(target, mode="w", format=kind) as container:
        # One thread: x264's output depends on the number of threads.
        options = {"crf": str(crf), "threads": "1"}
        if cv2.checkHardwareSupport(_CPU_AVX512):
            # x264 build 165: the AVX-512 code of "mbtree" reads stray memory, so the bytes vary.
            options["x264-params"] = "asm=AVX2"
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = first.shape[0] + pad_h, first.shape[1] + pad_w
        for index, frame in enumerate(chain((first,), rest)):
            even = np.pad(frame, ((0, pad_h), (0, pad_w), (0, 0)), "edge")
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())  # flush: x264 holds frames back for look-ahead
