"""The sheet of a small corpus on disk, for tests that change it as people do."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from openpyxl import Workbook, load_workbook

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.reading import Reading
from deft_llm.corpora.synthetic import Written

Table = list[list[Any]]
SHEET = "CASME2-coding-20190701.xlsx"
RAW = "CASME2_RAW_selected"
SUBJECT, CLIP, ONSET, APEX, OFFSET, AUS, EMOTION = 0, 1, 3, 4, 5, 7, 8  # columns


def table_of(root: Path) -> Table:
    page = load_workbook(root / SHEET).worksheets[0]
    return [list(line) for line in page.iter_rows(values_only=True)]


def save(root: Path, table: Table, name: str = SHEET) -> None:
    book = Workbook()
    for line in table:
        book.worksheets[0].append(line)
    book.save(root / name)


def save_csv(root: Path, table: Table, encoding: str = "utf-8", **how: Any) -> None:
    (root / SHEET).unlink()
    path = root / SHEET.replace("xlsx", "csv")
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, **how).writerows(table)


def read_all(name: str, root: Path, written: tuple[Written, ...]) -> Reading:
    """The reading, which has to hold every clip as it was written, with its own frames."""
    reading = load_corpus(name, root).read()
    assert reading.annotations == tuple(w.annotation for w in written)
    assert not reading.report.count("dropped")
    return reading
