"""A folder for each clip's report, whatever the clip is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_llm.viz.report_folder import report_folder, safe_name, source_mark


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("EP01_5", "EP01_5"),
        ("..", "clip"),
        (". .", "clip"),
        ("", "clip"),
        (".hidden", "hidden"),
        ("CON", "CON_"),
        ("nul.tar", "nul.tar_"),
        ("com¹", "com¹_"),
        ("console", "console"),
        ("12:30 <a>|b?*", "12_30 _a__b__"),
        ("a/b\\c", "a_b_c"),
        ("end. ", "end"),
        ("\udcff\x07", "__"),
        ("惊讶 №1 – ü", "惊讶 №1 – ü"),
        ("x" * 300, "x" * 80),
    ],
)
def test_names_are_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(st.characters(codec=None), max_size=400))
def test_any_name_is_the_name_of_a_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe and safe.strip(". ") == safe
    assert len(safe.encode()) <= 241
    assert not set(safe) & set('<>:"/\\|?*\0')
    assert safe_name(safe) == safe


def write(folder: Path, mark: str) -> None:
    (folder / "explanation.json").write_text(json.dumps({"source": mark}))


def test_a_clip_gets_its_own_folder_again_and_no_other(tmp_path: Path) -> None:
    marks = [source_mark(tmp_path / place / "clip.mp4") for place in ("a", "b", "c")]
    taken = []
    for mark in (*marks, *reversed(marks)):
        with report_folder(tmp_path / "out", "clip", mark) as folder:
            write(folder, mark)
        taken.append(folder.name)
    assert taken == ["clip", "clip-2", "clip-3", "clip-3", "clip-2", "clip"]


def test_a_path_is_the_same_clip_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_mark(Path("x/../clip.mp4")) == source_mark(tmp_path / "clip.mp4")


def test_what_others_left_there_is_not_touched(tmp_path: Path) -> None:
    """A folder without a report, a report without a mark, a damaged one."""
    for name, text in (("clip", None), ("clip-2", "{}"), ("clip-3", "damaged")):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "explanation.json").write_text(text)
    with report_folder(tmp_path, "clip", "mark") as folder:
        write(folder, "mark")
    assert folder.name == "clip-4"


def test_a_failure_leaves_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), report_folder(tmp_path, "clip", "mark"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
