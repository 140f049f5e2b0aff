"""The cells of a sheet file, whatever wrote it: workbooks, and CSV of any common dialect.

A file is read by its content, because people rename files: an ``.xls`` may hold comma-separated
text, a ``.csv`` may be a workbook.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from deft_llm.corpora import open_document
from deft_llm.errors import UserError

Cells = list[list[Any]]
#: Suffixes of sheet files, the preferred ones first.
SUFFIXES = (".xlsx", ".xlsm", ".ods", ".xls", ".csv", ".tsv", ".txt")
_DELIMITERS = ",;\t|"
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff]")  # characters of no width
_MARKS = (
    # The mark of UTF-32 begins with that of UTF-16.
    *((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32")),
    *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")),
)


@dataclass(frozen=True)
class Table:
    """One way to read a file as a table.

    Attributes:
        name: The worksheet, or the delimiter of a text file.
        cells: Rows of cells, with the types of the file; rows of text may differ in length.
    """

    name: str
    cells: Cells


def tables(path: Path) -> Iterator[Table]:
    """Every worksheet of a workbook, or a text file split at each common delimiter.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        data = path.read_bytes()
        if data.startswith(_ZIP) and open_document.MARK in data[:128]:
            yield from (Table(*page) for page in open_document.worksheets(data))
        elif data.startswith(_ZIP):
            yield from _workbook(data)
        elif data.startswith(_OLE):
            if "EncryptedPackage".encode("utf-16-le") in data:
                raise UserError(f"{path}: protected by a password; save it without one")
            yield from _old_workbook(data, path)
        else:
            yield from _text(data, path)
    except ImportError as error:
        raise UserError(
            f"{path}: reading a workbook needs openpyxl, which is not installed; "
            "pip install 'deft-llm[corpora]', or save the sheet as .csv"
        ) from error
    # Damaged workbooks fail in many ways; the XML parser, for one, raises SyntaxError.
    except (
        *(ValueError, LookupError, OSError, SyntaxError, TypeError, AttributeError),
        *(BadZipFile, EOFError),
    ) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as a sheet ({reason}); copy it again") from error


def as_text(cell: Any) -> str:
    """A cell as text: 12.0 -> "12", NaN and None -> "", full-width "１２" -> "12"."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", str(cell))).strip()


def _workbook(data: bytes) -> Iterator[Table]:
    from openpyxl import load_workbook

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of extensions that hold no cells
        book = load_workbook(io.BytesIO(data), data_only=True)
    for page in book.worksheets:
        # A formula that failed ("#N/A") is an empty cell.
        cells = [
            [None if cell.data_type == "e" else cell.value for cell in line]
            for line in page.iter_rows()
        ]
        for merged in page.merged_cells.ranges:
            # A cell that is merged downwards holds for all of its rows.
            column = merged.min_col - 1
            for line in cells[merged.min_row : merged.max_row]:
                line[column] = cells[merged.min_row - 1][column]
        yield Table(page.title, cells)


def _old_workbook(data: bytes, path: Path) -> Iterator[Table]:
    import pandas as pd  # here, because the import is slow

    # Merged cells are not told here: all but the first are empty, which is refused by row.
    try:
        pages = pd.read_excel(
            io.BytesIO(data), sheet_name=None, header=None, dtype=object, keep_default_na=False
        )
    except ImportError as error:  # pandas names its reader of this format
        raise UserError(
            f"{path}: a workbook of before 2007, which needs xlrd; pip install xlrd, or save it as "
            ".xlsx"
        ) from error
    for title, page in pages.items():
        yield Table(str(title), [list(line) for line in page.itertuples(index=False)])


def _text(data: bytes, path: Path) -> Iterator[Table]:
    text = decode(data)
    if "\0" in text:
        raise ValueError("neither a workbook nor text")
    if text.lstrip().startswith("<"):
        # Excel opens these under the name of a workbook.
        raise UserError(f"{path}: a web page or XML under this name; save it as .xlsx or .csv")
    lines = text.splitlines()
    # A quotation mark beside a wrong delimiter is nothing to complain of.
    likely = max(_DELIMITERS, key=lambda d: (sum(d in line for line in lines), text.count(d)))
    for delimiter in _DELIMITERS:
        try:
            cells = _split(text, delimiter, path)
        except UserError:
            if delimiter == likely:
                raise
            continue
        yield Table(delimiter, cells)


def _split(text: str, delimiter: str, path: Path) -> Cells:
    def rows(strict: bool) -> Cells:
        # newline="" leaves line ends inside quotes to the csv module.
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict))

    try:
        return rows(strict=True)
    except csv.Error as error:
        if "end of data" in str(error):
            # Otherwise one cell would swallow the rest of the file.
            raise UserError(f"{path}: a quotation mark is opened and never closed") from None
    try:
        return rows(strict=False)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def decode(data: bytes) -> str:
    """Text of unknown encoding: by its byte order mark, else UTF-16, UTF-8, GB 18030 or Latin-1."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    head = data[:4096]
    if head.count(0) * 3 > len(head):  # ASCII in UTF-16 is every second byte zero
        big = head[::2].count(0) > head[1::2].count(0)
        return data.decode("utf-16-be" if big else "utf-16-le", errors="replace")
    for encoding in ("utf-8", *_likely(data)):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _likely(data: bytes) -> tuple[str, str]:
    """Legacy encodings in the order to try.

    Chinese characters take two bytes, in GB 2312 both above 127; accented letters of Western text
    are mostly single bytes above 127.
    """
    high = [byte > 127 for byte in data]
    pairs = sum(a and b for a, b in pairwise(high))
    return ("gb18030", "cp1252") if 2 * pairs >= sum(high) else ("cp1252", "gb18030")
