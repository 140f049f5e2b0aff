"""Smoothing of a trace that stops where the eye moves: M2F's idea, made causal and event-aware.

A sample becomes the median of its neighbours, more of them where the trace varies little
(``median.window_lengths``, inverse), and none from the other side of a saccade, which the number
of events around the pupil tells. Where a window leans to the past, as in causal use, its median
would lag behind a moving eye; half of the window's difference to the other half corrects that, if
it stands out from the noise.

T samples.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deft_llm.gaze.median import Mode, evened, local_variance

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BURST = 4.0  # times the usual number of events from which the eye moves fast
FEWEST_EVENTS = 80  # in a burst
_RATE = 0.03  # of a running level, how far it follows a sample, logarithmic
_SURE = 2.0  # standard errors from which a slope counts


@njit(cache=True, nogil=True)
def running_level(values, level):  # type: ignore[no-untyped-def]
    """Median of the values so far, approximately, at each sample; ``level`` 0 starts at the first.

    It moves by a constant factor towards every sample, so a burst hardly changes it.
    """
    out = np.empty(values.shape[0])
    for i in range(values.shape[0]):
        value = values[i]
        if value > 0:
            if level == 0:
                level = value
            level *= 1 + _RATE if value > level else 1 / (1 + _RATE)
        out[i] = level
    return out


def usual_level(values: Floats, causal: bool) -> Floats:
    """What the values usually are: their median, or at each sample the one so far."""
    known = np.nan_to_num(values)
    if causal:
        return np.asarray(running_level(known, 0.0))
    return np.full(len(values), np.median(known[known > 0]) if (known > 0).any() else 0.0)


def fast_motion(counts: Floats, usual: Floats) -> Flags:
    """Samples in which the eye moves fast: many more events than usual.

    Args:
        counts: (T,) events of each period.
        usual: (T,) from :func:`usual_level`.
    """
    return np.asarray((counts > BURST * usual) & (counts >= FEWEST_EVENTS))


def wanted_lengths(variance: Floats, usual: Floats, longest: int) -> Floats:
    """Length of a window at each sample (T,): the longest over how much more it varies than usual.

    Args:
        variance: (T,) from ``median.local_variance``.
        usual: (T,) from :func:`usual_level`.
        longest: Samples.
    """
    return longest / np.maximum(variance / np.maximum(usual, 1e-9), 1.0)


def reaches(
    xy: Floats,
    usable: Flags,
    mode: Mode,
    limits: tuple[int, int],
    percentile: float,
    ahead: int | None,
) -> NDArray[np.int64]:
    """How many samples a window may reach to a side, (T,): half of a median's length.

    Args:
        xy: (T, 2).
        usable: (T,) samples that count.
        mode: Of the local variance.
        limits: Least and largest length of a window.
        percentile: Of the lengths near each sample.
        ahead: Samples that may be looked ahead; None for any number.
    """
    variance = local_variance(held(xy, usable), mode)
    wanted = wanted_lengths(variance, usual_level(variance, ahead is not None), limits[1])
    after = 2 if ahead is None else min(ahead, 2)
    return (evened(wanted, *limits, percentile, after=after) - 1) // 2


@njit(cache=True, nogil=True)
def _hold(xy, usable, out):  # type: ignore[no-untyped-def]
    last = -1
    for i in range(xy.shape[0]):
        if usable[i]:
            last = i
        if last >= 0:
            out[i] = xy[last]
        else:
            out[i] = np.nan


def held(xy: Floats, usable: Flags) -> Floats:
    """The trace with the last usable sample in the place of the others; NaN before the first."""
    out = np.empty_like(xy)
    _hold(xy, usable, out)
    return out


def bridged(xy: Floats, usable: Flags) -> Floats:
    """The trace with straight lines across the samples that are not usable."""
    if not usable.any() or usable.all():
        return xy
    at, known = np.arange(len(xy)), np.flatnonzero(usable)
    return np.stack([np.interp(at, known, xy[known, axis]) for axis in (0, 1)], axis=1)


@njit(cache=True, nogil=True)
def windows(reach, moving, ahead, beside):  # type: ignore[no-untyped-def]
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
def _sort(kept, count):  # type: ignore[no-untyped-def]
    for i in range(1, count):
        value, k = kept[i], i
        while k > 0 and kept[k - 1] > value:
            kept[k] = kept[k - 1]
            k -= 1
        kept[k] = value


@njit(cache=True, nogil=True)
def _middle(kept, count):  # type: ignore[no-untyped-def]
    _sort(kept, count)
    return 0.5 * (kept[(count - 1) // 2] + kept[count // 2])


@njit(cache=True, nogil=True)
def line_medians(values, usable, low, high, first=0):  # type: ignore[no-untyped-def]
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
    kept, half = np.empty(1024), np.empty(1024)
    for i in range(low.shape[0]):
        count, total = 0, 0
        for k in range(low[i], high[i] + 1):
            if usable[k]:
                kept[count] = values[k]
                total += k
                count += 1
        if count == 0:
            out[i] = np.nan
            continue
        lean = first + i - total / count  # samples from the window's centre to this one
        part = count // 2
        if abs(lean) < 0.75 or part < 3:
            out[i] = _middle(kept, count)
            continue
        for k in range(part):
            half[k] = kept[k]
        early = _middle(half, part)
        for k in range(part):
            half[k] = kept[count - part + k]
        late = _middle(half, part)
        apart = count - part  # samples between the centres of the halves
        slope = (late - early) / apart
        # Noise about the line, from the median of the steps' lengths.
        for k in range(count - 1):
            half[k] = abs(kept[k + 1] - kept[k] - slope)
        noise = _middle(half, count - 1) / 0.954
        error = noise * np.sqrt(2 * 1.57 / part)
        middle = _middle(kept, count)
        out[i] = middle + (slope * lean if abs(late - early) > _SURE * error else 0.0)
    return out


def steadied(
    xy: Floats,
    usable: Flags,
    reach: NDArray[np.int64],
    moving: Flags,
    ahead: int | None,
    beside: int,
) -> Floats:
    """Smooth a trace.

    Args:
        xy: (T, 2).
        usable: (T,) samples that count.
        reach: (T,) from :func:`reaches`.
        moving: (T,) from :func:`fast_motion`.
        ahead: Samples that may be looked ahead; None for any number.
        beside: See :func:`windows`.

    Returns:
        (T, 2); NaN where nothing near counts.
    """
    most = len(xy) if ahead is None else ahead
    low, high = windows(reach, moving, most, beside)
    safe = np.nan_to_num(xy)
    return np.stack(
        [line_medians(np.ascontiguousarray(c), usable, low, high) for c in safe.T], axis=1
    )
