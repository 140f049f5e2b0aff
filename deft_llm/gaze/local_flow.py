"""Flow of the events around a point, and the small shift along it (OFE of EyeLoRiN, 2025).

How an eye moves within one period is read from the events in a square around the predicted pupil,
whose side depends on how far the prediction has jumped. Three estimators: "centroid" compares the
mean place of the later half of the events with that of the earlier half; "plane" fits the time of
the events as a plane over the picture; "telescoped" is the release's, last event minus first,
whatever lies between. The release turns the direction into whole numbers, so that it moves a point
only along an axis (``whole``).

N events, T predictions; all lengths are pixels of the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deft_llm.compiled import compiled
from deft_llm.media.events import Events

Floats = NDArray[np.float64]
Estimator = Literal["centroid", "plane", "telescoped"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
CELL = 8.0  # px of the sensor a cell of the grid, the paper's tau
HISTORY = 5  # samples whose mean says where the point was, the paper's c
_FAR = 2.0  # cells from there that count as a jump, gamma
FEWEST = 10  # events a px of a cell that have to be there
# Half sides of the square in cells: at the beginning, after a jump, usually.
START, JUMP, USUAL = 10.0, 15.0, 8.0
_PARTS = 4  # of a period, whose centroids show whether the motion is steady


@dataclass(frozen=True)
class LocalFlow:
    """Motion of the events around each point.

    Attributes:
        moved: (T, 2) displacement over the period, px; zero without enough events.
        count: (T,) events in the square.
        steadiness: (T,) 0 to 1: length of the sum of the centroid's steps over the sum of their
            lengths.
    """

    moved: Floats
    count: NDArray[np.int64]
    steadiness: Floats


def half_sides(points: Floats, cell: float = CELL) -> Floats:
    """Half of the square's side at each point.

    Args:
        points: (T, 2) px.
        cell: px a cell.
    """
    sides = np.full(len(points), USUAL)
    if len(points) > HISTORY:
        total = np.cumsum(np.vstack([np.zeros(2), points]), axis=0)
        mean = (total[HISTORY:-1] - total[: -HISTORY - 1]) / HISTORY
        far = (np.abs(points[HISTORY:] - mean) > _FAR * cell).any(axis=1)
        sides[HISTORY:][far] = JUMP
    sides[: HISTORY + 1] = START
    return sides * cell


def local_flow(
    events: Events,
    points: Floats,
    edges: NDArray[np.int64],
    estimator: Estimator = "centroid",
    cell: float = CELL,
    polarity: int = -1,
    both_ends: bool = False,
    sides: Floats | None = None,
) -> LocalFlow:
    """Measure the flow around every point.

    Args:
        events: The events.
        points: (T, 2) px.
        edges: (T + 1,) µs; point i looks at the events after ``edges[i]`` up to ``edges[i + 1]``.
        estimator: See the module.
        cell: px a cell.
        polarity: 0 or 1 takes events of that polarity alone, -1 all.
        both_ends: Count an event at an edge in both of its periods, as the release does.
        sides: (T,) half sides of the squares, px, of points that are a part of a longer trace;
            None takes :func:`half_sides` of these.
    """
    first = np.searchsorted(events.t, edges[:-1], "left" if both_ends else "right")
    stop = np.searchsorted(events.t, edges[1:], "right")
    out = np.zeros((len(points), 4))
    finite = np.nan_to_num(points, nan=-1e6)
    reach = half_sides(finite, cell) if sides is None else sides
    _flow(
        events.t, events.x, events.y, events.p, first, stop, edges, finite, reach,
        ESTIMATORS.index(estimator), polarity, out,
    )  # fmt: skip
    enough = out[:, 2] > FEWEST * cell
    return LocalFlow(out[:, :2] * enough[:, None], out[:, 2].astype(np.int64), out[:, 3])


@compiled(nogil=True)
def _flow(t, x, y, p, first, stop, edges, points, sides, estimator, polarity, out):  # type: ignore[no-untyped-def]
    sums = np.zeros((_PARTS, 3))
    for i in range(points.shape[0]):
        left, right = points[i, 0] - sides[i], points[i, 0] + sides[i]
        top, bottom = points[i, 1] - sides[i], points[i, 1] + sides[i]
        span = max(edges[i + 1] - edges[i], 1)
        sums[:] = 0.0
        n = 0
        x0, y0, x1, y1 = 0.0, 0.0, 0.0, 0.0
        sx = sy = st = sxx = syy = sxy = sxt = syt = 0.0
        for k in range(first[i], stop[i]):
            ex, ey = x[k], y[k]
            if ex < left or ex > right or ey < top or ey > bottom:
                continue
            if polarity >= 0 and p[k] != polarity:
                continue
            if n == 0:
                x0, y0 = ex, ey
            x1, y1 = ex, ey
            n += 1
            share = (t[k] - edges[i]) / span
            part = min(max(int(share * _PARTS), 0), _PARTS - 1)
            sums[part, 0] += 1.0
            sums[part, 1] += ex
            sums[part, 2] += ey
            if estimator == 1:
                # About the point, so that the squares stay small.
                dx, dy = ex - points[i, 0], ey - points[i, 1]
                sx, sy, st = sx + dx, sy + dy, st + share
                sxx, syy, sxy = sxx + dx * dx, syy + dy * dy, sxy + dx * dy
                sxt, syt = sxt + dx * share, syt + dy * share
        out[i, 2] = n
        if n < 2:
            continue
        out[i, 3] = _steadiness(sums)
        if estimator == 0:
            early, late = sums[0] + sums[1], sums[2] + sums[3]
            if early[0] > 0 and late[0] > 0:
                # The halves' means are half a period apart.
                out[i, 0] = 2.0 * (late[1] / late[0] - early[1] / early[0])
                out[i, 1] = 2.0 * (late[2] / late[0] - early[2] / early[0])
        elif estimator == 1:
            cxx, cyy = sxx - sx * sx / n, syy - sy * sy / n
            cxy = sxy - sx * sy / n
            cxt, cyt = sxt - sx * st / n, syt - sy * st / n
            det = cxx * cyy - cxy * cxy
            if det > 1e-9:
                a, b = (cyy * cxt - cxy * cyt) / det, (cxx * cyt - cxy * cxt) / det
                # The plane's slope is time a px; its inverse along the gradient is the motion.
                squared = a * a + b * b
                if squared > 1e-12:
                    out[i, 0], out[i, 1] = a / squared, b / squared
        else:
            out[i, 0], out[i, 1] = x1 - x0, y1 - y0


@compiled()
def _steadiness(sums):  # type: ignore[no-untyped-def]
    """From counts and sums of x and y in the parts of a period."""
    total_x, total_y, far = 0.0, 0.0, 0.0
    for k in range(_PARTS - 1):
        if sums[k, 0] > 0 and sums[k + 1, 0] > 0:
            dx = sums[k + 1, 1] / sums[k + 1, 0] - sums[k, 1] / sums[k, 0]
            dy = sums[k + 1, 2] / sums[k + 1, 0] - sums[k, 2] / sums[k, 0]
            total_x, total_y = total_x + dx, total_y + dy
            far += np.sqrt(dx * dx + dy * dy)
    return np.sqrt(total_x**2 + total_y**2) / far if far > 0 else 0.0


def shifts(
    flow: LocalFlow, step: float = 1.0, least_steadiness: float = 0.0, whole: bool = False
) -> Floats:
    """How far to move each point along the flow.

    Args:
        flow: From :func:`local_flow`.
        step: Largest shift, px; never more than the events themselves moved.
        least_steadiness: Points with a less steady flow stay.
        whole: Truncate the unit vector to whole numbers and take a step of one px, as released.

    Returns:
        (T, 2) px.
    """
    length = np.hypot(flow.moved[:, 0], flow.moved[:, 1])
    unit = flow.moved / np.maximum(length, 1e-12)[:, None]
    if whole:
        return np.trunc(unit) * (length > 0)[:, None]
    reach = np.minimum(step, length) * (flow.steadiness >= least_steadiness)
    return unit * reach[:, None]
