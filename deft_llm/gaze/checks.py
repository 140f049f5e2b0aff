"""Whether predictions, their times and the events belong together."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deft_llm.errors import UserError
from deft_llm.media.events import EventSource

logger = logging.getLogger(__name__)
Floats = NDArray[np.float64]
_OBLONG = 0.02  # relative difference of a cell's sides
_BEYOND = 0.25  # of the grid's size, how far outside of it a tracker may go astray


def period_of(times: NDArray[np.int64]) -> int:
    """Usual time between two samples, µs."""
    return int(np.median(np.diff(times))) if len(times) > 1 else 10_000


def check_cells(sensor: tuple[int, int], grid: tuple[int, int]) -> None:
    """Fail if the cells of a grid on a sensor are not square.

    Raises:
        UserError: If so; names a grid that fits.
    """
    across, down = (s / g for s, g in zip(sensor, grid, strict=True))
    if abs(across / down - 1) > _OBLONG:
        raise UserError(
            f"a grid of {grid[0]} x {grid[1]} on a sensor of {sensor[0]} x {sensor[1]} pixels has "
            f"cells of {across:.2f} x {down:.2f}; expected square ones, such as a grid of "
            f"{grid[0]}x{round(grid[0] * sensor[1] / sensor[0])}"
        )


def checked(
    predictions: ArrayLike, times: ArrayLike, grid: tuple[int, int]
) -> tuple[Floats, NDArray[np.int64]]:
    """Predictions (T, 2) and their times (T,), if they fit each other and the grid.

    Raises:
        UserError: If they do not, or the times do not increase.
    """
    raw, when = np.asarray(predictions, np.float64), np.asarray(times)
    if raw.ndim != 2 or raw.shape[1] != 2 or not len(raw):
        raise UserError(f"predictions of shape {raw.shape}; expected (T, 2) with T of 1 at least")
    if when.shape != (len(raw),):
        raise UserError(f"{len(raw)} predictions, times of shape {when.shape}; expected one each")
    if when.dtype.kind == "f" and not np.isfinite(when).all():
        raise UserError("times hold a value that is not a number; expected whole microseconds")
    when = np.rint(when).astype(np.int64)
    if (late := np.flatnonzero(np.diff(when) <= 0)).size:
        row = int(late[0]) + 1
        raise UserError(
            f"prediction {row} is of {when[row]} µs, not later than the one before "
            f"({when[row - 1]}); sort them, keep one of each time, and give whole microseconds"
        )
    finite = raw[np.isfinite(raw).all(axis=1)]
    size = np.array(grid)
    if not len(finite):
        raise UserError("no prediction is a number; expected cells of the grid")
    if (finite > (1 + _BEYOND) * size).any() or (finite < -_BEYOND * size).any():
        raise UserError(
            f"predictions from {finite.min(axis=0).round(1).tolist()} to "
            f"{finite.max(axis=0).round(1).tolist()} on a grid of {size[0]} x {size[1]}; give "
            "their grid (--grid 640x480 for pixels of the sensor)"
        )
    return raw, when


def same_time(source: EventSource, when: NDArray[np.int64]) -> None:
    """Warn if there are no events, or if predictions lie where there are none.

    Raises:
        UserError: If they are all of another time than the predictions.
    """
    if not len(source):
        logger.warning("there are no events: predictions are smoothed by their own course alone")
        return
    first, last = source.span
    if when[-1] < first or when[0] > last + 1_000_000:
        raise UserError(
            f"predictions of {when[0]} to {when[-1]} µs, events of {first} to {last} µs; expected "
            "the same clock, in microseconds"
        )
    # A period on either side: a prediction is of the time before it.
    period = period_of(when)
    beside = int(np.sum((when < first - period) | (when > last + period)))
    if beside:
        logger.warning(
            "%s of %s predictions are of times without events; check their clock and rate",
            f"{beside:,}",
            f"{len(when):,}",
        )
