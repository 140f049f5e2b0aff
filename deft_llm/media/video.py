"""Read and write clips: video files, folders of frames, arrays.

`read_clip` reads a video file or a folder of frames and returns a `Clip` with the container's true
timestamps, for constant and variable frame rates.

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
import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.files import replacing
from deft_llm.media import backends
from deft_llm.media import frames as folders
from deft_llm.media.selection import Decoded, Selection

logger = logging.getLogger(__name__)

DEFAULT_BACKEND = "pyav"
#: Longer sides are scaled down on read: enough for a face, and 3 MB a frame, where 4K takes 25.
FACE_MAX_SIDE = 1280
#: Rate of a folder of frames when nobody states it (CASME II, SAMM).
FOLDER_FPS = 200.0
#: OpenCV's feature number for AVX-512F, which it does not name; AVX-512 implies AVX2.
_CPU_AVX512 = 13


@dataclass(frozen=True)
class VideoInfo:
    """Contents of a video or folder, found without decoding it.

    Attributes:
        frames: Number of frames that a player shows.
        width: Pixels as stored, before any rotation in the container's metadata.
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
    def variable_rate(self) -> bool:
        """Whether a time step differs from the median by more than both 2 ms and 10 %."""
        # Containers round times, often to milliseconds; that is not a variable rate.
        steps = np.diff(self.timestamps)
        if len(steps) < 2:
            return False
        median = float(np.median(steps))
        return bool(np.max(np.abs(steps - median)) > max(0.002, 0.1 * median))


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected a video or a folder of frames")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; expected a video")
    return path


def probe(path: Path | str, *, fps: float | None = None) -> VideoInfo:
    """Size, frame count and timestamps of a video or folder, without decoding the frames.

    Raises:
        UserError: If there is nothing readable at `path`.
    """
    path = _existing(path)
    if path.is_dir():
        files = folders.list_frames(path)
        height, width = folders.read_image(files[0]).shape[:2]
        times = np.arange(len(files)) / (fps or FOLDER_FPS)
        return VideoInfo(len(files), width, height, times, files[0].suffix[1:].lower())
    with backends.open_container(path, str(path)) as container:
        stream = container.streams.video[0]
        table = backends.scan_packets(container, stream)
        times = np.asarray((table.pts - table.pts[:1]) * float(stream.time_base), np.float64)
        if not len(times):
            # A container without timestamps (raw streams): assume its average rate, else 25 fps.
            times = np.arange(table.packets) / float(stream.average_rate or 25)
        context = stream.codec_context
        return VideoInfo(len(times), context.width, context.height, times, context.name)


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
    """Read a video file or a folder of frames.

    Args:
        path: A video file, or a folder with one image per frame, in natural order (2 before 10).
        start: First frame, 0-based.
        stop: One past the last frame; None for the end.
        stride: Keep every `stride`-th frame of the range.
        backend: "pyav", "opencv", "decord", or "auto" for the measured default.
        max_side: Frames whose longer side exceeds this many pixels are scaled down; None: never.
        fps: Frames per second of a folder of frames (default 200); videos use their own times.

    Returns:
        Frames uint8 RGB (T, H, W, 3) and their times in seconds from the first frame of the video.

    Raises:
        UserError: If nothing can be read, the range is empty, or the frames need too much memory.
    """
    path = _existing(path)
    if start < 0 or stride < 1 or (stop is not None and stop <= start):
        raise UserError(
            f"{path}: range start {start}, stop {stop}, stride {stride}; expected "
            "0 <= start < stop and stride >= 1"
        )
    selection = Selection(start, stop, stride, max_side)
    if path.is_dir():
        decoded = folders.read_folder(path, selection, fps or FOLDER_FPS)
        if fps is None:
            logger.warning("%s: images carry no time; taking %g fps", path, FOLDER_FPS)
    else:
        reader = backends.get_backend(DEFAULT_BACKEND if backend == "auto" else backend)
        decoded = reader(path, str(path), selection)
    return _to_clip(decoded, path.stem if path.is_file() else path.name, str(path), path, selection)


def decode_bytes(data: bytes, name: str, *, max_side: int | None = None) -> Clip:
    """Decode a whole video held in memory.

    Raises:
        UserError: If no frame can be decoded.
    """
    if not data:
        raise UserError(f"{name}: no data; expected a video")
    selection = Selection(max_side=max_side)
    return _to_clip(backends.read_pyav(data, name, selection), name, name, None, selection)


def _to_clip(
    decoded: Decoded, name: str, label: str, source: Path | None, selection: Selection
) -> Clip:
    """Check a backend's result, log lost or scaled frames, and make the clip."""
    if not decoded.frames:
        # A range past the end is the user's mistake; no frame at all is a broken file.
        if 0 < decoded.available <= selection.start:
            raise UserError(
                f"{label}: no frame in the range from {selection.start}; the clip has "
                f"{decoded.available} frames, numbered from 0"
            )
        reason = f" ({decoded.problem})" if decoded.problem else ""
        raise UserError(f"{label}: no frame can be decoded{reason}; the file is cut or damaged")
    if decoded.problem:
        logger.warning(
            "%s: damaged or cut: %s; going on with the %d frames that decode",
            label,
            decoded.problem,
            len(decoded.frames),
        )
    height, width = decoded.original_size
    if selection.size(height, width) != (height, width):
        kept = decoded.frames[0].shape
        logger.info("%s: %dx%d scaled to %dx%d", label, width, height, kept[1], kept[0])
    sizes = {f.shape for f in decoded.frames}
    if len(sizes) > 1:
        raise UserError(f"{label}: the frame size changes inside the video; expected one size")
    times = _increasing(np.asarray(decoded.seconds, np.float64), label)
    return Clip(name, np.stack(decoded.frames), times, source)


def _increasing(times: NDArray[np.float64], label: str) -> NDArray[np.float64]:
    """Times unchanged if they increase, else evenly spaced by the median positive step."""
    steps = np.diff(times)
    if np.all(steps > 0):
        return times
    good = steps[steps > 0]
    step = float(np.median(good)) if len(good) else 1 / 25
    logger.warning("%s: timestamps do not increase; taking %.1f fps throughout", label, 1 / step)
    return np.asarray(times[0] + np.arange(len(times)) * step, np.float64)


def clip_from_array(frames: NDArray[np.generic], fps: float, name: str) -> Clip:
    """Make a clip from an array.

    Args:
        frames: (T, H, W), (T, H, W, 1), (T, H, W, 3) or (T, H, W, 4), uint8 or uint16.
        fps: Frames per second.
        name: Name of the clip.

    Raises:
        UserError: If shape or depth is not one of these, or `fps` is not above zero.
    """
    if fps <= 0 or frames.ndim not in (3, 4) or not len(frames):
        raise UserError(
            f"{name}: array {frames.shape} at {fps} fps; expected (T, H, W[, channels]) with "
            "T >= 1 and fps > 0"
        )
    rgb = np.stack([folders.to_rgb8(f, name) for f in frames])
    return Clip(name, rgb, np.arange(len(rgb)) / fps)


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
    _check_writable(frames, fps, crf)
    if not isinstance(target, (str, Path)):
        _encode(target, "mp4", frames, fps, crf)
        return
    path = Path(target)
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


def _check_writable(frames: NDArray[np.uint8], fps: float, crf: int) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UserError(
            f"cannot write frames {frames.dtype} {frames.shape}; expected uint8 RGB (T, H, W, 3)"
        )
    if fps <= 0 or not 0 <= crf <= 51:
        raise UserError(f"cannot write at {fps} fps, crf {crf}; expected fps > 0, crf 0 to 51")


def _encode(target: Any, kind: str, frames: NDArray[np.uint8], fps: float, crf: int) -> None:
    """Encode into an open, seekable binary file."""
    # Fraction(29.97) has a denominator near 2^45; FFmpeg stores rates as 32-bit integers.
    rate = Fraction(fps).limit_denominator(10_000)
    pad_h, pad_w = frames.shape[1] % 2, frames.shape[2] % 2
    with av.open(target, mode="w", format=kind) as container:
        # One thread: x264's output depends on the number of threads.
        options = {"crf": str(crf), "threads": "1"}
        if cv2.checkHardwareSupport(_CPU_AVX512):
            # x264 build 165: the AVX-512 code of "mbtree" reads stray memory, so the bytes vary.
            options["x264-params"] = "asm=AVX2"
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = frames.shape[1] + pad_h, frames.shape[2] + pad_w
        for index, frame in enumerate(frames):
            even = np.pad(frame, ((0, pad_h), (0, pad_w), (0, 0)), "edge")
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())  # flush: x264 holds frames back for look-ahead
