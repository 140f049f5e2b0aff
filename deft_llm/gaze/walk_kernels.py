"""The inner loops of ``walk``, compiled by numba."""

# mypy: disable-error-code=no-untyped-def

from __future__ import annotations

import numpy as np

from deft_llm.compiled import compiled

_RATE = 0.03  # of a running level, how far it follows a sample
_LINEAR = 1.5  # noises from the trace, from which a prediction counts less
_MEDIAN = 1.177  # median length of a vector whose components have a variance of 1
_NOTHING = 1e-9


@compiled(nogil=True)
def running_level(values, level):
    """Median of the values so far, approximately, at each sample; ``level`` 0 starts at the first.

    It moves by a constant factor towards every sample, so a burst hardly changes it.
    """
    out = np.empty(values.shape[0])
    for i in range(values.shape[0]):
        level = _moved(level, values[i])
        out[i] = level
    return out


@compiled(inline="always")
def _moved(level, value):
    if value <= 0:
        return level
    if level == 0:
        level = value
    return level * (1 + _RATE) if value > level else level / (1 + _RATE)


@compiled(nogil=True)
def excess(far, usual):
    """Distances over the one from which a prediction counts less; ``usual`` is their median."""
    return far / (_LINEAR * (usual / _MEDIAN + _NOTHING))


@compiled(nogil=True)
def solve(xy, weights, stiffness, out):
    """Minimise the sum of weights (out - xy)^2 and of stiffness (out[i] - out[i - 1])^2.

    Args:
        xy: (T, 2).
        weights: (T,).
        stiffness: (T,) of the link to the sample before; the first is not read.
        out: (T, 2), to be filled.
    """
    count = xy.shape[0]
    ahead = np.empty(count)
    before = 0.0
    for i in range(count):  # the tridiagonal system, from the first row down
        later = stiffness[i + 1] if i + 1 < count else 0.0
        total = weights[i] + before + later + _NOTHING
        if i > 0:
            total -= before * ahead[i - 1]
        ahead[i] = later / total
        for axis in range(2):
            right = weights[i] * xy[i, axis]
            if i > 0:
                right += before * out[i - 1, axis]
            out[i, axis] = right / total
        before = later
    for i in range(count - 2, -1, -1):
        for axis in range(2):
            out[i, axis] += ahead[i] * out[i + 1, axis]


@compiled(nogil=True)
def follow(xy, usable, variance, state, means, spreads):
    """A Kalman filter, whose state goes on from call to call.

    Args:
        xy: (T, 2).
        usable: (T,) samples that count.
        variance: (T,) of the step to each sample.
        state: (5,) place, its variance, usual distance of a prediction, and whether there was one.
        means: (T, 2), to be filled; NaN before the first usable sample.
        spreads: (T,), to be filled.
    """
    x, y, spread, usual, begun = state
    for i in range(xy.shape[0]):
        spread += variance[i]
        if usable[i] and begun == 0:
            x, y, spread, begun = xy[i, 0], xy[i, 1], 1.0, 1.0
        elif usable[i]:
            right, down = xy[i, 0] - x, xy[i, 1] - y
            # In units of what is to be expected, after a saccade too.
            far = np.sqrt((right * right + down * down) / (1 + spread))
            usual = _moved(usual, far)
            gain = spread / (spread + max(1.0, excess(far, usual)))
            x, y, spread = x + gain * right, y + gain * down, spread * (1 - gain)
        means[i, 0] = x if begun else np.nan
        means[i, 1] = y if begun else np.nan
        spreads[i] = spread
    state[0], state[1], state[2], state[3], state[4] = x, y, spread, usual, begun


@compiled(nogil=True)
def look_back(means, spreads, variance, ahead):
    """What the filter believes of each sample a little later (Rauch, Tung and Striebel), (T, 2)."""
    count = means.shape[0]
    out = np.empty((count, 2))
    for i in range(count):
        last = min(i + ahead, count - 1)
        x, y = means[last]
        for k in range(last - 1, i - 1, -1):
            share = spreads[k] / (spreads[k] + variance[k + 1])
            x = means[k, 0] + share * (x - means[k, 0])
            y = means[k, 1] + share * (y - means[k, 1])
        out[i, 0], out[i, 1] = x, y
    return out


@compiled(nogil=True)
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
