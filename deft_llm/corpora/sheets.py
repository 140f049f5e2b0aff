"""Official sheets: find the header and each column by its name, and report what does not fit.

The order of columns does not matter, and neither do worksheet, delimiter and encoding
(``cells.py``). A sheet whose values are shifted against their headers (a cell inserted or deleted)
is refused with the column's name, because a guess would mislabel faces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from deft_llm.corpora.cells import SUFFIXES, Cells, Table, as_text, tables
from deft_llm.corpora.headers import Header, accepted_headers, find_header, nearest_header
from deft_llm.corpora.people import is_date
from deft_llm.errors import UserError

FRAME_FIELDS = ("onset", "apex", "offset")
#: Field whose column may be missing -> what is taken of each row then, as if its cell were empty.
OPTIONAL: Mapping[str, str] = {
    "apex": "each apex is the middle of onset and offset",
    "aus": "no clip has action units",
}
#: Cell values that mean "frame not coded".
NOT_CODED = frozenset({"", "/", "-", "-1", "nan", "none", "?"})
# A text cell may hold "12.0" or "12,0", left over from a spreadsheet's decimal number; "1,000" is
# one or a thousand, so it is not read.
_WHOLE = re.compile(r"(-?\d+)(?:[.,]0{1,2})?")
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
        patterns: File names without suffix (globs), searched for in the corpus folder.
        columns: Field -> possible headers. Without a header row, fields are in column order.
        header: False for a sheet without a header row.
    """

    patterns: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    header: bool = True

    @property
    def needed(self) -> frozenset[str]:
        """Fields whose column must exist."""
        return frozenset(self.columns) - OPTIONAL.keys()

    def is_name(self, path: Path) -> bool:
        """Whether a file can be this sheet; case, blanks and underscores do not matter."""
        key = _name_key(path.stem)
        known = (re.escape(_name_key(name)).replace(r"\*", ".*") for name in self.patterns)
        return path.suffix.lower() in SUFFIXES and any(re.fullmatch(k, key) for k in known)


@dataclass(frozen=True)
class SheetRow:
    """One row of data.

    Attributes:
        number: Row number in the spreadsheet, from 1.
        values: Field -> cell as stripped text; "" for an empty cell. A field without a column is
            not there.
    """

    number: int
    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


def read_sheet(path: Path, sheet: Sheet) -> list[SheetRow]:
    """Rows of a sheet, without empty ones, from the worksheet that has the columns.

    Args:
        path: A workbook, or text with delimiters.
        sheet: Its layout.

    Raises:
        UserError: If the file cannot be read, a column is missing, or columns are shifted.
    """
    found = _with_headers(path, sheet)
    # The first of those with the most columns. A text file is one column at wrong delimiters.
    table, header = max(found, key=lambda pair: len(pair[1].columns))
    if not sheet.needed <= header.columns.keys():
        if sheet.header:
            raise _missing_column(path, table, header, sheet)
        table, header = _by_position(path, [table for table, _ in found], sheet)
    _refuse_misspelt(path, table, header, sheet)
    rows = [
        SheetRow(number, {name: as_text(_cell(line, k)) for name, k in header.columns.items()})
        for number, line in enumerate(table.cells[header.rows :], header.rows + 1)
    ]
    rows = [row for row in rows if any(row[name] for name in sheet.needed)]
    if not rows:
        raise UserError(f"{path}: no row of data below the header; expected one row per clip")
    _check_shift(path, rows, sheet)
    return rows


def unread_worksheets(path: Path, sheet: Sheet) -> list[str]:
    """Worksheets that have all columns and rows below them, but are not the one that is read.

    A copy of it, an older version, or one worksheet for each subject.

    Raises:
        UserError: If the file cannot be read.
    """
    names = [
        table.name
        for table, header in _with_headers(path, sheet)
        if sheet.needed <= header.columns.keys() and len(table.cells) > header.rows
    ]
    return names[1:]


def _with_headers(path: Path, sheet: Sheet) -> list[tuple[Table, Header]]:
    return [(table, find_header(table.cells, sheet.columns)) for table in tables(path)]


def read_cells(path: Path, worksheet: str | None = None) -> Cells:
    """All cells of one worksheet, with the types of the file.

    Args:
        path: A workbook, or text with commas.
        worksheet: Its name, whatever its case and blanks; the first worksheet by default.

    Raises:
        UserError: If the file cannot be read or has no such worksheet.
    """
    found = list(tables(path))
    for table in found:
        if worksheet is None or _name_key(table.name) == _name_key(worksheet):
            return table.cells
    names = ", ".join(repr(table.name) for table in found)
    raise UserError(f"{path}: no worksheet {worksheet!r}, only {names}; copy the sheet again")


def frame_number(text: str) -> int | None:
    """A frame number, or None if the frame was not coded.

    Raises:
        ValueError: For any other text.
    """
    if text.lower() in NOT_CODED:
        return None
    found = _WHOLE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no frame number")
    return int(found[1])


def number_of_date(text: str) -> int | None:
    """The number that a spreadsheet shows as a date, or None for a date that somebody wrote.

    Numbers formatted as dates count days from 1900; who writes "8-4" gets a date of these years.
    """
    if not is_date(text):
        return None
    day = date.fromisoformat(text[:10])
    if 2000 <= day.year <= 2040:
        return None
    days = (day - date(1899, 12, 30)).days
    # Spreadsheets know a 29 February 1900, so that earlier numbers are one lower.
    return days - 1 if days <= 60 else days


def _cell(line: Sequence[Any], k: int) -> Any:
    return line[k] if k < len(line) else None


def _name_key(name: str) -> str:
    return re.sub(r"[\s_^-]+", "", name).casefold()


def _refuse_misspelt(path: Path, table: Table, header: Header, sheet: Sheet) -> None:
    """Refuse a sheet whose apexes or AUs seem to stand below a header that is not known.

    They would be left out of every row, though they are coded.
    """
    for name in [n for n in sheet.columns if n not in header.columns]:
        if near := nearest_header(table.cells, header, sheet.columns, name):
            raise UserError(
                f"{path}: no column {sheet.columns[name][0]!r}; the nearest header is {near!r}: "
                "rename it, or remove it if it is something else"
            )


def _missing_column(path: Path, table: Table, header: Header, sheet: Sheet) -> UserError:
    name = next(n for n in sheet.columns if n in sheet.needed - header.columns.keys())
    wanted, *others = accepted_headers(sheet.columns, name)
    also = f" (nor {', '.join(others)})" if others else ""
    near = nearest_header(table.cells, header, sheet.columns, name)
    hint = f"; the nearest header is {near!r}: rename it" if near else ""
    # Without a known header the first row may be one, in words of somebody's own.
    line = table.cells[max(header.rows, 1) - 1] if table.cells else []
    found = ", ".join(repr(text) for cell in line if (text := as_text(cell)))
    return UserError(
        f"{path}: no column {wanted!r}{also}; expected the headers "
        f"{', '.join(headers[0] for headers in sheet.columns.values())}; "
        f"found {found or 'none'}{hint}"
    )


def _by_position(path: Path, found: list[Table], sheet: Sheet) -> tuple[Table, Header]:
    """The first table that is wide enough, for a sheet without a header row."""
    columns = {name: k for k, name in enumerate(sheet.columns)}
    widths = [max((len(line) for line in table.cells), default=0) for table in found]
    for table, width in zip(found, widths, strict=True):
        if width >= len(columns):
            return table, Header(0, columns)
    raise UserError(f"{path}: {max(widths)} columns; expected {len(columns)}: {', '.join(columns)}")


def _check_shift(path: Path, rows: list[SheetRow], sheet: Sheet) -> None:
    """Check that frame columns hold frame numbers and that clip names are not empty.

    A cell that was inserted or deleted moves its row under the wrong headers; offsets that are read
    as apexes look plausible one by one, so the columns are judged as a whole.
    """
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
        return is_date(text)
    return True
