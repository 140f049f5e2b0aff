"""Smoothing of a trace as a random walk whose steps the events tell (a Kalman smoother).

An edge that travels twice as far makes twice as many events, so the variance of the eye's step in a
period grows with the square of their number: a fixation is averaged over its whole length, a
saccade hardly at all. Predictions far from the trace count less, as under a Huber loss. M2F's
variance of the trace itself (``median.py``) cannot tell a tracker's noise from motion; the number
of events can. The model is our own; its constants were chosen on simulated eyes of their own.

T samples. Variances are those of a prediction's noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.gaze import walk_kernels as kernels

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
STIFFNESS, CAUSAL_STIFFNESS = 300.0, 100.0
"""Variance of a prediction's noise over that of a quiet eye's step; less for a filter, which lags
behind an eye that drifts."""
_FEWEST = 20.0  # events a period that count as usual where there are fewer
_ROUNDS = 5  # of weighing the predictions anew


def usual_level(counts: Floats, causal: bool) -> Floats:
    """What the numbers usually are: their median, or at each sample the one so far, (T,)."""
    if causal:
        return np.asarray(kernels.running_level(counts, 0.0))
    return np.full(len(counts), np.median(counts[counts > 0]) if (counts > 0).any() else 0.0)


def step_variance(counts: Floats, usual: Floats, stiffness: float) -> Floats:
    """Variance of the step to each sample, (T,).

    Args:
        counts: (T,) events of the period before each sample.
        usual: (T,) from :func:`usual_level`.
        stiffness: See ``STIFFNESS``.
    """
    quiet = np.maximum(usual, _FEWEST)
    return np.asarray(np.maximum(counts / quiet, 1.0) ** 2 / stiffness)


def smoothed(xy: Floats, usable: Flags, variance: Floats) -> Floats:
    """The most likely trace, from all samples.

    Args:
        xy: (T, 2).
        usable: (T,) samples that count, at least one; the others are bridged.
        variance: (T,) from :func:`step_variance`.

    Returns:
        (T, 2).
    """
    safe = np.where(usable[:, None], xy, 0.0)
    found = np.empty_like(safe)
    weights = usable.astype(np.float64)
    for _ in range(_ROUNDS):
        kernels.solve(safe, weights, 1 / variance, found)
        far = np.hypot(*(safe - found).T)
        weights = usable / np.maximum(1.0, kernels.excess(far, float(np.median(far[usable]))))
    return found


def followed(xy: Floats, usable: Flags, variance: Floats, ahead: int) -> Floats:
    """The most likely place at each sample, from those up to ``ahead`` samples later.

    Args:
        xy: (T, 2).
        usable: (T,) samples that count.
        variance: (T,) from :func:`step_variance`.
        ahead: Samples that may be looked ahead.

    Returns:
        (T, 2); NaN before the first usable sample.
    """
    return np.asarray(Follower().take(xy, usable, variance).places(variance, ahead))


class Follower:
    """:func:`followed`, sample by sample: takes some, remembers what it believes after each.

    Attributes:
        means: (N, 2) place after each of the samples taken last; NaN before the first usable one.
        spreads: (N,) its variance.
    """

    def __init__(self) -> None:
        self.means, self.spreads = np.zeros((0, 2)), np.zeros(0)
        self._state = np.zeros(5)

    def take(self, xy: Floats, usable: Flags, variance: Floats) -> Follower:
        """Take samples, shapes as for :func:`followed`; returns itself."""
        self.means, self.spreads = np.empty((len(xy), 2)), np.empty(len(xy))
        kernels.follow(np.nan_to_num(xy), usable, variance, self._state, self.means, self.spreads)
        return self

    def places(self, variance: Floats, ahead: int) -> Floats:
        """Places (N, 2) of the samples taken last, each from those up to ``ahead`` later."""
        return np.asarray(kernels.look_back(self.means, self.spreads, variance, ahead))


def held(xy: Floats, usable: Flags) -> Floats:
    """The trace with the last usable sample in the place of the others; NaN before the first."""
    out = np.empty_like(xy)
    kernels.hold(xy, usable, out)
    return out


def bridged(xy: Floats, usable: Flags) -> Floats:
    """The trace with straight lines across the samples that are not usable."""
    if not usable.any() or usable.all():
        return xy
    at, known = np.arange(len(xy)), np.flatnonzero(usable)
    return np.stack([np.interp(at, known, xy[known, axis]) for axis in (0, 1)], axis=1)
