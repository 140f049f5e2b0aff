"""The inner loops of ``steady``, compiled by numba."""

# mypy: disable-error-code=no-untyped-def

from __future__ import annotations

import numpy as np
from numba import njit

RATE = 0.03  # of a running level, how far it follows a sample
SURE = 2.0  # standard errors from which a slope counts


@njit(cache=True, nogil=True)
def running_level(values, level):
    """Median of the values so far, approximately, at each sample; ``level`` 0 starts at the first.

    It moves by a constant factor towards every sample, so a burst hardly changes it.
    """
    out = np.empty(values.shape[0])
    for i in range(values.shape[0]):
        value = values[i]
        if value > 0:
            if level == 0:
                level = value
            level *= 1 + RATE if value > level else 1 / (1 + RATE)
        out[i] = level
    return out


@njit(cache=True, nogil=True)
def hold(xy, usable, out):
    """Fill ``out`` with the last usable row of ``xy`` so far; NaN before the first."""
    last = -1
    for i in range(xy.shape[0]):
        if usable[i]:
            last = i
        if last >= 0:
            out[i] = xy[last]
        else:
            out[i] = np.nan


@njit(cache=True, nogil=True)
def windows(reach, moving, ahead, beside):
    """First and last sample of each window.

    Args:
        reach: (T,) samples that it may reach to a side.
        moving: (T,) samples in which the eye moves fast; a window ends before one.
        ahead: Samples that may be looked ahead.
        beside: Samples that a window reaches to a side while the eye moves fast.
    """
    count = reach.shape[0]
    low, high = np.empty(count, np.int64), np.empty(count, np.int64)
    border = -1
    for i in range(count):
        if moving[i]:
            border = i
            low[i] = max(i - beside, 0)
        else:
            # What is not looked at ahead is looked at behind.
            lacking = max(reach[i] - ahead, 0)
            low[i] = max(i - reach[i] - lacking, border + 1, 0)
    border = count
    for i in range(count - 1, -1, -1):
        if moving[i]:
            border = i
            high[i] = min(i + min(beside, ahead), count - 1)
        else:
            high[i] = min(i + min(reach[i], ahead), border - 1, count - 1)
    return low, high


@njit(cache=True, nogil=True)
def _middle(kept, count):
    """Median of the first ``count`` values, which are reordered (Hoare's selection)."""
    k = (count - 1) // 2
    low, high = 0, count - 1
    while low < high:
        pivot = kept[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while kept[i] < pivot:
                i += 1
            while kept[j] > pivot:
                j -= 1
            if i <= j:
                kept[i], kept[j] = kept[j], kept[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    if count % 2:
        return kept[k]
    above = kept[k + 1]
    for i in range(k + 2, count):
        above = min(above, kept[i])
    return 0.5 * (kept[k] + above)


@njit(cache=True, nogil=True)
def line_medians(values, usable, low, high, first=0):
    """Median of each window, moved along the window's slope to the sample itself.

    Args:
        values: (T,).
        usable: (T,) samples that count.
        low: First sample of each window.
        high: Last sample of each, included.
        first: Number of the sample of the first window.

    Returns:
        One for each window; NaN where no sample of the window counts.
    """
    out = np.empty(low.shape[0])
    longest = (high - low).max() + 1 if low.shape[0] else 1
    kept, half = np.empty(longest), np.empty(longest)
    for i in range(low.shape[0]):
        count, place = 0, 0.0
        for k in range(low[i], high[i] + 1):
            if usable[k]:
                kept[count] = values[k]
                place += k
                count += 1
        if count == 0:
            out[i] = np.nan
            continue
        lean = first + i - place / count  # samples from the window's centre to this one
        part = count // 2
        moved = 0.0
        if abs(lean) >= 0.75 and part >= 3:
            for k in range(part):
                half[k] = kept[k]
            early = _middle(half, part)
            for k in range(part):
                half[k] = kept[count - part + k]
            late = _middle(half, part)
            slope = (late - early) / (count - part)
            # Noise about the line, from the median of the steps' lengths.
            for k in range(count - 1):
                half[k] = abs(kept[k + 1] - kept[k] - slope)
            noise = _middle(half, count - 1) / 0.954
            if abs(late - early) > SURE * noise * np.sqrt(2 * 1.57 / part):
                moved = slope * lean
        out[i] = _middle(kept, count) + moved
    return out
