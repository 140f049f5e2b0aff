"""Official sheets: find the header, find each column by its name, say what does not fit.

A column is found wherever it stands. A sheet whose values stand beside their headers (a cell
inserted or deleted) is refused with the column's name, because a guess would label faces wrongly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from deft_llm.errors import UserError

Cells = list[list[Any]]
FRAME_FIELDS = ("onset", "apex", "offset")
#: What sheets write where a frame was not coded.
NOT_CODED = frozenset({"", "/", "-", "-1", "nan", "none", "?"})
#: The columns of CASME II's sheet, and of those that were made after it.
CASME_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "aus": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}


@dataclass(frozen=True)
class Sheet:
    """How one official sheet is laid out.

    Attributes:
        patterns: File names (globs), searched for beneath the corpus folder.
        columns: Field -> headers it is known under. Without a header row: fields in order.
        required: Fields whose column must be there; all by default.
        worksheet: Name of the worksheet; the first by default.
        header: False for a sheet that starts with its first row of data.
    """

    patterns: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    required: frozenset[str] = field(default=frozenset())
    worksheet: str | None = None
    header: bool = True

    @property
    def needed(self) -> frozenset[str]:
        """Fields whose column must be there."""
        return self.required or frozenset(self.columns)


@dataclass(frozen=True)
class SheetRow:
    """One row of data.

    Attributes:
        number: As the spreadsheet numbers it, from 1.
        values: Field -> cell as text without outer blanks; "" where it is empty.
    """

    number: int
    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


def read_sheet(path: Path, sheet: Sheet) -> list[SheetRow]:
    """Rows of a sheet, empty ones left out.

    Args:
        path: An .xlsx, .xls or .csv file.
        sheet: Its layout.

    Raises:
        UserError: If the file cannot be read, a column is missing, or columns are shifted.
    """
    cells = read_cells(path, sheet.worksheet)
    first, columns = _find_columns(path, cells, sheet)
    rows = [
        SheetRow(number, {name: as_text(_cell(line, k)) for name, k in columns.items()})
        for number, line in enumerate(cells[first:], first + 1)
    ]
    rows = [row for row in rows if any(row[name] for name in sheet.needed)]
    if not rows:
        raise UserError(f"{path}: no row of data below the header; expected one row per clip")
    _check_shift(path, rows, sheet)
    return rows


def read_cells(path: Path, worksheet: str | None = None) -> Cells:
    """All cells of one worksheet, as the file types them.

    Raises:
        UserError: If the file cannot be read or has no such worksheet.
    """
    import pandas as pd

    kind = path.suffix.lower()
    try:
        if kind == ".csv":
            frame = pd.read_csv(
                path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False
            )
        else:
            frame = pd.read_excel(
                path,
                sheet_name=worksheet or 0,
                header=None,
                dtype=object,
                keep_default_na=False,
            )
    except ImportError as error:
        raise UserError(
            f"{path}: reading {kind} needs a package that is not installed ({error}); "
            "pip install 'deft-llm[corpora]', or save the sheet as .csv"
        ) from error
    except (ValueError, KeyError, OSError, SyntaxError, BadZipFile) as error:
        # SyntaxError: what the XML parser raises in a damaged .xlsx
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as a sheet ({reason}); copy it again") from error
    return [list(line) for line in frame.itertuples(index=False)]


def as_text(cell: Any) -> str:
    """A cell as text: 12.0 -> "12", NaN and None -> ""."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def frame_number(text: str) -> int | None:
    """A frame number, or None where it was not coded.

    Raises:
        ValueError: For any other text.
    """
    return None if text.lower() in NOT_CODED else int(text.removesuffix(".0"))


def _cell(line: Sequence[Any], k: int) -> Any:
    return line[k] if k < len(line) else None


def _key(header: Any) -> str:
    return re.sub(r"[\s_'\"]+", "", as_text(header)).casefold()


def _find_columns(path: Path, cells: Cells, sheet: Sheet) -> tuple[int, dict[str, int]]:
    """Index of the first row of data, and field -> column."""
    if not sheet.header:
        width = max((len(line) for line in cells), default=0)
        if width < len(sheet.columns):
            raise UserError(
                f"{path}: {width} columns; expected {len(sheet.columns)}: "
                f"{', '.join(sheet.columns)}"
            )
        return 0, {name: k for k, name in enumerate(sheet.columns)}
    accepted = {name: {_key(h) for h in headers} for name, headers in sheet.columns.items()}
    best: tuple[int, dict[str, int]] = (0, {})
    for index, line in enumerate(cells[:60]):
        keys = [_key(cell) for cell in line]
        found = {
            name: next(k for k, key in enumerate(keys) if key in names)
            for name, names in accepted.items()
            if names & set(keys)
        }
        if len(found) > len(best[1]):
            best = (index + 1, found)
    missing = [name for name in sheet.columns if name in sheet.needed - set(best[1])]
    if missing:
        wanted = sheet.columns[missing[0]]
        headers = [as_text(c) for c in (cells[best[0] - 1] if best[0] else [])]
        near = get_close_matches(wanted[0], [h for h in headers if h], n=1)
        hint = f"; the nearest header is {near[0]!r}" if near else ""
        raise UserError(
            f"{path}: no column {wanted[0]!r}; expected the headers "
            f"{', '.join(sheet.columns[name][0] for name in sheet.columns)}{hint}"
        )
    return best


def _check_shift(path: Path, rows: list[SheetRow], sheet: Sheet) -> None:
    """Frame columns hold frame numbers; the clip's column does not hold nothing."""
    for name in (n for n in FRAME_FIELDS if n in sheet.columns):
        wrong = [row for row in rows if not _is_frame(row[name])]
        if 2 * len(wrong) >= len(rows):
            header = sheet.columns[name][0] if sheet.header else name
            raise UserError(
                f"{path}, row {wrong[0].number}: column {header!r} holds {wrong[0][name]!r}; "
                "expected a frame number: the columns are shifted; compare with the official sheet"
            )
    if "onset" in sheet.needed and 2 * sum(row["onset"] == "" for row in rows) >= len(rows):
        raise UserError(f"{path}: the onset column is mostly empty: the columns are shifted")
    if all(not row["clip"] for row in rows):
        raise UserError(f"{path}: the column of clip names is empty: the columns are shifted")


def _is_frame(text: str) -> bool:
    try:
        frame_number(text)
    except ValueError:
        return False
    return True
