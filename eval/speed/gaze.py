"""Refinement of gaze: an hour of events, a filter alone, and sample by sample.

The events are made up, 50 million in an hour, and lie in files that are mapped into memory, as
those of a recording that was read do. Memory is what the process holds itself, without the pages
of these files, which the system takes back whenever it needs them.

python eval/speed/gaze.py [--events 50] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.gaze import walk
from deft_llm.gaze.files import WEIGHTS
from deft_llm.gaze.median import motion_aware_median
from deft_llm.gaze.online import OnlineGaze
from deft_llm.gaze.refine import refine
from deft_llm.media.events import Events
from deft_llm.metrics.figures import Figure, Peak, milliseconds, report

PERIOD = 10_000  # µs
FILTERED = 100_000
STEPS = 2_000
_PART = 1_000_000


def gaze_of(count: int) -> NDArray[np.float64]:
    """Places that look at something new three times a second, with noise; cells."""
    rng = np.random.default_rng(0)
    looks = rng.uniform((25, 20), (55, 40), (count // 33 + 1, 2))
    return np.repeat(looks, 33, axis=0)[:count] + rng.normal(0, 1, (count, 2))


def write_events(folder: Path, count: int, span: int, places: NDArray[np.float64]) -> Events:
    """Events about the places, evenly over ``span`` µs, in files."""
    columns = [
        np.memmap(folder / name, kind, "w+", shape=(count,))
        for name, kind in (("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.uint8))
    ]
    rng = np.random.default_rng(1)
    for first in range(0, count, _PART):
        rows = np.arange(first, min(first + _PART, count))
        t = rows * span // count
        near = 8 * places[np.minimum(t // PERIOD, len(places) - 1)]
        x, y = np.clip(near + rng.normal(0, 40, near.shape), 0, (639, 479)).T
        for column, values in zip(columns, (t, x, y, rng.integers(0, 2, len(rows))), strict=True):
            column[rows[0] : rows[-1] + 1] = values
    return Events(*columns)


def own_memory() -> float:
    """What this process holds itself, GB; NaN but on Linux."""
    status = Path("/proc/self/status")
    found = status.is_file() and re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
    return int(found[1]) / 1e6 if found else float("nan")


def filters(places: NDArray[np.float64]) -> list[Figure]:
    """Seconds to filter, without any events."""
    usable = np.ones(len(places), bool)
    counts = np.random.default_rng(2).exponential(300, len(places))

    def ours() -> None:
        usual = walk.usual_level(counts, causal=False)
        variance = walk.step_variance(counts, usual, walk.STIFFNESS)
        walk.smoothed(places, usable, variance)

    return [
        Figure("gaze_filter_100k_s", milliseconds(ours, 5) / 1000, 0.1, above=False),
        Figure(
            "gaze_paper_filter_100k_s",
            milliseconds(lambda: motion_aware_median(8 * places), 5) / 1000,
            0.1,
            above=False,
        ),
    ]


def refinements(folder: Path, millions: float) -> list[Figure]:
    """Seconds for an hour of events, and how memory grows from ten minutes to it."""
    peaks = []
    for part in (1 / 6, 1.0):
        count, span = round(part * millions * 1e6), round(part * 3.6e9)
        places = gaze_of(span // PERIOD)
        times = np.arange(1, len(places) + 1) * PERIOD
        events = write_events(folder, count, span, places)
        with Peak(own_memory, 0.02) as memory:
            start = time.perf_counter()
            refine(events, places, times)
            taken = time.perf_counter() - start
        # Places, times and results are 200 bytes a prediction, and no matter of the events.
        peaks.append(memory.value - 200 * len(places) / 1e9)
    return [
        Figure("gaze_events_million", millions),
        Figure("gaze_refine_hour_s", taken, 5.0, above=False),
        Figure("gaze_hour_peak_gb", peaks[1]),
        Figure("gaze_hour_peak_growth_gb", peaks[1] - peaks[0], 0.2, above=False),
    ]


def online(folder: Path) -> list[Figure]:
    """Milliseconds of one step, with the predictions of another tracker and with the own one."""
    places = gaze_of(STEPS)
    events = write_events(folder, STEPS * 300, STEPS * PERIOD, places)
    figures = []
    for name, given in (("gaze_online_ms", True), ("gaze_online_tracker_ms", False)):
        if not given and not WEIGHTS.is_dir():
            print("no trained tracker: gaze_online_tracker_ms is left out", file=sys.stderr)
            continue
        gaze, taken = OnlineGaze(), []
        for i, place in enumerate(places):
            part = events.between(i * PERIOD + 1, (i + 1) * PERIOD + 1)
            start = time.perf_counter()
            gaze.step(part, (i + 1) * PERIOD, place if given else None)
            taken.append(1000 * (time.perf_counter() - start))
        figures.append(Figure(name, statistics.median(taken[100:]), 1.0, above=False))
    return figures


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=float, default=50.0, help="millions in the hour")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    # A second thread only waits in a network as small.
    torch.set_num_threads(1)
    figures = filters(gaze_of(FILTERED))
    with tempfile.TemporaryDirectory() as name:
        # Compiled before it is measured.
        few = gaze_of(500)
        times = np.arange(1, 501) * PERIOD
        refine(write_events(Path(name), 50_000, 500 * PERIOD, few), few, times)
        figures += refinements(Path(name), args.events)
        figures += online(Path(name))
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
