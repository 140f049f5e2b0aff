"""Saccades of a trace: by its velocity (Engbert and Kliegl, 2003).

A saccade is at least two samples faster than six times the spread of the velocity, which a median
tells, so that the saccades themselves do not count; its amplitude is our own least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.gaze.median import Floats
from deft_llm.runs import runs

_TIMES = 6.0
LEAST = 0.75
"""Least amplitude, cells of the grid: about a degree in the recordings of 3ET+."""
_MERGED = 2  # samples between two that count as one


def find_saccades(
    xy: Floats, times: NDArray[np.int64], skip: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """First and last sample of each saccade, (K, 2).

    Args:
        xy: (T, 2) cells, NaN where there is no place.
        times: (T,) µs.
        skip: (T,) samples that are none, such as those in a blink.
    """
    if len(xy) < 5:
        return np.zeros((0, 2), np.int64)
    seconds = times / 1e6
    velocity = np.stack([np.gradient(column, seconds) for column in xy.T], axis=1)
    # A causal trace has no place before the eye is seen first.
    kept = np.isfinite(velocity).all(axis=1)
    if skip is not None:
        kept &= ~skip
    if not kept.any():
        return np.zeros((0, 2), np.int64)
    middle = np.median(velocity[kept], axis=0)
    # Median of squares: the spread without the saccades.
    spread = np.sqrt(np.median((velocity[kept] - middle) ** 2, axis=0))
    # A trace that stands still most of the time has no spread at all.
    limit = np.maximum(_TIMES * spread, 5.0)
    fast = (((velocity - middle) / limit) ** 2).sum(axis=1) > 1
    fast &= kept
    found: list[list[int]] = []
    for first, stop in runs(fast).tolist():
        if found and first - found[-1][1] <= _MERGED:
            found[-1][1] = stop - 1
        else:
            found.append([first, stop - 1])
    rows = [
        (a, b)
        for a, b in found
        if b > a and np.hypot(*(xy[min(b + 1, len(xy) - 1)] - xy[max(a - 1, 0)])) >= LEAST
    ]
    return np.array(rows, np.int64).reshape(-1, 2)
