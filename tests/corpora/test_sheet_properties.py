"""Any table reads back as it was written, wherever its columns stand and whatever file it is."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from deft_llm.corpora.sheets import CASME_COLUMNS, Sheet, as_text, read_cells, read_sheet
from deft_llm.errors import UserError

# Nothing here depends on chance or on how fast the machine is.
EXAMPLES = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
FEWER = settings(EXAMPLES, max_examples=30)  # a workbook takes 20 ms
HEADERS = {name: headers[0] for name, headers in CASME_COLUMNS.items()}
SHEET = Sheet(patterns=("*",), columns=CASME_COLUMNS)
SPELLINGS: list[Callable[[str], str]] = [
    *(str, str.upper, str.lower),
    lambda header: f" {header} ",
    lambda header: "_".join(header.replace(" ", "")) + "'",
]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030", "cp1252")
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])

words = st.text("abYZ09éß表_ ,;.+/()'\"\n", max_size=8)
tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(words, min_size=width, max_size=width), min_size=1, max_size=6)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sheets")


def write_csv(path: Path, table: list[list[str]], **how: Any) -> None:
    encoding = how.pop("encoding", "utf-8")
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, **how).writerows(table)


def write_xlsx(path: Path, table: list[list[Any]]) -> None:
    book = Workbook()
    page = book.worksheets[0]
    for row in table:
        page.append(row)
    book.save(path)


def texts(cells: list[list[Any]]) -> list[list[str]]:
    return [[as_text(cell) for cell in line] for line in cells]


@EXAMPLES
@given(tables, QUOTING, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_csv_cells_read_back(
    folder: Path, table: list[list[str]], quoting: int, end: str, encoding: str
) -> None:
    """However it is quoted; a spreadsheet's byte order mark is no text."""
    path = folder / "table.csv"
    write_csv(path, table, quoting=quoting, lineterminator=end, encoding=encoding)
    assert read_cells(path) == table


@FEWER
@given(
    st.lists(
        st.tuples(
            st.text("abYZé表_,;+/()'\"", min_size=1, max_size=8),
            words.filter(lambda text: not text.startswith("=")),
            st.integers(-(10**9), 10**9),
            st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
            st.none(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_xlsx_cells_read_back(folder: Path, table: list[tuple[Any, ...]]) -> None:
    """Text without outer blanks, whole numbers without their ".0"; an empty cell is no text."""
    path = folder / "table.xlsx"
    write_xlsx(path, [[*row, "end"] for row in table])
    for row, line in zip(table, texts(read_cells(path)), strict=True):
        first, second, whole, number, _ = row
        assert line[:3] == [first, second.strip(), str(whole)]
        assert float(line[3]) == number and not line[3].endswith(".0")
        assert line[4:] == ["", "end"]


def rows_of(path: Path) -> list[tuple[int, dict[str, str]]]:
    return [(row.number, row.values) for row in read_sheet(path, SHEET)]


@st.composite
def codings(draw: st.DrawFn) -> list[dict[str, str]]:
    """Rows that a corpus might hold; the field is the key."""
    free = st.text("abYZé_,;+/()'\"", min_size=1, max_size=8)
    row = {
        **dict.fromkeys(HEADERS, free),
        **dict.fromkeys(("onset", "apex", "offset"), st.integers(1, 999).map(str)),
    }
    return draw(st.lists(st.fixed_dictionaries(row), min_size=1, max_size=5))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Fields in any order with foreign columns between them, and their headers in any spelling."""
    fields = draw(st.permutations([*HEADERS, "", ""]))
    headers = (HEADERS.get(name, f"Note {i}") for i, name in enumerate(fields))
    return fields, [draw(st.sampled_from(SPELLINGS))(header) for header in headers]


def laid_out(
    rows: list[dict[str, str]], layout: tuple[list[str], list[str]], above: int
) -> list[list[str]]:
    fields, headers = layout
    title = [["A title", *[""] * (len(fields) - 1)]] * above
    return [*title, headers, *([row.get(name, "x") for name in fields] for row in rows)]


@EXAMPLES
@given(codings(), layouts(), st.integers(0, 3), QUOTING)
def test_columns_are_found_wherever_they_stand(
    folder: Path,
    rows: list[dict[str, str]],
    layout: tuple[list[str], list[str]],
    above: int,
    quoting: int,
) -> None:
    """In any order and case, with blanks or underscores, below a title, beside other columns."""
    path = folder / "coding.csv"
    write_csv(path, laid_out(rows, layout, above), quoting=quoting)
    assert rows_of(path) == list(enumerate(rows, above + 2))


@FEWER
@given(codings(), layouts(), st.integers(0, 3))
def test_a_workbook_reads_as_the_same_table_in_csv(
    folder: Path, rows: list[dict[str, str]], layout: tuple[list[str], list[str]], above: int
) -> None:
    table = laid_out(rows, layout, above)
    write_csv(folder / "same.csv", table)
    write_xlsx(folder / "same.xlsx", table)
    assert rows_of(folder / "same.xlsx") == rows_of(folder / "same.csv")


@EXAMPLES
@given(codings(), st.sampled_from([",", ";", "\t", "|"]), QUOTING, st.sampled_from(ENCODINGS))
def test_every_common_delimiter_and_encoding_reads_the_same(
    folder: Path, rows: list[dict[str, str]], delimiter: str, quoting: int, encoding: str
) -> None:
    path = folder / "other.csv"
    table = [list(HEADERS.values()), *([row[name] for name in HEADERS] for row in rows)]
    text = "".join(cell for line in table for cell in line)
    assume(encoding not in ("gb18030", "cp1252") or text.isascii())
    write_csv(path, table, delimiter=delimiter, quoting=quoting, encoding=encoding)
    assert rows_of(path) == list(enumerate(rows, 2))


def test_a_quotation_mark_beside_another_delimiter_does_no_harm(folder: Path) -> None:
    row = dict.fromkeys(HEADERS, ";") | {"onset": "1", "apex": "1", "offset": "1", "emotion": ';"'}
    table = [list(HEADERS.values()), [row[name] for name in HEADERS]]
    write_csv(folder / "quoted.csv", table, delimiter=",")
    assert rows_of(folder / "quoted.csv") == [(2, row)]


@pytest.mark.parametrize(
    ("note", "encoding"),
    [
        *(("备注：眨眼", "gb18030"), ("備註", "gbk"), ("élève à côté", "cp1252")),
        *(("naïve", "latin-1"), ("übergroß; très", "utf-8-sig"), ("表情", "utf-16")),
    ],
)
def test_foreign_words_beside_the_codings_do_no_harm(
    folder: Path, note: str, encoding: str
) -> None:
    """And they are read as they were written: a name may be one of them."""
    path = folder / "foreign.csv"
    row = ["1", note, "3", "5", "9", "4", "others"]
    write_csv(path, [[*HEADERS.values(), "备注" if "gb" in encoding else "n"], [*row, note]],
              encoding=encoding)  # fmt: skip
    ((_, values),) = rows_of(path)
    assert values["clip"] == as_text(note) and values["emotion"] == "others"


@EXAMPLES
@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode), st.booleans())
def test_any_other_bytes_are_refused_by_name(folder: Path, data: bytes, workbook: bool) -> None:
    path = folder / ("bytes.xlsx" if workbook else "bytes.csv")
    path.write_bytes(data)
    with pytest.raises(UserError, match=path.name):
        read_sheet(path, SHEET)


def test_rows_keep_their_number_below_an_empty_line(folder: Path) -> None:
    """A message about row 4 must lead to row 4 of the file."""
    headers = list(HEADERS.values())
    line = ["1"] * len(headers)
    path = folder / "blank.csv"
    path.write_text("\n".join([",".join(headers), ",".join(line), "", ",".join(line)]))
    assert [row.number for row in read_sheet(path, SHEET)] == [2, 4]


@pytest.mark.parametrize("text", ["NA", "None", "null", "nan"])
def test_a_clip_named_like_nothing_keeps_its_name(folder: Path, text: str) -> None:
    path = folder / "named.xlsx"
    write_xlsx(path, [[text, "end"]])
    assert texts(read_cells(path)) == [[text, "end"]]
