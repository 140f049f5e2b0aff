"""Official sheets: find the header and each column by its name, and report what does not fit.

The order of columns does not matter. A sheet whose values are shifted against their headers (a cell
inserted or deleted) is refused with the column's name, because a guess would mislabel faces.
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
#: Cell values that mean "frame not coded".
NOT_CODED = frozenset({"", "/", "-", "-1", "nan", "none", "?"})
#: Columns of CASME II's sheet and of sheets modelled on it.
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
    """Layout of one official sheet.

    Attributes:
        patterns: File names (globs), searched for in the corpus folder.
        columns: Field -> possible headers. Without a header row, fields are in column order.
        required: Fields whose column must exist; all by default.
        worksheet: Name of the worksheet; the first by default.
        header: False for a sheet without a header row.
    """

    patterns: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    required: frozenset[str] = field(default=frozenset())
    worksheet: str | None = None
    header: bool = True

    @property
    def needed(self) -> frozenset[str]:
        """Fields whose column must exist."""
        return self.required or frozenset(self.columns)


@dataclass(frozen=True)
class SheetRow:
    """One row of data.

    Attributes:
        number: Row number in the spreadsheet, from 1.
        values: Field -> cell as stripped text; "" for an empty cell.
    """

    number: int
    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


def read_sheet(path: Path, sheet: Sheet) -> list[SheetRow]:
    """Rows of a sheet, without empty ones.

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
    """All cells of one worksheet, with the types of the file.

    Raises:
        UserError: If the file cannot be read or has no such worksheet.
    """
    import pandas as pd  # here, because the import is slow

    kind = path.suffix.lower()
    try:
        if kind == ".csv":
            frame = pd.read_csv(
                # As text, so that "06" keeps its zero; blank lines stay, so that row numbers are
                # those of the file.
                path,
                header=None,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
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
        # The XML parser raises SyntaxError on a damaged .xlsx.
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
    """A frame number, or None if the frame was not coded.

    Raises:
        ValueError: For any other text.
    """
    # A text cell may hold "12.0", left over from a spreadsheet's float.
    return None if text.lower() in NOT_CODED else int(text.removesuffix(".0"))


def _cell(line: Sequence[Any], k: int) -> Any:
    return line[k] if k < len(line) else None


def _key(header: Any) -> str:
    # Releases of a sheet differ in case, blanks, underscores and quotes of their headers.
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
    # Some sheets have a preamble (SAMM explains its symbols), so the header is the row among the
    # first 60 that matches the most columns.
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
    """Check that frame columns hold frame numbers and that clip names are not empty."""
    for name in (n for n in FRAME_FIELDS if n in sheet.columns):
        wrong = [row for row in rows if not _is_frame(row[name])]
        # A single bad cell is mended or dropped later; half of a column means a shift.
        if 2 * len(wrong) >= len(rows):
            header = sheet.columns[name][0] if sheet.header else name
            raise UserError(
                f"{path}, row {wrong[0].number}: column {header!r} holds {wrong[0][name]!r}; "
                "expected a frame number: the columns are shifted; compare with the official sheet"
            )
    # Empty passes as "not coded", but no sheet leaves out most onsets.
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
