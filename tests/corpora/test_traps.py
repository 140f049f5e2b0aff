"""Sheets and folders as they should not be: each is mended, dropped or refused, and said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import load_workbook

from deft_llm.clip import Interval
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.coding import RowPlace, read_aus, read_interval
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import SheetRow
from deft_llm.corpora.synthetic import Written, write_corpus
from deft_llm.errors import UserError

from .conftest import tiny

Edit = Callable[[Path, int, int, object], None]
SHEET = "CASME2-coding-20190701.xlsx"
# columns of CASME II's sheet, from 1
CLIP, ONSET, APEX, OFFSET, AUS, EMOTION = 2, 4, 5, 6, 8, 9


@pytest.fixture
def casme2(tmp_path: Path) -> tuple[Path, tuple[Written, ...]]:
    root = tmp_path / "CASME2"
    return root, write_corpus("casme2", root, subjects=2, clips=3, renderer=tiny)


def place() -> RowPlace:
    return RowPlace(Report(), "sheet.xlsx", 7, "clip")


@pytest.mark.parametrize(
    ("cells", "expected", "words"),
    [
        (("46", "59", "86"), Interval(46, 59, 86), ""),
        (("261", "/", "321"), Interval(261, 291, 321), "no apex"),
        (("261", "-1", "321"), Interval(261, 291, 321), "no apex"),
        (("1071", "1143", "1134"), Interval(1071, 1102, 1134), "apex outside"),
        (("4896", "1930", "4970"), Interval(4896, 4933, 4970), "apex outside"),
        (("1812", "1824", "0"), Interval(1812, 1824, 1824), "no offset"),
        (("302370", "302377", ""), Interval(302370, 302377, 302377), "no offset"),
        (("90", "95", "80"), Interval(90, 95, 95), "no offset"),
        (("0", "17", "25"), Interval(1, 17, 25), "numbered from 1"),
        (("10", "soon", "20"), Interval(10, 15, 20), "no frame number"),
        (("/", "5", "9"), None, "without onset"),
        (("90", "20", "30"), None, "neither apex nor offset"),
        (("90", "", ""), None, "neither apex nor offset"),
    ],
)
def test_intervals(cells: tuple[str, str, str], expected: Interval | None, words: str) -> None:
    where = place()
    row = SheetRow(7, dict(zip(("onset", "apex", "offset"), cells, strict=True)))
    assert read_interval(row, where, first_frame=1) == expected
    notes = [str(note) for note in where.report]
    assert any(words in note for note in notes) if words else not notes
    assert (where.report.count("dropped") > 0) == (expected is None)


@pytest.mark.parametrize(
    ("code", "expected", "remarks"),
    [
        ("15A+17", ("15", "17"), 0),
        ("(R6 or R12)+R15", ("R6", "R15"), 1),
        ("T28+14", ("14", "28"), 0),
        ("ref(7B)+43", ("43",), 1),
        ("R14+17+soft focus", ("R14", "17"), 0),
        ("R14A or 17A or 24A", ("R14",), 1),
        ("4+R99", (), 1),
        ("/", (), 0),
    ],
)
def test_au_codes(code: str, expected: tuple[str, ...], remarks: int) -> None:
    where = place()
    assert read_aus(code, where) == expected
    assert len(where.report) == remarks


def test_a_one_sided_code_is_told_as_coders_write_it() -> None:
    where = place()
    read_aus("(R6 or R12)+15", where)
    assert [note.why for note in where.report] == ["coders left it open: the first, R6"]


def test_a_missing_folder_shows_the_tree_and_whom_to_ask(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_corpus("casme2", tmp_path / "nowhere")
    assert "CASME2_RAW_selected/sub01" in str(error.value)
    assert "Chinese Academy of Sciences" in str(error.value)
    with pytest.raises(UserError, match="no sheet CASME2-coding"):
        load_corpus("casme2", tmp_path).read()


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'casme2'"):
        load_corpus("casme_2", tmp_path)


def test_moved_columns_are_found_by_name(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    root, written = casme2
    book = load_workbook(root / SHEET)
    book.worksheets[0].insert_cols(ONSET)
    book.save(root / SHEET)
    reading = load_corpus("casme2", root).read()
    assert reading.annotations == tuple(w.annotation for w in written)


@pytest.mark.parametrize("by", [1, -1])
def test_shifted_values_are_refused(casme2: tuple[Path, tuple[Written, ...]], by: int) -> None:
    root, _ = casme2
    book = load_workbook(root / SHEET)
    page = book.worksheets[0]
    page.move_range(f"{'C' if by < 0 else 'B'}2:J7", cols=by)
    book.save(root / SHEET)
    with pytest.raises(UserError, match="shifted"):
        load_corpus("casme2", root).read()


def test_a_missing_column_is_named(casme2: tuple[Path, tuple[Written, ...]], edit: Edit) -> None:
    root, _ = casme2
    edit(root / SHEET, 1, APEX, "Apex_Frames")
    with pytest.raises(UserError, match=r"no column 'ApexFrame'.*nearest header is 'Apex_Frames'"):
        load_corpus("casme2", root).read()
    edit(root / SHEET, 1, CLIP, "Recording")
    with pytest.raises(UserError, match="no column 'Filename'") as caught:
        load_corpus("casme2", root).read()
    said = str(caught.value)
    assert "(nor File, Clip, Clip Name" in said and "found 'Subject', 'Recording', " in said
    # No header is proposed that another field has already.
    assert "nearest" not in said


def test_a_damaged_sheet_is_named(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    root, _ = casme2
    (root / SHEET).write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match="20190701"):
        load_corpus("casme2", root).read()


def test_rows_that_cannot_be_used(casme2: tuple[Path, tuple[Written, ...]], edit: Edit) -> None:
    root, _ = casme2
    edit(root / SHEET, 2, EMOTION, "hapiness")
    edit(root / SHEET, 3, EMOTION, "Others")
    edit(root / SHEET, 4, CLIP, "EP09_09")
    reading = load_corpus("casme2", root).read()
    notes = {note.row: note for note in reading.report if note.row}
    assert notes[2].action == "dropped" and "nearest is 'happiness'" in notes[2].what
    assert notes[3].action == "mended" and "'others'" in notes[3].why
    assert notes[4].action == "dropped" and "no folder" in notes[4].what
    assert {e.row for e in reading.entries} == {3, 5, 6, 7}


def test_a_row_twice(casme2: tuple[Path, tuple[Written, ...]], edit: Edit) -> None:
    root, written = casme2
    first = load_workbook(root / SHEET).worksheets[0]
    for column in range(1, 11):
        edit(root / SHEET, 8, column, first.cell(2, column).value)
        edit(root / SHEET, 9, column, first.cell(2, column).value)
    edit(root / SHEET, 9, OFFSET, first.cell(2, OFFSET).value + 1)
    reading = load_corpus("casme2", root).read()
    assert len(reading.entries) == len(written)
    why = {note.row: note.why for note in reading.report}
    assert "the same row" in why[8] and "row 2 says otherwise" in why[9]


def test_a_subject_without_clips_is_named(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    root, _ = casme2
    shutil.rmtree(root / "CASME2_RAW_selected" / "sub02")
    reading = load_corpus("casme2", root).read()
    assert {a.subject for a in reading.annotations} == {"sub01"}
    assert any(n.what == "subject sub02" and n.action == "dropped" for n in reading.report)
    shutil.rmtree(root / "CASME2_RAW_selected" / "sub01")
    with pytest.raises(UserError, match="no clip can be used"):
        load_corpus("casme2", root).read()


def test_two_sheets_that_disagree(casme2: tuple[Path, tuple[Written, ...]], edit: Edit) -> None:
    root, written = casme2
    old = root / "CASME2-coding-20140508.xlsx"
    shutil.copy(root / SHEET, old)
    edit(old, 2, EMOTION, "disgust" if written[0].annotation.emotion != "disgust" else "others")
    book = load_workbook(old)
    book.worksheets[0].delete_rows(7)
    book.save(old)
    reading = load_corpus("casme2", root).read()
    assert reading.annotations == tuple(w.annotation for w in written)
    notes = [n for n in reading.report if n.action == "noted"]
    assert [n.row for n in notes] == [2, 7]
    assert "20140508.xlsx says" in notes[0].why and "not in CASME2-coding-2014" in notes[1].why


def test_a_second_sheet_of_another_kind(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    root, written = casme2
    (root / "CASME2-coding-2000.csv").write_text("a,b\n1,2\n")
    reading = load_corpus("casme2", root).read()
    assert len(reading.entries) == len(written)
    (note,) = reading.report
    assert note.file == "CASME2-coding-2000.csv" and "used alone" in note.why


def frames_of(written: Written) -> list[Path]:
    return sorted(written.folder.iterdir(), key=lambda p: int(p.stem.removeprefix("img")))


def test_gaps_ends_and_renumbered_frames(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    root, written = casme2
    gap, cut, renumbered = written[:3]
    intervals = [w.annotation.interval for w in written]
    assert all(i is not None for i in intervals)
    frames_of(gap)[gap.spec.curve.apex].unlink()
    for path in frames_of(cut)[cut.spec.curve.apex :]:
        path.unlink()
    curve = renumbered.spec.curve
    files = frames_of(renumbered)
    for path in files[: curve.onset] + files[curve.offset + 1 :]:
        path.unlink()
    for i, path in enumerate(files[curve.onset : curve.offset + 1]):
        path.rename(path.with_name(f"img{1_000_000 + i}.jpg"))
    reading = load_corpus("casme2", root).read()
    found = {e.annotation.clip: e.annotation.interval for e in reading.entries}
    apex, span = gap.spec.curve, Interval(0, curve.apex - curve.onset, curve.offset - curve.onset)
    # the frame after the gap takes the place of the one that is missing
    assert found[gap.annotation.clip] == Interval(apex.onset, apex.apex, apex.offset - 1)
    assert cut.annotation.clip not in found
    assert found[renumbered.annotation.clip] == span
    actions = {n.row: n.action for n in reading.report}
    assert actions == {2: "mended", 3: "dropped", 4: "mended"}


def test_a_hole_in_the_frames_is_told(casme2: tuple[Path, tuple[Written, ...]]) -> None:
    """The next frame that is there may show another moment, and time would seem shorter."""
    root, written = casme2
    at_apex, inside = written[:2]
    for path in frames_of(at_apex)[at_apex.spec.curve.apex :][:4]:
        path.unlink()
    curve = inside.spec.curve
    for path in frames_of(inside)[curve.apex + 1 : curve.offset - 1 : 2]:
        path.unlink()
    gone = len(range(curve.apex + 1, curve.offset - 1, 2))
    reading = load_corpus("casme2", root).read()
    notes = {(n.row, n.action): f"{n.what}; {n.why}" for n in reading.report}
    assert "and none near it" in notes[2, "dropped"]
    assert (2, "noted") not in notes  # of a clip that is dropped nothing is read
    assert f": {gone} of {curve.offset - curve.onset + 1} frames from onset" in notes[3, "noted"]
    assert len(reading.entries) == len(written) - 1


def test_frames_counted_from_zero(tmp_path: Path) -> None:
    written = write_corpus("casme3", tmp_path, subjects=1, clips=2, renderer=tiny)
    folder = written[0].folder
    for path in sorted(folder.iterdir(), key=lambda p: int(p.stem)):
        path.rename(path.with_name(f"{int(path.stem) - 1}.jpg"))
    reading = load_corpus("casme3", tmp_path).read()
    assert reading.annotations == tuple(w.annotation for w in written)
    assert reading.report.count("mended") == 2


def test_smic_without_a_sheet(tmp_path: Path) -> None:
    clip = tmp_path / "SMIC_all_cropped" / "HS" / "s3" / "micro" / "surprise" / "s3_sur_01"
    written = write_corpus("smic_hs", tmp_path / "full", subjects=1, clips=2, renderer=tiny)
    clip.parent.mkdir(parents=True)
    shutil.copytree(written[0].folder, clip)
    shutil.rmtree(tmp_path / "full")
    (entry,) = load_corpus("smic_hs", tmp_path).read().entries
    last = written[0].spec.curve.frames - 1
    assert entry.annotation.interval == Interval(0, last // 2, last)
    assert (entry.annotation.subject, entry.annotation.emotion) == ("s03", "surprise")


def test_casme_squared_codings(tmp_path: Path, edit: Edit) -> None:
    written = write_corpus("casme_squared", tmp_path, subjects=2, clips=2, renderer=tiny)
    sheet = tmp_path / "CAS(ME)^2code_final.xlsx"
    edit(sheet, 1, 8, "macro-expression")
    edit(sheet, 2, 5, 0)  # no offset
    edit(sheet, 3, 3, 0)  # before the video
    reading = load_corpus("casme_squared", tmp_path).read()
    assert [e.row for e in reading.entries] == [2, 4]
    interval = reading.annotations[0].interval
    assert interval is not None and interval.apex == interval.offset
    assert [n.action for n in reading.report] == ["mended", "dropped"]
    assert reading.annotations[1] == written[3].annotation


def test_several_emotions_of_one_clip(tmp_path: Path, edit: Edit) -> None:
    write_corpus("four_dme", tmp_path, subjects=1, clips=4, renderer=tiny)
    sheet = tmp_path / "4DME_Labelling_Micro_release v1.xlsx"
    edit(sheet, 2, 7, "Negative+Repression")
    edit(sheet, 3, 7, "Positive+Surprise")
    edit(sheet, 4, 6, "AU4+AU7(k)")
    first, second, third, _ = load_corpus("four_dme", tmp_path).read().annotations
    assert (first.emotion, second.emotion, third.aus) == ("negative", None, ("4",))


def test_megc2019_by_rule_and_by_list(tmp_path: Path) -> None:
    written = write_corpus("megc2019", tmp_path, subjects=3, clips=5, renderer=tiny)
    listing = tmp_path / "combined_3class_gt.csv"
    lines = listing.read_text().splitlines()
    listing.unlink()
    by_rule = load_corpus("megc2019", tmp_path).read()
    assert by_rule.annotations == tuple(w.annotation for w in written)
    wrong = lines[1][:-1] + str((int(lines[1][-1]) + 1) % 3)
    listing.write_text("\n".join([wrong, *lines[2:], "samm,99,099_1_1,0"]) + "\n")
    by_list = load_corpus("megc2019", tmp_path).read()
    assert by_list.annotations == by_rule.annotations[2:]
    reasons = [n.why for n in by_list.report if n.action == "dropped"]
    assert len(reasons) == 3
    assert any("list says" in why for why in reasons) and any("not among" in why for why in reasons)
    listing.write_text("\n".join(lines).replace("EP0", "ep").replace("_0", "_") + "\n")
    assert load_corpus("megc2019", tmp_path).read().annotations == by_rule.annotations
    listing.write_text("\n".join([*lines, wrong]) + "\n")
    with pytest.raises(UserError, match=r"row \d+: clip .* is listed as .* above and as .* here"):
        load_corpus("megc2019", tmp_path).read()
