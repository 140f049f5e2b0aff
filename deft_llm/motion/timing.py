"""When each region rises: the order in which the parts of a face move.

A region's time is where its motion reaches half of what it has at the apex; on a noisy path, the
last crossing before the apex. The rule and its tolerance are our own choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.motion.region_paths import Trajectory

_HALF = 0.5
_FRAMES = 1.5  # two regions whose times differ by less move together
#: Canonical px that a region has to move for its time to be told.
TIMED_PX = 0.2


def half_rise(
    trajectory: Trajectory,
    interval: Interval,
    times: NDArray[np.float64],
    noise: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When each region is halfway between onset and apex, and how sure that is.

    Args:
        trajectory: Motion over the clip.
        interval: The movement.
        times: (T,) s.
        noise: (R,) noise floors, px.

    Returns:
        (R,) seconds and their tolerance; NaN for a region that moves less than ``TIMED_PX``.
    """
    rising = slice(interval.onset, interval.apex + 1)
    path = trajectory.regions[rising] - trajectory.regions[interval.onset]
    reach = path[-1]
    length = np.linalg.norm(reach, axis=1)
    # Progress along the final direction, 0 at the onset and 1 at the apex.
    # einsum pairs u and v: sum over c of path[t, r, c] reach[r, c].
    along = np.einsum("trc,rc->tr", path, reach) / np.maximum(length, 1e-6) ** 2
    clock, count = times[rising], len(path)
    found = np.full(len(length), np.nan)
    for r in np.flatnonzero(length >= TIMED_PX):
        below = np.flatnonzero(~(along[:, r] >= _HALF))  # NaN without a face
        last = int(below[-1]) if below.size else 0
        if last + 1 < count and np.isfinite(along[last : last + 2, r]).all():
            low, high = along[last, r], along[last + 1, r]
            part = (_HALF - low) / max(high - low, 1e-6)
            found[r] = clock[last] + part * (clock[last + 1] - clock[last])
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    rise = float(clock[-1] - clock[0])
    # Noise moves the crossing by noise over slope; the slope is about the reach over the rise.
    tolerance = np.maximum(_FRAMES * step, noise * rise / np.maximum(length, 1e-6))
    return found, np.where(np.isnan(found), np.nan, tolerance)
