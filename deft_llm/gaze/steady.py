"""Smoothing of a trace that stops where the eye moves: M2F's idea, made causal and event-aware.

A sample becomes the median of its neighbours, more of them where the trace varies little
(``median.window_lengths``, inverse), and none from the other side of a saccade, which the number
of events tells. Where a window leans to the past, as in causal use, its median would lag behind a
moving eye; the slope between the window's halves corrects that, if it stands out from the noise.

T samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.gaze.median import Mode, evened, local_variance
from deft_llm.gaze.steady_kernels import hold, line_medians, running_level, windows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BURST = 4.0  # times the usual number of events from which the eye moves fast
FEWEST_EVENTS = 80  # in a burst
LAG = 10  # samples
# Length of a window: noise over what is wandered in a sample, times this; cells a sample at least.
USEFUL, LEAST_WANDER = 4.0, 0.05


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


def bend_and_drift(xy: Floats) -> tuple[Floats, Floats]:
    """Length of the second difference, and of the step over ``LAG`` samples, (T,) each."""
    bend, drift = np.full(len(xy), np.nan), np.full(len(xy), np.nan)
    if len(xy) > 2:
        bend[2:] = np.hypot(*np.diff(xy, 2, axis=0).T)
    if len(xy) > LAG:
        drift[LAG:] = np.hypot(*(xy[LAG:] - xy[:-LAG]).T)
    return bend, drift


def noise_lengths(bend: Floats, drift: Floats) -> Floats:
    """Largest useful length of a window at each sample, (T,): noise over what the trace wanders.

    A tracker whose places hardly tremble, but wander, loses by a long window of the past.

    Args:
        bend: (T,) usual length of the second difference, which is noise for the most part.
        drift: (T,) usual step over ``LAG`` samples: noise, and what the eye or the tracker wanders.
    """
    # Medians of the lengths of Gaussian vectors, for an SD of 1 of either component.
    noise = bend / 2.884
    wander = np.sqrt(np.maximum((drift / 1.177) ** 2 - 2 * noise**2, 0.0) / LAG)
    return USEFUL * noise / np.maximum(wander, LEAST_WANDER)


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
    known, causal = held(xy, usable), ahead is not None
    variance = local_variance(known, mode)
    wanted = wanted_lengths(variance, usual_level(variance, causal), limits[1])
    if causal:
        usual = (usual_level(values, causal) for values in bend_and_drift(known))
        wanted = np.fmin(wanted, noise_lengths(*usual))
    after = 2 if ahead is None else min(ahead, 2)
    return (evened(wanted, *limits, percentile, after=after) - 1) // 2


def held(xy: Floats, usable: Flags) -> Floats:
    """The trace with the last usable sample in the place of the others; NaN before the first."""
    out = np.empty_like(xy)
    hold(xy, usable, out)
    return out


def bridged(xy: Floats, usable: Flags) -> Floats:
    """The trace with straight lines across the samples that are not usable."""
    if not usable.any() or usable.all():
        return xy
    at, known = np.arange(len(xy)), np.flatnonzero(usable)
    return np.stack([np.interp(at, known, xy[known, axis]) for axis in (0, 1)], axis=1)


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
