"""Sheets and folders as they lie on people's disks: found as they are, or refused by name."""

from __future__ import annotations

import csv
import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.utils.datetime import from_excel

from deft_llm.corpora.base import CORPORA, load_corpus
from deft_llm.corpora.people import subject_number
from deft_llm.corpora.reading import Reading
from deft_llm.corpora.sheets import number_of_date
from deft_llm.corpora.synthetic import Written, write_corpus
from deft_llm.errors import UserError

from .conftest import tiny

Table = list[list[Any]]
SHEET = "CASME2-coding-20190701.xlsx"
RAW = "CASME2_RAW_selected"
SUBJECT, CLIP, ONSET, APEX, OFFSET, AUS, EMOTION = 0, 1, 3, 4, 5, 7, 8  # columns


@pytest.fixture
def casme2(tmp_path: Path) -> tuple[Path, tuple[Written, ...]]:
    root = tmp_path / "CASME2"
    return root, write_corpus("casme2", root, subjects=3, clips=2, renderer=tiny)


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


# ------------------------------------------------------------------------------------- sheets


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


def called_csv(root: Path) -> None:
    (root / SHEET).rename(root / SHEET.replace("xlsx", "csv"))


def other_name(root: Path) -> None:
    (root / "Annotation").mkdir()
    (root / SHEET).rename(root / "Annotation" / "casme2_coding 20190701.XLSX")


@pytest.mark.parametrize(
    "change",
    [
        *(other_worksheet, shifted, spelled, two_rows_of_headers, in_chinese, adjectives, merged),
        *(spelled_people, units, files, floats, commas_in_decimals, with_a_title, notes_in_gbk),
        *(
            old_line_ends,
            unseen_characters,
            excels_unicode_text,
            notes_in_latin_1,
            called_xls,
            called_csv,
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


# ------------------------------------------------------------------------------------- folders


def capital(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw / folder.name.capitalize())


def unpadded(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw / folder.name.replace("sub0", "sub"))


def numbers(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw / folder.name.replace("sub", ""))


def deeper(raw: Path) -> None:
    (raw.parent / "archive" / "x").mkdir(parents=True)
    raw.rename(raw.parent / "archive" / "x" / "Cropped")


def shallower(raw: Path) -> None:
    for folder in list(raw.iterdir()):
        folder.rename(raw.parent / folder.name)
    raw.rmdir()


def flat(raw: Path) -> None:
    for folder in list(raw.glob("*/*")):
        folder.rename(raw / f"{folder.parent.name}_{folder.name}")


def nested(raw: Path) -> None:
    for folder in list(raw.glob("*/*")):
        (folder / "frames" / "rgb").mkdir(parents=True)
        for file in folder.glob("*.jpg"):
            file.rename(folder / "frames" / "rgb" / file.name)
        (folder / "flow").mkdir()


def upper(raw: Path) -> None:
    for folder in sorted(raw.rglob("*"), reverse=True):
        folder.rename(folder.with_name(folder.name.upper()))


def unpacked_on_a_mac(raw: Path) -> None:
    """Leftovers that look like the clips, and hidden twins of every frame."""
    shutil.copytree(raw, raw.parent / "__MACOSX" / raw.name)
    for file in [f for f in raw.rglob("*.jpg") if "__MACOSX" not in f.parts]:
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7")


def films_beside(raw: Path) -> None:
    for folder in list(raw.glob("*/*")):
        (folder / f"{folder.name}.avi").write_bytes(b"RIFF")
        (folder / "Thumbs.db").write_bytes(b"")
    shutil.copytree(raw, raw.parent / "CASME2_compressed")
    for file in (raw.parent / "CASME2_compressed").rglob("*.jpg"):
        file.unlink()


def resized(raw: Path) -> None:
    for file in list(raw.rglob("*.jpg")):
        file.rename(file.with_name(f"reg_{file.stem}_224x224.jpg"))


def linked(raw: Path) -> None:
    elsewhere = raw.parent.parent / "disk"
    raw.rename(elsewhere)
    raw.symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "again").symlink_to(raw.parent, target_is_directory=True)  # a circle


def an_overview(raw: Path) -> None:
    for folder in raw.glob("*/*"):
        shutil.copy(next(folder.iterdir()), folder / "overview.jpg")


@pytest.mark.parametrize(
    "change",
    [
        *(capital, unpadded, numbers, deeper, shallower, flat, upper, unpacked_on_a_mac, resized),
        *(films_beside, linked, an_overview, nested),
    ],
)
def test_frames_are_found_where_people_keep_them(
    casme2: tuple[Path, tuple[Written, ...]], change: Callable[[Path], None]
) -> None:
    root, written = casme2
    change(root / RAW)
    read_all("casme2", root, written)


def test_raw_frames_are_preferred_to_cropped_ones(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, written = casme2
    shutil.copytree(root / RAW, root / "Cropped")
    assert all(
        e.folder is not None and RAW in e.folder.parts
        for e in read_all("casme2", root, written).entries
    )


def test_a_folder_that_two_people_could_own_is_refused(
    casme2: tuple[Path, tuple[Written, ...]],
) -> None:
    root, _ = casme2
    raw = root / RAW
    (raw / "sub01").rename(raw / "Sub1")
    shutil.copytree(raw / "Sub1", raw / "SUB001")
    reading = load_corpus("casme2", root).read()
    assert {a.subject for a in reading.annotations} == {"sub02", "sub03"}
    note = next(n for n in reading.report if n.action == "dropped")
    assert "SUB001" in note.what and "Sub1" in note.what and "both fit" in note.what


def two_kinds(folder: Path) -> str:
    for file in list(folder.iterdir()):
        shutil.copy(file, folder / f"reg_{file.name}")
    return "images of two kinds"


def in_between(folder: Path) -> str:
    shutil.copy(next(folder.iterdir()), folder / "img40 copy.jpg")
    return "img40 copy.jpg lies between the frames"


def a_film_alone(folder: Path) -> str:
    for file in list(folder.iterdir()):
        file.unlink()
    (folder / "clip.avi").write_bytes(b"RIFF")
    return "no images in this folder"


def nothing(folder: Path) -> str:
    shutil.rmtree(folder)
    return "no folder sub01/EP01_01f"


@pytest.mark.parametrize("change", [two_kinds, in_between, a_film_alone, nothing])
def test_the_reason_is_that_of_the_first_row_that_is_dropped(
    tmp_path: Path, change: Callable[[Path], str]
) -> None:
    """And not of one that was mended before it."""
    written = write_corpus("casme2", tmp_path, subjects=1, clips=2, renderer=tiny)
    table = table_of(tmp_path)
    table[1][EMOTION] = table[1][EMOTION].upper()
    save(tmp_path, table)
    words = change(written[0].folder)
    shutil.rmtree(written[1].folder)
    with pytest.raises(UserError, match=r"no clip can be used \(dropped .*row 2") as error:
        load_corpus("casme2", tmp_path).read()
    assert words in str(error.value)


# ------------------------------------------------------------------------------- other corpora


def test_the_clips_of_casme3(tmp_path: Path) -> None:
    """Its micro-expressions come as folders of their own, named by subject, video and onset."""
    written = write_corpus("casme3", tmp_path, subjects=2, clips=2, renderer=tiny)
    clips = tmp_path / "Part_A_ME_clip" / "Part_A_ME_clip" / "frame"
    for clip in written:
        i, a = clip.annotation.interval, clip.annotation
        assert i is not None
        target = clips / a.clip
        target.mkdir(parents=True)
        for number in range(i.onset + 1, i.offset + 2):
            shutil.copy(clip.folder / f"{number}.jpg", target)
        shutil.copytree(target, tmp_path / "Part_A_ME_clip" / "depth" / a.clip)
        shutil.copytree(target, tmp_path / "b" / a.subject / a.clip.split("_")[1] / "depth",
                        dirs_exist_ok=True)  # fmt: skip
    shutil.rmtree(tmp_path / "data")
    sheet = next(tmp_path.glob("*.xlsx"))
    sheet.rename(tmp_path / sheet.name.upper().replace("XLSX", "xlsx"))
    reading = load_corpus("casme3", tmp_path).read()
    assert [a.clip for a in reading.annotations] == [w.annotation.clip for w in written]
    assert all(e.folder is not None and e.folder.parent == clips for e in reading.entries)
    assert all(a.interval and a.interval.onset == 0 for a in reading.annotations)


@pytest.mark.parametrize("layout", ["clips alone", "numbers", "short names"])
def test_samm(tmp_path: Path, layout: str) -> None:
    written = write_corpus("samm", tmp_path, subjects=2, clips=2, renderer=tiny)
    for clip in written:
        if layout == "clips alone":
            target = tmp_path / "SAMM_CROP" / clip.folder.name
            target.parent.mkdir(exist_ok=True)
            clip.folder.rename(target)
        elif layout == "short names":
            clip.folder.rename(clip.folder.with_name(clip.folder.name.lstrip("0")))
    for folder in tmp_path.glob("00*"):
        if layout == "numbers":
            folder.rename(tmp_path / folder.name.lstrip("0"))
        elif layout == "clips alone":
            folder.rmdir()
    sheet = tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = load_workbook(sheet)
    if layout == "short names":
        for line in book.worksheets[0].iter_rows(min_row=7):
            line[1].value = str(line[1].value).lstrip("0")
    book.save(sheet)
    read_all("samm", tmp_path, written)


def test_the_cameras_of_smic_are_kept_apart(tmp_path: Path) -> None:
    """All three filmed the same people, in folders of the same names."""
    written = write_corpus("smic_vis", tmp_path, subjects=2, clips=2, renderer=tiny)
    write_corpus("smic_hs", tmp_path / "other", subjects=2, clips=2, renderer=tiny)
    for path in list((tmp_path / "other").iterdir()):
        path.rename(tmp_path / path.name)
    shutil.rmtree(tmp_path / "VIS_long")
    with pytest.raises(UserError):
        load_corpus("smic_vis", tmp_path).read()
    assert len(load_corpus("smic_hs", tmp_path).read().entries) == len(written)


@pytest.mark.parametrize("name", [name for name in CORPORA if name != "megc2019"])
def test_every_corpus_keeps_its_people_apart(name: str, tmp_path: Path) -> None:
    """Whatever the sheet calls them, and in whatever file of whatever depth it lies."""
    written = write_corpus(name, tmp_path / "c", subjects=2, clips=2, renderer=tiny)
    (tmp_path / "root" / "download").mkdir(parents=True)
    (tmp_path / "c").rename(tmp_path / "root" / "download" / "copy")
    for sheet in (tmp_path / "root").rglob("*.xlsx"):
        book = load_workbook(sheet)
        page = book.worksheets[0]
        for line in page.iter_rows():
            cell = line[0]
            if cell.value is not None and str(cell.value).isdigit():
                cell.value = float(cell.value) if cell.row % 2 else f"Sub {int(cell.value)}"
        book.save(sheet)
    reading = load_corpus(name, tmp_path / "root").read()
    assert [a.clip for a in reading.annotations] == [w.annotation.clip for w in written]
    assert [a.subject for a in reading.annotations] == [w.annotation.subject for w in written]


@pytest.mark.parametrize("name", [name for name in CORPORA if name != "megc2019"])
def test_an_empty_subject_is_refused_in_every_corpus(name: str, tmp_path: Path) -> None:
    write_corpus(name, tmp_path, subjects=2, clips=2, renderer=tiny)
    sheet = next(iter(load_corpus(name, tmp_path).sheets()))
    book = load_workbook(sheet)
    page = book.worksheets[0]
    page.cell(page.max_row, 1).value = None
    book.save(sheet)
    reading = load_corpus(name, tmp_path).read()
    assert len(reading.entries) == 3
    assert [n.row for n in reading.report if "empty subject cell" in n.what] == [page.max_row]


def test_the_worksheets_of_casme_squared(tmp_path: Path) -> None:
    """A header that somebody put above the sheet that has none; worksheets in another order."""
    written = write_corpus("casme_squared", tmp_path, subjects=2, clips=2, renderer=tiny)
    sheet = next(tmp_path.glob("*.xlsx"))
    book = load_workbook(sheet)
    page = book.worksheets[0]
    page.insert_rows(1)
    heads = ("Subject", "Video", "Onset", "Apex", "Offset", "AU", "Emotion", "Type", "Felt")
    for column, head in enumerate(heads, 1):
        page.cell(1, column).value = head
    for other, name in zip(book.worksheets[1:], ("Naming Rule 1", "naming_rule2"), strict=True):
        other.title = name
    book.move_sheet(page, 2)
    book.save(sheet)
    sheet.rename(tmp_path / "cas(me)2code_final (1).xlsx")
    read_all("casme_squared", tmp_path, written)


def test_the_list_of_megc2019_in_other_spellings(tmp_path: Path) -> None:
    written = write_corpus("megc2019", tmp_path, subjects=2, clips=3, renderer=tiny)
    listing = tmp_path / "combined_3class_gt.csv"
    rows = list(csv.reader(listing.open(encoding="utf-8")))
    names = {"casme2": "CASME II", "smic": "SMIC-HS", "samm": "SAMM"}
    spelled = [
        [names[dataset], subject.lstrip("sub0"), clip, f"{label}.0"]
        for dataset, subject, clip, label in rows
    ]
    with (tmp_path / "Combined_3class.csv").open("w", encoding="utf-16", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["dataset", "subject", "clip", "class"]])
        csv.writer(file, delimiter="\t").writerows(spelled)
    listing.unlink()
    read_all("megc2019", tmp_path, written)
