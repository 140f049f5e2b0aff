"""Worksheets of OpenDocument (``.ods``), as LibreOffice saves them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, fromstring
from zipfile import ZipFile

# The standard has this file first and not compressed, so that the start of the archive tells.
MARK = b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
_NAMES = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
_TABLE, _OFFICE, _TEXT = (_NAMES % name for name in ("table", "office", "text"))
_NUMBERS = {"float", "percentage", "currency"}


def worksheets(data: bytes) -> Iterator[tuple[str, list[list[Any]]]]:
    """Name and cells of each worksheet: numbers, texts and dates as text, None where empty.

    Raises:
        BadZipFile, KeyError, SyntaxError: If the file is damaged.
    """
    with ZipFile(io.BytesIO(data)) as archive:
        content = fromstring(archive.read("content.xml"))
    for table in content.iter(f"{_TABLE}table"):
        yield table.get(f"{_TABLE}name", ""), _rows(table)


def _rows(table: Element) -> list[list[Any]]:
    rows: list[list[Any]] = []
    empty = 0
    for row in table.iter(f"{_TABLE}table-row"):
        cells, repeated = _cells(row), _count(row, "number-rows-repeated")
        if not cells:
            # The rest of a worksheet is one row that is repeated a million times: kept only if
            # something follows.
            empty += repeated
            continue
        rows += [[] for _ in range(empty)]
        rows += [list(cells) for _ in range(repeated)]
        empty = 0
    _fill_merged(table, rows)
    return rows


def _cells(row: Element) -> list[Any]:
    """Values up to the last one that is not empty."""
    found: list[Any] = []
    empty = 0
    for cell in row:
        value, repeated = _value(cell), _count(cell, "number-columns-repeated")
        if value is None:
            empty += repeated
            continue
        found += [None] * empty + [value] * repeated
        empty = 0
    return found


def _value(cell: Element) -> Any:
    kind = cell.get(f"{_OFFICE}value-type")
    if kind in _NUMBERS:
        return float(cell.get(f"{_OFFICE}value", "nan"))
    if kind == "date":
        return cell.get(f"{_OFFICE}date-value", "").replace("T", " ")
    # Of the cell itself: a comment on it holds paragraphs of its own, one level down.
    text = "\n".join("".join(line.itertext()) for line in cell.findall(f"{_TEXT}p"))
    return text or None


def _fill_merged(table: Element, rows: list[list[Any]]) -> None:
    """Let a cell that is merged downwards hold for all of its rows."""
    number = 0
    for row in table.iter(f"{_TABLE}table-row"):
        column = 0
        for cell in row:
            value = _value(cell)
            for below in range(1, _count(cell, "number-rows-spanned")):
                if value is not None and number + below < len(rows):
                    line = rows[number + below]
                    line += [None] * (column + 1 - len(line))
                    line[column] = value
            column += _count(cell, "number-columns-repeated")
        number += _count(row, "number-rows-repeated")


def _count(element: Element, name: str) -> int:
    return int(element.get(f"{_TABLE}{name}", "1"))
