"""The AU-code grammar against the published sheets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from deft_llm.au_notation import parse_aus
from deft_llm.errors import UserError

DATA = os.environ.get("DEFT_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set DEFT_DATA to the folder of annotations")
SHEETS = [
    ("CASME2-coding-20190701.xlsx", "Action Units", 255),
    ("casme3_table.xlsx", "AU", 860),
    ("SAMM_Micro_FACS_Codes_v2.xlsx", "Action Units", 159),
]


def read(code: Any) -> list[str]:
    """Every attribute that is set, in a short form of the test's own."""
    aus = []
    for au in parse_aus(code):
        marks = ("~" * au.asymmetric) + ("?" * au.uncertain) + ("ref " * au.reference)
        group = f" or{au.alternative}" if au.alternative else ""
        aus.append(f"{marks}{au.side}{au.part}{au.number}{au.intensity.lower()}{group}")
    return aus


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("R12", ["R12"]),
        ("L1+L2", ["L1", "L2"]),
        ("(R6 or R12)+R15", ["R6 or1", "R12 or1", "R15"]),
        ("(R6 or R12) + R15", ["R6 or1", "R12 or1", "R15"]),
        ("R14A or 17A or 24A", ["R14a or1", "17a or1", "24a or1"]),
        ("(1 or 2)+(6 or 7)", ["1 or1", "2 or1", "6 or2", "7 or2"]),
        ("A9+12", ["~9", "12"]),
        ("A/L12", ["~L12"]),
        ("A1B+A2C", ["~1b", "~2c"]),
        ("T28+14", ["T28", "14"]),
        ("B23", ["B23"]),
        ("ref(7B)+43", ["ref 7b", "43"]),
        ("4D+ref(6)+7C+43E", ["4d", "ref 6", "7c", "43e"]),
        ("7B+ ref(43)", ["7b", "ref 43"]),
        ("10A/B", ["10a/b"]),
        ("L12A+25", ["L12a", "25"]),
        ("4?", ["?4"]),
        ("l12", ["L12"]),
        (12, ["12"]),
        (12.0, ["12"]),
        ("soft focus+4", ["4"]),
    ],
)
def test_every_form_of_the_grammar(code: str | float, expected: list[str]) -> None:
    assert read(code) == expected


@pytest.mark.parametrize("code", [None, "", " ", "/", 0, "0", "nan", "-"])
def test_nothing_coded(code: Any) -> None:
    assert parse_aus(code) == ()


@pytest.mark.parametrize(
    "code", ["99", "3", "R12+99", "smile", "12++14", "(R6 or R12", "R12)", "Q4", "?"]
)
def test_an_unknown_code_is_one_clear_line(code: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_aus(code)
    assert repr(code) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_code_of_a_unit_is_what_annotations_carry() -> None:
    assert [au.code for au in parse_aus("A/L12C+T28+ref(R7B)")] == ["L12", "28", "R7"]


def sheet_codes(name: str, column: str) -> list[Any]:
    openpyxl = pytest.importorskip("openpyxl", reason="the extra 'corpora' reads sheets")
    path = Path(DATA or "") / "annotations" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    for sheet in openpyxl.load_workbook(path, read_only=True):
        rows = list(sheet.iter_rows(values_only=True))
        header = next((i for i, row in enumerate(rows) if column in row), None)
        if header is not None:
            place = rows[header].index(column)
            return [row[place] for row in rows[header + 1 :] if row[place] is not None]
    raise AssertionError(f"{name}: no column {column!r}")


@needs_data
@pytest.mark.parametrize(("name", "column", "rows"), SHEETS)
def test_every_code_of_the_published_sheets_parses(name: str, column: str, rows: int) -> None:
    codes = sheet_codes(name, column)
    assert len(codes) == rows
    for code in codes:
        assert parse_aus(code) or str(code).strip() in {"/", "0"}, code
