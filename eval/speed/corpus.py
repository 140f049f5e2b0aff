"""A corpus of the size of CASME II measured from its folder, and found again in the cache.

255 clips of 26 subjects, of 60 to 100 frames at 200 a second, in CASME II's layout. A few are
simulated and used many times, each time with other pixels in a corner, so that the cache takes none
for another. Each run is a process of its own, as a user's; memory is that of the process and its
workers together, with the pages that they share (libraries) counted once, looked at four times a
second. It must not grow with the number of clips: a quarter of them is measured first.

    python eval/speed/corpus.py [--clips 255] [--workers 2] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from deft_llm.corpora import synthetic
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data.prepared import prepare
from deft_llm.metrics.figures import Figure, Peak, report
from deft_llm.simulator.scene.clips import ClipSpec, SimulatedClip, draw_spec, render_many

NAME, SUBJECTS, FACES = "casme2", 26, 6
FIRST_BAR, AGAIN_BAR, MEMORY_BAR, GROWTH_BAR = 360.0, 5.0, 1500.0, 1.15  # s, s, MB, ratio
_SHARE = 4  # of the clips: the small corpus has one in so many
LONGEST = 100  # frames
_FACES = 780_000  # number of the first face
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """One run over a corpus.

    Attributes:
        seconds: Wall time, reading of the sheet included.
        clips: Clips that were measured or found.
        cached: Those that were found.
        megabytes: Peak memory of the process and its workers.
    """

    seconds: float
    clips: int
    cached: int
    megabytes: float


class Faces:
    """Draws every clip from a few that are simulated, at the length that its recipe asks for."""

    def __init__(self) -> None:
        specs = [draw_spec(k, identity=_FACES + k, emotion="happiness") for k in range(FACES)]
        self.films = list(render_many(specs, _frames, workers=2))
        self.drawn = 0

    def __call__(self, spec: ClipSpec) -> Frames:
        """Frames of a recipe, marked with their number in the corner."""
        film = self.films[self.drawn % FACES]
        chosen = np.linspace(0, len(film) - 1, spec.curve.frames).round().astype(int)
        frames = film[chosen]
        frames[:, :8, :8] = self.drawn % 251
        frames[:, :8, 8:16] = self.drawn // 251
        self.drawn += 1
        return frames


def _frames(clip: SimulatedClip) -> Frames:
    return clip.clip.frames


def family_memory() -> float:
    """What this process and its children hold, MB."""
    own = psutil.Process()
    return sum(map(_proportional, [own, *own.children(recursive=True)])) / 2**20


def _proportional(process: psutil.Process) -> int:
    """Bytes of a process, each shared page divided by those who share it; 0 once it has ended."""
    try:
        info = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    # Only Linux knows shares; elsewhere shared pages count in each process.
    return int(getattr(info, "pss", info.rss))


def measured(folder: Path, cache: Path, workers: int) -> Run:
    """One run, as ``deft-llm eval`` begins."""
    with Peak(family_memory, 0.25) as memory:
        started = time.perf_counter()
        rows = prepare(load_corpus(NAME, folder).read(), cache, workers=workers)
        seconds = time.perf_counter() - started
    assert not any(row.problem for row in rows), folder
    return Run(seconds, len(rows), sum(row.cached for row in rows), memory.value)


def afresh(folder: Path, cache: Path, workers: int) -> Run:
    """:func:`measured` in a process of its own, which has loaded nothing yet."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(measured, folder, cache, workers).result()


def main() -> int:
    """Write the corpora, measure both, measure the large one again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=255)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    synthetic.LONGEST_CLIP = LONGEST
    with tempfile.TemporaryDirectory() as temporary:
        folder, draw = Path(temporary), Faces()
        each = -(-args.clips // SUBJECTS)
        whole, part = folder / "whole", folder / "part"
        written = write_corpus(NAME, whole, subjects=SUBJECTS, clips=each, renderer=draw)
        few = max(1, SUBJECTS // _SHARE)
        write_corpus(NAME, part, subjects=few, clips=each, seed=SUBJECTS, renderer=draw)
        small = afresh(part, folder / "cache-part", args.workers)
        first = afresh(whole, folder / "cache", args.workers)
        again = afresh(whole, folder / "cache", args.workers)
        lengths = [w.spec.curve.frames for w in written]
    assert not first.cached and again.cached == again.clips, (first, again)
    figures = [
        Figure("corpus_clips", first.clips),
        Figure("corpus_frames_a_clip", float(np.mean(lengths))),
        Figure("corpus_first_s", first.seconds * args.clips / first.clips, FIRST_BAR, False),
        Figure("corpus_again_s", again.seconds, AGAIN_BAR, False),
        Figure("corpus_peak_mb", first.megabytes, MEMORY_BAR, False),
        Figure("corpus_memory_growth", first.megabytes / small.megabytes, GROWTH_BAR, False),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
