"""A folder has one maker at a time, and one set of settings."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from deft_llm.claims import changed_settings, claim, locked
from deft_llm.errors import UserError


class _Stage(BaseModel):
    rate: float = 0.001
    steps: int = 4


class _Recipe(BaseModel):
    seed: int
    workers: int = 1
    stages: list[_Stage] = [_Stage()]


SAID = ("holds another run", "delete it")


def test_a_folder_is_claimed_by_what_it_is_made_from(tmp_path: Path) -> None:
    note = tmp_path / "run" / "recipe.json"
    for workers in (1, 2):
        claim(note, _Recipe(seed=1, workers=workers), {"workers"}, *SAID)
    with pytest.raises(UserError, match="run holds another run: seed was 1, is 2 now; delete it"):
        claim(note, _Recipe(seed=2), {"workers"}, *SAID)
    assert '"seed": 1' in note.read_text()


def test_the_settings_that_differ_are_named_as_overrides_name_them(tmp_path: Path) -> None:
    note = tmp_path / "recipe.json"
    claim(note, _Recipe(seed=1), set(), *SAID)
    now = _Recipe(seed=1, stages=[_Stage(rate=0.0005)])
    assert changed_settings(note, now, set()) == "stages.0.rate was 0.001, is 0.0005 now"
    none = changed_settings(note, _Recipe(seed=1, stages=[]), set())
    assert "is [] now" in none and "{}" not in none
    many = _Recipe(seed=2, workers=3, stages=[_Stage(rate=0.1, steps=5), _Stage()])
    words = changed_settings(note, many, set())
    assert words.startswith("seed was 1, is 2 now, workers was 1, is 3 now") and "more" in words


def test_a_setting_that_came_later_counts_as_its_default(tmp_path: Path) -> None:
    note = tmp_path / "recipe.json"
    note.write_text('{"seed": 1, "stages": [{"rate": 0.001}]}')
    assert changed_settings(note, _Recipe(seed=1), set()) == ""
    assert "workers was 1, is 2 now" in changed_settings(note, _Recipe(seed=1, workers=2), set())


def test_a_damaged_note_is_told(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(UserError, match=r"its recipe\.json is damaged"):
        claim(tmp_path / "recipe.json", _Recipe(seed=1), set(), *SAID)


def test_the_second_to_come_is_told_who_is_there(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        with pytest.raises(UserError) as caught, locked(tmp_path / "run"):
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
    assert not list((tmp_path / "run").iterdir())
    with locked(tmp_path / "run"):
        pass


def _hold(folder: Path, held: Any) -> None:
    with locked(folder):
        held.set()
        signal.pause()


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_the_place_of_a_process_that_died_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held))
    process.start()
    assert held.wait(30)
    with pytest.raises(UserError, match=f"process {process.pid} on"), locked(tmp_path):
        pass
    process.kill()
    process.join()
    assert list(tmp_path.iterdir())  # it could not tidy up
    with caplog.at_level("INFO", "deft_llm"), locked(tmp_path):
        assert f"process {process.pid} on" in caplog.text
        assert str(os.getpid()) in (tmp_path / "run.lock").read_text()
