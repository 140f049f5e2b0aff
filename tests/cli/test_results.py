"""Rows and objects of many clips."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from deft_llm.cli.results import Results
from deft_llm.errors import UserError


def test_rows_and_objects_are_whole_after_every_clip(tmp_path: Path) -> None:
    table, objects = tmp_path / "t.csv", tmp_path / "o.json"
    with pytest.raises(KeyboardInterrupt), Results(table, objects) as results:
        for name in ("a\udcff.mp4", "惊.mp4"):
            results.add({"file": name, "error": None}, {"file": name, "note": 'x"'})
            # In the middle, too, a reader finds whole rows.
            assert len(table.read_text(encoding="utf-8").splitlines()) > 1
        raise KeyboardInterrupt
    rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))
    assert rows == [["file", "error"], ["a\\udcff.mp4", ""], ["惊.mp4", ""]]
    read = json.loads(objects.read_text(encoding="utf-8"))
    assert [row["file"] for row in read] == ["a\udcff.mp4", "惊.mp4"]
    assert len(objects.read_text(encoding="utf-8").splitlines()) == 4


def test_nothing_done_is_an_empty_array(tmp_path: Path) -> None:
    with Results(None, tmp_path / "o.json"):
        pass
    assert json.loads((tmp_path / "o.json").read_text()) == []


def test_both_cannot_go_to_standard_output(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only one of them"):
        Results(Path("-"), Path("-"))
    with pytest.raises(UserError, match="cannot be written"):
        Results(tmp_path / "missing" / "t.csv", None)


def test_earlier_results_stay_until_there_are_new_ones(tmp_path: Path) -> None:
    table, objects = tmp_path / "t.csv", tmp_path / "o.json"
    for file in (table, objects):
        file.write_text("of hours before")
    with pytest.raises(UserError), Results(table, objects):
        raise UserError("no such model")
    assert table.read_text() == objects.read_text() == "of hours before"
    with Results(table, objects) as results:
        results.add({"file": "a"}, {"file": "a"})
    assert table.read_text() == "file\na\n" and json.loads(objects.read_text()) == [{"file": "a"}]


def test_no_result_takes_the_place_of_what_is_read(tmp_path: Path) -> None:
    clip, link = tmp_path / "clip.mp4", tmp_path / "link.csv"
    clip.write_bytes(b"a video")
    link.symlink_to(clip)
    for table, objects in ((link, None), (None, clip)):
        with pytest.raises(UserError, match="would replace the input"):
            Results(table, objects, inputs=[clip])
    with pytest.raises(UserError, match="give two files"):
        Results(tmp_path / "rows", tmp_path / "rows")
    assert clip.read_bytes() == b"a video"
    missing = tmp_path / "missing.mp4"
    with pytest.raises(UserError, match="would replace the input"):
        Results(missing, None, inputs=[missing])
    assert not missing.exists()


def test_a_table_without_rows_has_its_header(tmp_path: Path) -> None:
    with Results(tmp_path / "t.csv", None, columns=("file", "apex s")):
        pass
    assert (tmp_path / "t.csv").read_text() == "file,apex s\n"


def test_rows_can_go_into_a_pipe(tmp_path: Path) -> None:
    """As in ``--csv >(sort)``: what is no file cannot be emptied."""
    reading, writing = os.pipe()
    with Results(Path(f"/dev/fd/{writing}"), None) as results:
        results.add({"file": "a"}, {})
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "file\na\n"
