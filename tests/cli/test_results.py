"""Rows and objects of many clips."""

from __future__ import annotations

import csv
import json
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
