"""``deft-llm spot`` on a long video, end to end: time and memory of a fresh process.

The video has 30 frames a second of 640x360 pixels: 20 seconds of a rendered face with all that
happens in long videos, to and fro until it is long enough, through H.264. It is searched without a
network, and by a trained spotter: the one in the package, or ``--spotter FOLDER``. Memory is the
most that the process held; measured at two lengths, it shows whether it grows.

    python eval/speed/spot.py [--minutes 10] [--spotter FOLDER] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.media.video import write_frames
from deft_llm.metrics.figures import Figure, report
from deft_llm.resources import EMBEDDED
from deft_llm.simulator.head import load_head
from deft_llm.simulator.long_videos import LongScene
from deft_llm.simulator.scene.video_drawing import draw_video

ROOT = Path(__file__).resolve().parents[2]
FPS, WIDTH, HEIGHT = 30, 640, 360
RENDERED = 20.0  # s
BACKDROP = 96  # grey level beside the rendered square


def rendered() -> list[NDArray[np.uint8]]:
    """A face that does all that happens in long videos, in the middle of a wide frame."""
    spec = draw_video(6_800_000, 910_000, RENDERED, size=HEIGHT)
    left = (WIDTH - HEIGHT) // 2
    frames = []
    for square in LongScene(spec, load_head(spec.rest.head)).frames():
        frame = np.full((HEIGHT, WIDTH, 3), BACKDROP, np.uint8)
        frame[:, left : left + HEIGHT] = square
        frames.append(frame)
    return frames


def write(path: Path, minutes: float, frames: list[NDArray[np.uint8]]) -> None:
    """A video of this length, without a cut where the frames turn round."""
    to_and_fro: Iterator[NDArray[np.uint8]] = cycle([*frames, *frames[-2:0:-1]])
    write_frames(path, islice(to_and_fro, round(60 * minutes * FPS)), FPS)


def search(video: Path, spotter: str, out: Path) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak memory (GB) of the command, imports counted."""
    command = [sys.executable, "-m", "deft_llm", "spot", video, "--out", out, "--spotter", spotter]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # As a user starts it: what limits threads here must not flatter the figure.
    environment.pop("OMP_NUM_THREADS", None)
    started = time.perf_counter()
    with subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told: list[str] = []
        # Read aside, so that a full pipe does not stop the process.
        reader = threading.Thread(target=lambda: told.extend(process.stderr or ()))
        reader.start()
        _, status, usage = os.wait4(process.pid, 0)
        reader.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"deft-llm spot: exit status {process.returncode}: {''.join(told[-3:])}")
    busy = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - started, busy, usage.ru_maxrss / 1e6


def figures_of(name: str, spotter: str, videos: dict[float, Path], out: Path) -> list[Figure]:
    """Figures of one finder; the last video is the longest."""
    measured = {minutes: search(path, spotter, out / name) for minutes, path in videos.items()}
    shortest, longest = min(videos), max(videos)
    seconds, busy, memory = measured[longest]
    return [
        Figure(f"{name}_seconds_a_minute", seconds / longest, 60.0, above=False),
        Figure(f"{name}_cpu_seconds_a_minute", busy / longest),
        Figure(f"{name}_peak_gb", memory, 3.0, above=False),
        Figure(f"{name}_peak_growth_gb", memory - measured[shortest][2]),
    ]


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--spotter", default=EMBEDDED)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = rendered()
        videos = {m: folder / f"long_{m:g}.mp4" for m in (args.minutes / 5, args.minutes)}
        for minutes, path in videos.items():
            write(path, minutes, frames)
        del frames
        figures = [Figure("spot_minutes", args.minutes)]
        figures += figures_of("returning", "returning", videos, folder)
        figures += figures_of("trained", args.spotter, videos, folder)
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
