"""Sheets as they lie on people's disks: read as they are, or refused by name."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.utils.datetime import from_excel

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.coding import RowPlace, au_code, read_aus
from deft_llm.corpora.people import subject_number
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import number_of_date
from deft_llm.corpora.synthetic import Written
from deft_llm.errors import UserError
from tests.corpora.on_disk import (
    APEX,
    AUS,
    CLIP,
    EMOTION,
    OFFSET,
    ONSET,
    SHEET,
    SUBJECT,
    Table,
    read_all,
    save,
    save_csv,
    table_of,
)


def other_worksheet(root: Path) -> None:
    table, book = table_of(root), Workbook()
    book.worksheets[0].append(["CASME II, see the other worksheet"])
    page = book.create_sheet("Coding")
    for line in table:
        page.append(line)
    book.create_sheet("counts").append(["Subject", "clips"])
    book.save(root / SHEET)


def shifted(root: Path) -> None:
    table = table_of(root)
    save(root, [["CASME II"], [], ["coded by two", None, "2013"], *([None, *x] for x in table)])


def spelled(root: Path) -> None:
    head, *rows = table_of(root)
    head = ["SUBJECT_ID", "File name", None, "onset frame", "Apex-Frame", "OFFSET", None, "AUs"]
    save(root, [[*head, "emotion"], *rows])


def two_rows_of_headers(root: Path) -> None:
    head, *rows = table_of(root)
    above = ["Subject", "Filename", None, "Frames", None, None, None, "Action Units", head[EMOTION]]
    below = [None, None, None, "Onset", "Apex", "Offset"]
    save(root, [above, below, *rows])


def in_chinese(root: Path) -> None:
    _, *rows = table_of(root)
    head = ["被试", "文件名", None, "起始帧", "顶点帧", "结束帧", None, "动作单元", "情绪"]
    words = {
        **{"happiness": "高兴", "disgust": "厌恶", "repression": "压抑"},
        **{"surprise": "惊讶", "others": "其他"},
    }
    for row in rows:
        row[EMOTION] = words[row[EMOTION]]
        wide = str.maketrans("0123456789+", "０１２３４５６７８９＋")
        for column in (SUBJECT, ONSET, APEX, OFFSET, AUS):
            row[column] = str(row[column]).translate(wide)
    save(root, [head, *rows])


def adjectives(root: Path) -> None:
    head, *rows = table_of(root)
    words = {"happiness": "Happy", "disgust": "Disgusted", "surprise": "SURPRISED"}
    for row in rows:
        row[EMOTION] = words.get(row[EMOTION], f" {row[EMOTION].upper()} ")
    save(root, [head, *rows])


def spelled_people(root: Path) -> None:
    head, *rows = table_of(root)
    names = ["1", 1.0, "Sub02", "s2", " Subject 3 ", "０３"]
    save(root, [head, *([name, *row[1:]] for name, row in zip(names, rows, strict=True))])


def merged(root: Path) -> None:
    book = load_workbook(root / SHEET)
    page = book.worksheets[0]
    for first in (2, 4, 6):
        page.merge_cells(start_row=first, end_row=first + 1, start_column=1, end_column=1)
    book.save(root / SHEET)


def units(root: Path) -> None:
    head, *rows = table_of(root)
    for row in rows:
        row[AUS] = ", ".join(f"AU {code}" for code in str(row[AUS]).split("+"))
    save(root, [head, *rows])


def files(root: Path) -> None:
    head, *rows = table_of(root)
    for row, form in zip(rows, ("{}.avi", "sub01/{}", "D:\\x\\{}.AVI", "{} ", "{}", "{}"),
                         strict=True):  # fmt: skip
        row[CLIP] = form.format(row[CLIP])
    save(root, [head, *rows])


def floats(root: Path) -> None:
    """As pandas writes a column with a gap, with its index."""
    head, *rows = table_of(root)
    for i, row in enumerate(rows):
        for column in (SUBJECT, ONSET, APEX, OFFSET):
            row[column] = f"{float(row[column])}"
        row.insert(0, i)
    save_csv(root, [["", *(h or "" for h in head)], *rows])


def commas_in_decimals(root: Path) -> None:
    head, *rows = table_of(root)
    for row in rows:
        for column in (SUBJECT, ONSET, APEX, OFFSET):
            row[column] = f"{int(row[column])},0"
    save_csv(root, [head, *rows], delimiter=";")


def with_a_title(root: Path) -> None:
    save_csv(root, [["sep=;"], ["CASME II"], [], *table_of(root)], delimiter=";")


def excels_unicode_text(root: Path) -> None:
    save_csv(root, table_of(root), "utf-16", delimiter="\t", lineterminator="\r\n")
    csv_file = root / SHEET.replace("xlsx", "csv")
    csv_file.rename(csv_file.with_suffix(".txt"))


def notes_in_gbk(root: Path) -> None:
    head, *rows = table_of(root)
    save_csv(root, [[*head, "备注"], *([*row, "眨眼，头动"] for row in rows)], "gbk")


def notes_in_latin_1(root: Path) -> None:
    head, *rows = table_of(root)
    save_csv(root, [[*head, "remarque"], *([*row, "tête penchée"] for row in rows)], "latin-1")


def called_xls(root: Path) -> None:
    save_csv(root, table_of(root), delimiter="\t")
    csv_file = root / SHEET.replace("xlsx", "csv")
    csv_file.rename(csv_file.with_suffix(".xls"))


def old_line_ends(root: Path) -> None:
    save_csv(root, table_of(root), lineterminator="\r")


def unseen_characters(root: Path) -> None:
    head, *rows = table_of(root)
    head[SUBJECT] = "\ufeffSubject\u200b"
    for row in rows:
        row[CLIP], row[EMOTION] = f"\u200b{row[CLIP]}\xa0", f"\u3000{row[EMOTION]}\u200b"
    save(root, [head, *rows])


def as_open_document(root: Path) -> None:
    """As LibreOffice saves it: repeated and merged cells, and a million empty rows behind."""
    table, page = table_of(root), []
    for number, line in enumerate(table):
        cells = []
        for column, cell in enumerate(line):
            if column == SUBJECT and number in (2, 4, 6):
                cells.append("<table:covered-table-cell/>")
                continue
            span = 2 if column == SUBJECT and number else 1
            cells.append(open_document_cell(cell, span))
        page.append(f"<table:table-row>{''.join(cells)}</table:table-row>")
    empty = '<table:table-cell table:number-columns-repeated="16374"/>'
    page.append(f'<table:table-row table:number-rows-repeated="1048570">{empty}</table:table-row>')
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    inside = f'<table:table table:name="工作表1">{"".join(page)}</table:table>'
    content = f"<office:document-content{names}>{inside}</office:document-content>"
    with ZipFile(root / "CASME2-coding-20190701.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
    (root / SHEET).unlink()


def open_document_cell(cell: Any, span: int) -> str:
    if cell is None:
        return '<table:table-cell table:number-columns-repeated="1"/>'
    spanned = f' table:number-rows-spanned="{span}"' if span > 1 else ""
    if isinstance(cell, int):
        value = f'office:value-type="float" office:value="{cell}"'
        return f"<table:table-cell {value}{spanned}/>"
    # LibreOffice writes a comment on a cell before its text.
    comment = "<office:annotation><text:p>see row 12</text:p></office:annotation>"
    text = f"{comment}<text:p>{cell}</text:p>"
    return f'<table:table-cell office:value-type="string"{spanned}>{text}</table:table-cell>'


def called_csv(root: Path) -> None:
    (root / SHEET).rename(root / SHEET.replace("xlsx", "csv"))


def other_name(root: Path) -> None:
    (root / "Annotation").mkdir()
    (root / SHEET).rename(root / "Annotation" / "casme2_coding 20190701.XLSX")


def other_word_for_people(root: Path) -> None:
    head, *rows = table_of(root)
    head[SUBJECT] = "Participant No."
    save(root, [head, *rows])


def test_columns_of_apexes_and_units_may_be_missing(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    """They are read as columns of empty cells, and the report says so once."""
    root, written = casme2
    save(root, [[c for k, c in enumerate(x) if k not in (APEX, AUS)] for x in table_of(root)])
    reading = load_corpus("casme2", root).read(frames=False)
    assert len(reading.entries) == len(written)
    for coding in reading.annotations:
        i = coding.interval
        assert i is not None and i.apex == (i.onset + i.offset) // 2 and coding.aus == ()
    noted = [note.what for note in reading.report if note.action == "noted"]
    assert noted == ["no column 'ApexFrame'", "no column 'Action Units'"]


@pytest.mark.parametrize(
    "change",
    [
        *(other_worksheet, shifted, spelled, two_rows_of_headers, in_chinese, adjectives, merged),
        other_word_for_people,
        *(spelled_people, units, files, floats, commas_in_decimals, with_a_title, notes_in_gbk),
        *(
            old_line_ends,
            unseen_characters,
            excels_unicode_text,
            notes_in_latin_1,
            called_xls,
            called_csv,
            as_open_document,
            other_name,
        ),
    ],
)
def test_a_sheet_is_read_as_people_have_it(
    casme2: tuple[Path, tuple[Written, ...]], change: Callable[[Path], None]
) -> None:
    root, written = casme2
    change(root)
    read_all("casme2", root, written)


@pytest.mark.parametrize(
    ("row", "column", "cell", "words"),
    [
        (2, SUBJECT, None, "an empty subject cell"),
        (2, CLIP, None, "an empty clip cell"),
        (2, SUBJECT, "Total", "subject 'Total' is no number"),
        (2, SUBJECT, "1a", "subject '1a' is no number"),
        (2, SUBJECT, 1.5, "subject '1.5' is no number"),
        (
            2,
            CLIP,
            datetime.datetime(2024, 8, 4),
            "clip '2024-08-04 00:00:00': the spreadsheet made",
        ),
        (2, ONSET, datetime.datetime(2024, 12, 1), "without onset"),
        (2, EMOTION, "tense", "emotion 'tense' is none of"),
    ],
)
def test_a_row_that_names_nobody_is_refused_by_name(
    casme2: tuple[Path, tuple[Written, ...]], row: int, column: int, cell: Any, words: str
) -> None:
    root, written = casme2
    table = table_of(root)
    table[row][column] = cell
    save(root, table)
    reading = load_corpus("casme2", root).read()
    (note,) = (n for n in reading.report if n.action == "dropped")
    assert note.row == row + 1 and words in f"{note.what}; {note.why}"
    assert {e.row for e in reading.entries} == {2, 3, 4, 5, 6, 7} - {row + 1}
    assert {a.subject for a in reading.annotations} <= {w.annotation.subject for w in written}


def test_rows_of_totals_and_notes_are_no_clips(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, written = casme2
    foot: Table = [
        ["Total", 6],
        ["合计", "6"],
        [None, None, None, None, None, None, None, None, "100 %"],
    ]
    save(root, [*table_of(root), [], *foot])
    reading = load_corpus("casme2", root).read()
    assert reading.annotations == tuple(w.annotation for w in written)
    assert [n.row for n in reading.report if n.action == "dropped"] == [9, 10, 11]


def test_a_number_shown_as_a_date_is_the_number(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, written = casme2
    table = table_of(root)
    table[1][APEX] = from_excel(table[1][APEX])
    save(root, table)
    reading = load_corpus("casme2", root).read()
    assert reading.annotations == tuple(w.annotation for w in written)
    assert "shows as a date" in next(iter(reading.report)).why


def test_numbers_of_dates_are_those_of_spreadsheets() -> None:
    for number in [*range(1, 60), *range(61, 30_000, 7), 36_525]:
        assert number_of_date(str(from_excel(number))) == number
    assert number_of_date("2024-08-04 00:00:00") is None  # somebody wrote 8-4
    assert number_of_date("46") is None


def test_a_quotation_mark_that_is_never_closed_is_told(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    """The rest of the file would be one cell, and half of the clips gone without a word."""
    root, _ = casme2
    save_csv(root, table_of(root))
    path = root / SHEET.replace("xlsx", "csv")
    lines = path.read_text().splitlines()
    lines[3] = '"' + lines[3]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="never closed"):
        load_corpus("casme2", root).read()


def test_a_web_page_under_the_name_of_a_workbook_is_told(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, _ = casme2
    page = '\n<table border="1"><tr><td>Subject</td><td>"</td></tr></table>'
    (root / SHEET).write_text(page)
    with pytest.raises(UserError, match=r"a web page or XML under this name; save it as \.xlsx"):
        load_corpus("casme2", root).read()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1", 1), ("1.0", 1), ("1,0", 1), ("001", 1), ("sub1", 1), ("Sub01", 1), ("SUB 1", 1)),
        *(("s1", 1), ("S_01", 1), ("spNO.1", 1), ("subject-12", 12), ("Participant No. 7", 7)),
        *(("#3", 3), ("NO.12", 12)),
    ],
)
def test_spellings_of_one_person(text: str, number: int) -> None:
    assert subject_number(text) == number


@pytest.mark.parametrize("text", ["", "a1", "1.5", "1,000", "1-2", "sub", "01_2", "p1", "1 2"])
def test_what_may_be_two_people_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no number"):
        subject_number(text)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        *(("AU4 + AU7", "4 7"), ("AU4&7", "4 7"), ("4 and 7", "4 7"), ("AU4AU7", "4 7")),
        *(("4 7", "4 7"), ("au4;au7", "4 7"), ("4+7+", "4 7"), ("L4+R10", "L4 R10")),
        *(("4L+10R", "L4 R10"), ("AU4L, AU10", "L4 10"), ("AUL4", "L4"), ("4D+7B", "4 7")),
        *(("4+?", "4"), ("?", ""), ("N/A", ""), ("none", ""), ("10A/B", "10"), ("12C", "12")),
    ],
)
def test_units_in_the_spellings_of_coders(text: str, codes: str) -> None:
    place = RowPlace(Report(), "sheet.xlsx", 7, "clip")
    assert read_aus(au_code(text), place) == tuple(codes.split())
    assert not any("left empty" in note.why for note in place.report)


@pytest.mark.parametrize("text", ["4.7", "4/7", "4-7", "47", "L", "left 4"])
def test_a_code_that_may_be_several_things_is_left_empty(text: str) -> None:
    place = RowPlace(Report(), "sheet.xlsx", 7, "clip")
    assert read_aus(au_code(text), place) == ()
    assert all("left empty" in note.why for note in place.report) and len(place.report) == 1


def test_a_sheet_under_another_name_is_named(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    root, _ = casme2
    (root / SHEET).rename(root / "my labels.xlsx")
    with pytest.raises(UserError, match=r"only my labels.xlsx: if that is it, call it CASME2-cod"):
        load_corpus("casme2", root).read()
    with pytest.raises(UserError, match="a file; give the folder of CASME II that holds it"):
        load_corpus("casme2", root / "my labels.xlsx")


def test_an_old_workbook_says_what_reads_it(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    """The extra that reads .xlsx does not."""
    root, _ = casme2
    (root / SHEET).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
    with pytest.raises(UserError, match=r"pip install xlrd, or save it|not readable as a sheet"):
        load_corpus("casme2", root).read()


def test_a_worksheet_for_each_subject_is_told(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    """The first alone is read; the clips of all others were gone without a word."""
    root, written = casme2
    head, *rows = table_of(root)
    book = Workbook()
    book.worksheets[0].title = "sub01"
    for k in range(3):
        page = book.worksheets[0] if k == 0 else book.create_sheet(f"被试0{k + 1}")
        for line in (head, *rows[2 * k : 2 * k + 2]):
            page.append(line)
    book.save(root / SHEET)
    reading = load_corpus("casme2", root).read()
    assert reading.annotations == tuple(w.annotation for w in written[:2])
    (note,) = reading.report
    assert note.what == "worksheets with the same columns: 被试02, 被试03" and not note.row
