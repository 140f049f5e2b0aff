"""Speed of `corpora prepare` on two cores over its own speed on one, start of processes included.

Simulated clips in CASME II's layout. Every run is that of a user: in a process of its own, with an
empty cache, one after the other; one worker stays in the process that was asked. What the two
caches hold must be the same.

    python eval/speed/prepare.py [--clips 96] [--runs 3] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.reading import Reading
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data.prepared import open_prepared, prepare
from deft_llm.metrics.figures import Figure, report

NAME = "casme2"


def seconds_afresh(reading: Reading, cache: Path, workers: int) -> float:
    """:func:`seconds` in a process of its own, which has loaded nothing yet."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(seconds, reading, cache, workers).result()


def seconds(reading: Reading, cache: Path, workers: int) -> float:
    """Wall time of one run into an empty cache."""
    start = time.perf_counter()
    rows = prepare(reading, cache, workers=workers)
    taken = time.perf_counter() - start
    assert not any(row.cached for row in rows), cache
    return taken


def main() -> int:
    """Measure in turn, print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_corpus(NAME, folder / NAME, subjects=args.clips // 4, clips=4, workers=2)
        reading = load_corpus(NAME, folder / NAME).read()
        taken: dict[int, list[float]] = {1: [], 2: []}
        for run in range(args.runs):
            for workers, times in taken.items():
                times.append(seconds_afresh(reading, folder / f"cache-{run}-{workers}", workers))
        one, two = (open_prepared(folder / f"cache-0-{w}" / f"{NAME}.jsonl") for w in (1, 2))
        same = np.array_equal(one.stack("flow"), two.stack("flow"))
    first, second = (statistics.median(times) for times in taken.values())
    figures = [
        Figure("prepare_clips_per_s_one_core", len(one) / first),
        Figure("prepare_clips_per_s_two_cores", len(two) / second),
        Figure("prepare_same_result", float(same), 1.0),
        Figure("prepare_two_cores_over_one", first / second, 1.7),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
