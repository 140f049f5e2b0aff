"""Each corpus in the spellings and layouts that people have; its people are kept apart."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from openpyxl import load_workbook

from deft_llm.corpora.base import CORPORA, load_corpus
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.errors import UserError
from tests.corpora.on_disk import (
    read_all,
)

from .conftest import tiny


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
