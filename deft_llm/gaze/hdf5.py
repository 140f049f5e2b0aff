"""Events in HDF5 files: those of 3ET+ and the layouts that other recordings use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deft_llm.errors import UserError
from deft_llm.media.events import Events, EventSource, checked_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

IN_MEMORY = 20_000_000
"""Events up to which a file is read whole, and sorted where it has to be."""
_FIELDS = "txyp"


class Hdf5Events:
    """Events that stay in an HDF5 file.

    3ET+ has one dataset ``events`` whose rows have the fields t, x, y and p; others have four
    columns, or a group with a dataset for each of t, x, y and p.

    Args:
        path: The file.

    Raises:
        UserError: If h5py is not installed, or the file is damaged or holds no events.
    """

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise UserError(
                f"{path}: reading HDF5 needs h5py; get it with: pip install 'deft-llm[events]'"
            ) from error
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise UserError(
                f"{path}: no whole HDF5 file ({' '.join(str(error).split())[:120]}); copy it again"
            ) from error
        self._rows: Any = None
        self._columns: dict[str, Any] = {}
        self._locate(h5py)
        self._count = len(self._rows if self._rows is not None else self._columns["t"])

    def _locate(self, h5py: Any) -> None:
        """Find the dataset or the four of them."""
        place = self._file.get("events", self._file)
        if isinstance(place, h5py.Dataset):
            if place.dtype.names is not None and set(_FIELDS) <= set(place.dtype.names):
                self._rows = place
                return
            if place.ndim == 2 and place.shape[1] == 4:
                self._rows = place
                return
            raise UserError(
                f"{self.path}: events of shape {place.shape}, {place.dtype}; expected fields "
                "t, x, y, p, or four columns"
            )
        names = {"t": ("t", "ts"), "x": ("x", "xs"), "y": ("y", "ys"), "p": ("p", "ps")}
        found = {
            field: next((place[n] for n in options if n in place), None)
            for field, options in names.items()
        }
        if any(column is None for column in found.values()):
            raise UserError(
                f"{self.path}: holds {', '.join(map(str, self._file)) or 'nothing'}, no events; "
                "expected the dataset events of 3ET+ with t, x, y and p (EV-Eye's files of masks "
                "hold none: give a session's events)"
            )
        if len({len(c) for c in found.values() if c is not None}) > 1:
            raise UserError(f"{self.path}: its columns of events differ in length")
        self._columns = found

    def __len__(self) -> int:
        return int(self._count)

    @property
    def span(self) -> tuple[int, int]:
        """See ``EventSource``."""
        return (self._time(0), self._time(self._count - 1)) if self._count else (0, 0)

    def between(self, start: int, stop: int) -> Events:
        """See ``EventSource``; reads what lies between, after a bisection in the file.

        Raises:
            UserError: If the file is damaged, or its events are not in order.
        """
        return self.part(self._place(start), self._place(stop))

    def part(self, first: int, stop: int) -> Events:
        """Events by number; errors as :meth:`between`."""
        try:
            columns = self._read(slice(first, stop))
        except OSError as error:
            raise UserError(
                f"{self.path}: damaged at events {first} to {stop}; copy it again"
            ) from error
        t, x, y, p = checked_columns(columns, str(self.path))
        if len(t) and (np.diff(t) < 0).any():
            row = first + int(np.argmax(np.diff(t) < 0)) + 1
            raise UserError(
                f"{self.path}: event {row} is earlier than the one before it; sort the events by "
                f"time (a file of up to {IN_MEMORY:,} events is sorted when it is read)"
            )
        return Events(t, x, y, p)

    def whole(self) -> Events:
        """All events in memory, sorted."""
        try:
            columns = self._read(slice(0, self._count))
        except OSError as error:
            raise UserError(f"{self.path}: damaged; copy it again") from error
        return Events.sorted(*checked_columns(columns, str(self.path)))

    def _read(self, part: slice) -> list[NDArray]:
        if self._rows is None:
            return [self._columns[field][part] for field in _FIELDS]
        rows = self._rows[part]
        return list(rows.T) if rows.dtype.names is None else [rows[field] for field in _FIELDS]

    def _time(self, row: int) -> int:
        if self._rows is None:
            return int(self._columns["t"][row])
        value = self._rows[row]
        return int(value[0] if self._rows.dtype.names is None else value["t"])

    def _place(self, time: int) -> int:
        """Number of the first event that is not before a time."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._time(middle) < time:
                low = middle + 1
            else:
                high = middle
        return low


def open_hdf5(path: Path) -> EventSource:
    """Open an HDF5 file; a small one is read whole.

    Raises:
        UserError: As :class:`Hdf5Events`.
    """
    file = Hdf5Events(path)
    return file.whole() if len(file) <= IN_MEMORY else file
