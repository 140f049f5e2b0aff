"""The command line in this process, from an empty working directory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deft_llm.__main__ import main


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory: an empty folder, far from the repository."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], here: Path) -> Run:
    """``run("train", "deft/smoke")`` -> status and output of ``deft-llm train deft/smoke``."""

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["deft-llm", *map(str, arguments)])
        # Commands set logging up for a terminal: not for the tests after this one.
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return call
