"""A clip counts once, however often and in whatever spelling the sheet has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.sheets import read_sheet
from deft_llm.corpora.synthetic import write_corpus

from .conftest import tiny

Row = list[Any]


def respelled(row: Row) -> Row:
    return [row[0], str(row[1]).replace("_0", "_").lower(), *row[2:]]


def in_other_digits(row: Row) -> Row:
    """CAS(ME)3 names a clip by its video and onset."""
    return [row[0], row[1], f"{int(row[2]):05d}", *row[3:]]


def another_number(row: Row) -> Row:
    """The same frames of SAMM's long video as another expression."""
    return [row[0], f"{str(row[1])[:-1]}7", *row[2:]]


def of_somebody_else(row: Row) -> Row:
    return [7, *respelled(row)[1:]]


def appended(root: Path, name: str, change: Callable[[Row], Row]) -> int:
    """Add the first row of the sheet again, changed; its number in the sheet."""
    sheet = load_corpus(name, root).sheets()[0]
    first = read_sheet(sheet, load_corpus(name, root).sheet)[0].number
    book = load_workbook(sheet)
    page = book.worksheets[0]
    page.append(change([cell.value for cell in page[first]]))
    book.save(sheet)
    return int(page.max_row)


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("casme2", respelled, "the same row again"),
        ("mmew", respelled, "the same row again"),
        ("four_dme", respelled, "the same row again"),
        ("dfme", respelled, "the same row again"),
        ("samm", respelled, "the same row again"),
        ("casme3", in_other_digits, "says otherwise"),
        ("samm_long_videos", another_number, "a second coding of them"),
    ],
)
def test_a_clip_in_two_rows_is_read_once(
    tmp_path: Path, name: str, change: Callable[[Row], Row], why: str
) -> None:
    written = write_corpus(name, tmp_path, subjects=2, clips=2, renderer=tiny)
    row = appended(tmp_path, name, change)
    reading = load_corpus(name, tmp_path).read()
    assert [a.clip for a in reading.annotations] == [w.annotation.clip for w in written]
    (note,) = (n for n in reading.report if n.action == "dropped" and n.row == row)
    assert why in note.why


@pytest.mark.parametrize("name", ["dfme", "four_dme"])
def test_a_clip_of_two_people_is_not_used(tmp_path: Path, name: str) -> None:
    """Either row may be the wrong one, and would put a person into training and test."""
    written = write_corpus(name, tmp_path, subjects=2, clips=2, renderer=tiny)
    row = appended(tmp_path, name, of_somebody_else)
    reading = load_corpus(name, tmp_path).read()
    assert [a.clip for a in reading.annotations] == [w.annotation.clip for w in written[1:]]
    assert any(n.row == row and "neither is used" in n.why for n in reading.report)
