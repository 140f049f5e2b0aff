"""The inner loops of ``median``, compiled by numba."""

# mypy: disable-error-code=no-untyped-def

from __future__ import annotations

import numpy as np

from deft_llm.compiled import compiled


@compiled(nogil=True)
def covariances(xy, window, cross, out):
    """Fill the norm of the covariance of the last ``window`` samples in, from the first such.

    Args:
        xy: (T, 2).
        window: Samples.
        cross: How often the squared cross term counts: twice, or not at all.
        out: (T,); the first ``window - 1`` stay as they are.
    """
    for i in range(window - 1, xy.shape[0]):
        mean_x, mean_y = 0.0, 0.0
        for k in range(i - window + 1, i + 1):
            mean_x += xy[k, 0]
            mean_y += xy[k, 1]
        mean_x, mean_y = mean_x / window, mean_y / window
        xx, yy, both = 0.0, 0.0, 0.0
        for k in range(i - window + 1, i + 1):
            x, y = xy[k, 0] - mean_x, xy[k, 1] - mean_y
            xx, yy, both = xx + x * x, yy + y * y, both + x * y
        xx, yy, both = xx / (window - 1), yy / (window - 1), both / (window - 1)
        out[i] = np.sqrt(xx * xx + yy * yy + cross * (both * both))


@compiled(nogil=True)
def near_percentiles(values, percentile, reach):
    """Linear percentile of the values near each, cut off at the ends.

    Args:
        values: (T,).
        percentile: 0 to 100.
        reach: Samples that are looked at to either side.
    """
    out = np.empty(values.shape[0])
    kept = np.empty(2 * reach + 1)
    for i in range(values.shape[0]):
        count = 0
        for k in range(max(i - reach, 0), min(i + reach + 1, values.shape[0])):
            count = _insert(kept, count, values[k])
        at = percentile / 100 * (count - 1)
        low, high = int(np.floor(at)), int(np.ceil(at))
        out[i] = kept[low] + (at - low) * (kept[high] - kept[low])
    return out


@compiled(nogil=True)
def window_medians(values, low, high):
    """Medians of ``values[low[i] : high[i] + 1]``, by a window that is kept sorted.

    NaN counts for nothing; a window of nothing else has no median (NaN).
    """
    out = np.empty(low.shape[0])
    # A window is widened before it is cut at its other end.
    kept = np.empty(2 * (high - low).max() + 4 if low.shape[0] else 1)
    count, first, last = 0, 0, -1  # the window holds values[first : last + 1]
    for i in range(low.shape[0]):
        if low[i] > last or high[i] < first:  # no overlap: start again
            count, first, last = 0, low[i], low[i] - 1
        while last < high[i]:
            last += 1
            count = _insert(kept, count, values[last])
        while first > low[i]:
            first -= 1
            count = _insert(kept, count, values[first])
        while first < low[i]:
            count = _remove(kept, count, values[first])
            first += 1
        while last > high[i]:
            count = _remove(kept, count, values[last])
            last -= 1
        out[i] = 0.5 * (kept[(count - 1) // 2] + kept[count // 2]) if count > 0 else np.nan
    return out


@compiled(inline="always")
def _insert(kept, count, value):
    # NaN has no place in an order, and could not be found again.
    if np.isnan(value):
        return count
    k = count
    while k > 0 and kept[k - 1] > value:
        kept[k] = kept[k - 1]
        k -= 1
    kept[k] = value
    return count + 1


@compiled(inline="always")
def _remove(kept, count, value):
    if np.isnan(value):
        return count
    k = 0
    while kept[k] != value:
        k += 1
    for j in range(k, count - 1):
        kept[j] = kept[j + 1]
    return count - 1
