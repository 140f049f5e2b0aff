"""Events of an event camera, sorted by time, and cheap access to any stretch of time.

N events. Times are whole microseconds; x and y are pixels of the sensor, from the upper left;
polarity is 1 where the light grew and 0 where it fell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deft_llm.errors import UserError

Times = NDArray[np.int64]
DVXPLORER = (640, 480)
"""Width and height of the sensor of 3ET+, px."""
_LARGEST = np.iinfo(np.int16).max


@runtime_checkable
class EventSource(Protocol):
    """Anything that gives the events between two times; a file need not be read whole."""

    @property
    def span(self) -> tuple[int, int]:
        """Times of the first and of the last event, µs."""

    def __len__(self) -> int: ...

    def between(self, start: int, stop: int) -> Events:
        """The events with ``start <= t < stop``, in O(log N) and their number."""


@dataclass(frozen=True)
class Events:
    """Events in memory, or in arrays that are mapped from disk.

    Attributes:
        t: (N,) int64 µs, not decreasing.
        x: (N,) int16 px.
        y: (N,) int16 px.
        p: (N,) uint8, 1 or 0.
    """

    t: Times
    x: NDArray[np.int16]
    y: NDArray[np.int16]
    p: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.t)

    @property
    def span(self) -> tuple[int, int]:
        """See ``EventSource``."""
        return (int(self.t[0]), int(self.t[-1])) if len(self.t) else (0, 0)

    def between(self, start: int, stop: int) -> Events:
        """See ``EventSource``; the arrays are views."""
        first, end = np.searchsorted(self.t, (start, stop))
        part = slice(int(first), int(end))
        return Events(self.t[part], self.x[part], self.y[part], self.p[part])

    @classmethod
    def sorted(cls, t: Times, x: NDArray, y: NDArray, p: NDArray) -> Events:
        """From columns in any order of time; events of one time keep theirs."""
        if len(t) and (np.diff(t) < 0).any():
            order = np.argsort(t, kind="stable")
            t, x, y, p = t[order], x[order], y[order], p[order]
        return cls(t, x, y, p)


def as_events(rows: ArrayLike, where: str = "events") -> Events:
    """Events from an array.

    Args:
        rows: (N, 4) with columns t, x, y, p, or a structured array with these names.
        where: Where they are from, for messages.

    Returns:
        The events, sorted by time; polarity coded -1 and 1 becomes 0 and 1.

    Raises:
        UserError: If the shape is another, or a value is none that an event can have.
    """
    table = np.asarray(rows)
    if table.dtype.names is not None:
        if missing := [name for name in "txyp" if name not in table.dtype.names]:
            raise UserError(
                f"{where}: fields {', '.join(table.dtype.names)}, but no {missing[0]}; expected "
                "t, x, y, p"
            )
        columns = [table[name] for name in "txyp"]
    elif table.ndim == 2 and table.shape[1] == 4:
        columns = list(table.T)
    else:
        raise UserError(
            f"{where}: an array of shape {table.shape}; expected (N, 4) with columns t (µs), x, y, "
            "p"
        )
    return Events.sorted(*checked_columns(columns, where))


def checked_columns(
    columns: list[NDArray], where: str
) -> tuple[Times, NDArray[np.int16], NDArray[np.int16], NDArray[np.uint8]]:
    """Columns t, x, y, p in the types of ``Events``; see :func:`as_events` for the errors."""
    t, x, y, p = columns
    for name, column in zip("txyp", columns, strict=True):
        if column.dtype.kind not in "iufb":
            raise UserError(f"{where}: {name} holds no numbers ({column.dtype})")
        if column.dtype.kind == "f" and len(column) and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise UserError(f"{where}: {name} of event {row} is not a number; remove that event")
    if t.dtype.kind == "f" and len(t) and (t != np.floor(t)).any():
        raise UserError(
            f"{where}: times have fractions ({t[t != np.floor(t)][0]:.9g}); expected whole "
            "microseconds: multiply seconds by 1,000,000 and round"
        )
    for name, column in (("x", x), ("y", y)):
        if len(column) and not (column.min() >= 0 and column.max() <= _LARGEST):
            raise UserError(
                f"{where}: {name} from {column.min()} to {column.max()}; expected pixels of the "
                "sensor, counted from 0"
            )
    return (
        t.astype(np.int64, copy=False),
        x.astype(np.int16, copy=False),
        y.astype(np.int16, copy=False),
        _polarity(p, where),
    )


def _polarity(p: NDArray, where: str) -> NDArray[np.uint8]:
    # No copy of millions of values that are stored in the right form.
    if p.dtype == np.uint8 and (not len(p) or p.max() <= 1):
        return p
    if len(p) and (p.min() < -1 or p.max() > 1):
        raise UserError(
            f"{where}: polarity from {p.min()} to {p.max()}; expected 0 and 1, or -1 and 1"
        )
    return (p > 0).astype(np.uint8)


def check_sensor(events: Events, size: tuple[int, int], where: str = "events") -> None:
    """Fail if events lie outside of a sensor of ``size`` (width, height), px.

    Raises:
        UserError: If one does.
    """
    for name, column, most in (("x", events.x, size[0]), ("y", events.y, size[1])):
        if len(column) and column.max() >= most:
            raise UserError(
                f"{where}: {name} up to {column.max()}, but the sensor has {size[0]} x {size[1]} "
                "pixels; give the right size (--sensor WIDTHxHEIGHT)"
            )
