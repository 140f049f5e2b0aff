"""Pairs of frames at rest, which noise floors are taken from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.motion.noise import MAX_PAIRS, rest_pairs


def plainly(interval: Interval, present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The same from a list of all pairs."""
    gap = max(interval.apex - interval.onset, 1)
    rest = [t for t in np.flatnonzero(present).tolist() if t not in interval]
    pairs = [(i, j) for i in rest for j in rest if max(1, gap / 2) <= j - i <= 2 * gap]
    pairs.sort(key=lambda p: (abs(p[1] - p[0] - gap), p))
    pool = sorted(pairs[: 3 * MAX_PAIRS])
    picks = np.unique(np.linspace(0, len(pool) - 1, min(MAX_PAIRS, len(pool))).round())
    return [pool[int(k)] for k in picks] if pool else []


def test_pairs_are_those_of_a_list_of_all() -> None:
    rng = np.random.default_rng(0)
    for count in rng.integers(2, 60, 300).tolist():
        present = rng.random(count) < rng.choice([0.1, 0.5, 0.9, 1.0])
        interval = Interval(*sorted(rng.integers(0, count, 3).tolist()))
        assert rest_pairs(interval, present) == plainly(interval, present)


def test_a_long_clip_takes_no_longer() -> None:
    """A list of all pairs would hold ten thousand million."""
    found = rest_pairs(Interval(40, 60, 80), np.ones(100_000, bool))
    assert len(found) == MAX_PAIRS and all(j - i == 20 for i, j in found)
