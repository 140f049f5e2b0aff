"""Which video backend: speed, frame count and timestamps of PyAV, OpenCV and decord.

Writes a constant-rate and a variable-rate clip whose frames and times are known, and reads them
with each backend, whole and in part; where the environment variable DEFT_DATA is set, the real
containers in it as well. `deft_llm.media.video.DEFAULT_BACKEND` rests on this.

    python eval/speed/video.py [--runs 5] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.backends import BACKENDS
from deft_llm.media.video import DEFAULT_BACKEND, read_clip
from deft_llm.metrics.figures import Figure, report

SIZE = (360, 640)
# frames that are shown; the header of no_face.mp4 says 98, of which an edit list hides three
REAL = {
    "single_face.mp4": 72,
    "no_face.mp4": 95,
    "face_noface.mov": 169,
    "format_FLV_H264_AAC.video": 180,
    "format_MKV_VP8_VORBIS.video": 180,
    "format_MP4_AVC720P_AAC.video": 180,
}


@dataclass(frozen=True)
class Sample:
    """A file, how many frames it shows, and their times in seconds where they are known."""

    path: Path
    frames: int
    times: NDArray[np.float64] | None = None


def generate(path: Path, ticks: NDArray[np.int64], per_second: int) -> Sample:
    """Write a moving pattern of which frame i is shown at ``ticks[i] / per_second`` seconds."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 255, (9, 40, 3)).astype(np.uint8), (1600, SIZE[0]))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=per_second, options={"crf": "18", "g": "50"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, per_second)
        for index, tick in enumerate(ticks):
            left = 2 * index % (1600 - SIZE[1])
            cut = np.ascontiguousarray(wide[:, left : left + SIZE[1]])
            picture = av.VideoFrame.from_ndarray(cut, format="rgb24")
            picture.pts, picture.time_base = int(tick), Fraction(1, per_second)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return Sample(path, len(ticks), ticks / per_second)


def samples(folder: Path) -> list[Sample]:
    """The generated files, and the real ones where they are."""
    steps = np.random.default_rng(1).choice([4, 5, 20, 33], 300)
    made = [
        generate(folder / "constant.mp4", np.arange(400), 200),
        generate(folder / "variable.mp4", np.cumsum(steps) - steps[0], 1000),
    ]
    data = os.environ.get("DEFT_DATA")
    real = [Sample(Path(data) / "video" / n, f) for n, f in REAL.items()] if data else []
    return made + real


def median_seconds(run: Callable[[], object], runs: int) -> float:
    """Median wall time of `run`."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def measure(backend: str, files: list[Sample], runs: int) -> dict[str, float]:
    """Correctness over all files, speed on the first."""
    right, worst = 0, 0.0
    for sample in files:
        clip = read_clip(sample.path, backend=backend)
        same = len(clip) == sample.frames
        right += same
        if sample.times is not None:
            error = np.abs(clip.timestamps - sample.times).max() if same else np.inf
            worst = max(worst, float(error))
    first = files[0]
    whole = median_seconds(lambda: read_clip(first.path, backend=backend), runs)
    late = 3 * first.frames // 4
    part = median_seconds(
        lambda: read_clip(first.path, start=late, stop=late + 20, backend=backend), runs
    )
    return {
        f"{backend}_frame_counts_right": right / len(files),
        f"{backend}_time_error_ms": 1000 * worst,
        f"{backend}_frames_per_s": first.frames / whole,
        f"{backend}_range_ms": 1000 * part,
    }


def bars(figures: dict[str, float]) -> dict[str, tuple[float, bool]]:
    """What the default has to reach, and whether that is a least value.

    Every frame and time right, and nearly as fast as the fastest.
    """
    best = max(value for name, value in figures.items() if name.endswith("_frames_per_s"))
    return {
        f"{DEFAULT_BACKEND}_frame_counts_right": (1.0, True),
        f"{DEFAULT_BACKEND}_time_error_ms": (0.01, False),
        f"{DEFAULT_BACKEND}_frames_per_s": (0.7 * best, True),
    }


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = samples(Path(folder))
        print(f"{len(files)} files, {os.cpu_count()} cores, {args.runs} runs", file=sys.stderr)
        for backend in BACKENDS:
            try:
                figures |= measure(backend, files, args.runs)
            except UserError as error:
                print(f"left out: {error}", file=sys.stderr)
    wanted = bars(figures)
    rows = [Figure(name, value, *wanted.get(name, ())) for name, value in figures.items()]
    return report(rows, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
