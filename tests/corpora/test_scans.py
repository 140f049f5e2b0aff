"""Datasets of scans: what is written in a layout is what its reader finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.corpora import scan_layouts
from deft_llm.corpora.scan_layouts import ScanLayoutSettings, write_scan_corpus
from deft_llm.corpora.scans import SCAN_CORPORA, load_scan_corpus
from deft_llm.errors import UserError
from deft_llm.scans.normalise import normalise
from deft_llm.scans.reading import read_scan, read_sequence
from deft_llm.simulator.scan_sets import Performance

TWO = ScanLayoutSettings(subjects=2, frames=4)


@pytest.fixture
def without_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layouts alone, with empty files."""

    def touch(path: Path, performance: Performance) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in range(len(performance.curve)):
            path.with_name(path.name.format(n=number)).touch()

    monkeypatch.setattr(scan_layouts, "_write_item", touch)


@pytest.mark.parametrize(
    ("name", "entries", "expressions"),
    [("bu3dfe", 50, 7), ("bosphorus", 14, 7), ("bu4dfe", 12, 6), ("bp4d", 4, 2)],
)
def test_layouts(
    tmp_path: Path, without_scans: None, name: str, entries: int, expressions: int
) -> None:
    written = write_scan_corpus(name, tmp_path / name, TWO, workers=1)
    listing = load_scan_corpus(name, tmp_path / name).read()
    assert len(listing.entries) == entries <= written
    assert len({entry.subject for entry in listing.entries}) == 2
    assert len({entry.expressions for entry in listing.entries}) == expressions
    assert not len(listing.report)
    if name == "bu3dfe":
        assert {entry.level for entry in listing.entries} == {0, 1, 2, 3, 4}
        assert "intensities 1: 12" in listing.lines()[2]


def test_4dme_keeps_every_emotion_of_a_clip(tmp_path: Path, without_scans: None) -> None:
    pytest.importorskip("openpyxl")
    settings = TWO.model_copy(update={"scans": 8})
    write_scan_corpus("four_dme_4d", tmp_path / "4dme", settings, workers=1)
    listing = load_scan_corpus("four_dme_4d", tmp_path / "4dme").read()
    assert len(listing.entries) == 16
    assert {len(entry.expressions) for entry in listing.entries} == {1, 2}
    assert all(entry.path.is_dir() for entry in listing.entries)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    one = ScanLayoutSettings(subjects=1, scans=1, frames=3)
    for name in ("bosphorus", "bu4dfe"):
        write_scan_corpus(name, tmp_path / name, one, workers=1)
        entry = load_scan_corpus(name, tmp_path / name).read().entries[0]
        scan = read_sequence(entry.path).scans[-1] if entry.path.is_dir() else read_scan(entry.path)
        face = normalise(scan, entry.name)
        assert face.colours is not None and len(face.triangles) > 5000


def test_a_missing_dataset_shows_its_tree(tmp_path: Path) -> None:
    for name in SCAN_CORPORA:
        with pytest.raises(UserError, match="ask there for the licence"):
            load_scan_corpus(name, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"F0001_AN01WH_F3D\.wrl"):
        load_scan_corpus("bu3dfe", tmp_path / "empty").read()
    with pytest.raises(UserError, match="did you mean 'bu3dfe'"):
        load_scan_corpus("bu3df", tmp_path)


def test_unknown_names_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "F0001"
    folder.mkdir()
    for name in ("F0001_HA04WH_F3D.wrl", "F0001_XX04WH_F3D.wrl", "F0001_HA04WH_RAW.wrl"):
        (folder / name).touch()
    listing = load_scan_corpus("bu3dfe", tmp_path).read()
    assert [entry.expressions for entry in listing.entries] == [("happiness",)]
    assert listing.report.count("dropped") == 1
