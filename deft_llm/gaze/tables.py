"""Text files of gaze: labels of 3ET+, answers of its challenge, predictions of any tracker."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.files import write_bytes

Floats = NDArray[np.float64]
_LABEL = re.compile(r"\s*\(\s*([^,]+),\s*([^,]+),\s*([01])\s*\)\s*")
_TIMES = ("t", "t_us", "time", "timestamp", "time_us")


@dataclass(frozen=True)
class Labels:
    """Labels of a recording of 3ET+, 100 a second.

    Attributes:
        pupil: (T, 2) px of the sensor.
        closed: (T,) whether the eye is closed.
    """

    pupil: Floats
    closed: NDArray[np.bool_]


def read_labels(path: Path) -> Labels:
    """Read ``label.txt``: a line ``(x, y, close)`` for each label.

    Raises:
        UserError: If the file is missing, empty, or a line is another; names the line.
    """
    rows = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        found = _LABEL.fullmatch(line)
        try:
            if found is None:
                raise ValueError
            rows.append((float(found[1]), float(found[2]), int(found[3])))
        except ValueError:
            raise UserError(
                f"{path}, line {number}: {line.strip()[:40]!r}; expected (x, y, close), such as "
                "(312.5, 240.0, 0)"
            ) from None
    if not rows:
        raise UserError(f"{path}: no labels; expected lines (x, y, close)")
    table = np.array(rows)
    return Labels(table[:, :2], table[:, 2] > 0)


@dataclass(frozen=True)
class Predictions:
    """Predicted places.

    Attributes:
        xy: (T, 2) cells of the grid; NaN where a tracker saw nothing.
        times: (T,) µs, not decreasing; None if the file has row numbers alone.
    """

    xy: Floats
    times: NDArray[np.int64] | None


def read_predictions(path: Path) -> Predictions:
    """Read predictions: CSV with the columns x, y, and t (µs) or the challenge's row_id.

    An empty cell or "nan" is a sample without a prediction.

    Raises:
        UserError: If the file is missing, empty, or has no such columns; or a cell is no number, or
            a time is earlier than the one before; names the line.
    """
    reader = csv.reader(_lines(path))
    # With their lines. An empty one, as at the end of many files, is no row; cells that are empty
    # are one.
    rows = [(reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip()]
    head = [name.strip().lower() for name in rows[0][1]] if rows else []
    when = next((name for name in _TIMES if name in head), None)
    if not {"x", "y"} <= set(head):
        raise UserError(
            f"{path}: columns {', '.join(head) or 'none'}; expected x, y, and t (µs) or row_id"
        )
    names = ["x", "y", *([when] if when else [])]
    at = [head.index(name) for name in names]
    table = np.full((len(rows) - 1, len(at)), np.nan)
    for (line, row), values in zip(rows[1:], table, strict=True):
        for k, (column, name) in enumerate(zip(at, names, strict=True)):
            cell = row[column].strip() if column < len(row) else ""
            try:
                values[k] = float(cell) if cell else np.nan
            except ValueError:
                raise UserError(
                    f"{path}, line {line}: {name} is {cell!r}; expected a number"
                ) from None
    if not len(table):
        raise UserError(f"{path}: no predictions below the line of names")
    if when is None:
        return Predictions(table, None)
    times = table[:, 2]
    wrong = ~np.isfinite(times)
    wrong[1:] |= np.diff(np.nan_to_num(times)) < 0
    if wrong.any():
        first = int(np.argmax(wrong))
        raise UserError(
            f"{path}, line {rows[first + 1][0]}: time {times[first]:g}; expected µs that do not "
            "decrease"
        )
    return Predictions(table[:, :2], times.astype(np.int64))


def write_answers(path: Path, xy: Floats) -> None:
    """Write the challenge's file of answers: ``row_id,x,y``, cells of the grid.

    Args:
        path: The file.
        xy: (T, 2), all recordings of the test set in its order, without NaN.

    Raises:
        UserError: If a place is not a number, or the file cannot be written.
    """
    if (bad := ~np.isfinite(xy).all(axis=1)).any():
        raise UserError(f"{path}: row {int(np.argmax(bad))} has no place; the challenge wants all")
    _write(path, ("row_id", "x", "y"), [(i, f"{x:.6g}", f"{y:.6g}") for i, (x, y) in enumerate(xy)])


def write_table(path: Path, columns: dict[str, Sequence[object]]) -> None:
    """Write columns of equal length as CSV; NaN becomes an empty cell.

    Raises:
        UserError: If the file cannot be written.
    """
    rows = zip(*columns.values(), strict=True)
    _write(path, tuple(columns), [tuple(_cell(value) for value in row) for row in rows])


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return str(int(value)) if isinstance(value, bool | np.bool_) else str(value)


def _write(path: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8") from error
