"""The command line of the corpora."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from deft_llm.cli.main import app
from deft_llm.corpora import synthetic
from deft_llm.corpora.base import CORPORA
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.errors import UserError

from .conftest import tiny


@pytest.fixture
def samm(tmp_path: Path) -> Path:
    write_corpus("samm", tmp_path / "SAMM", subjects=2, clips=3, renderer=tiny)
    return tmp_path / "SAMM"


def test_check_says_counts_and_report(samm: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = CliRunner().invoke(
        app, ["corpora", "check", str(samm), "--name", "samm", "--json", str(report)]
    )
    assert result.exit_code == 0, result.output
    assert "samm: 6 clips of 2 subjects" in result.output
    assert "clips: 6 (published 159)  DIFFERS" in result.output
    assert "report: nothing to mend" in result.output
    assert json.loads(report.read_text()) == []


@pytest.mark.parametrize("command", ["check", "show", "prepare"])
def test_the_folder_of_another_corpus_is_named(samm: Path, command: str) -> None:
    result = CliRunner().invoke(app, ["corpora", command, str(samm), "--name", "casme2"])
    message = str(result.exception)
    assert isinstance(result.exception, UserError) and "\n" not in message
    assert "expected CASME II, found SAMM (SAMM_Micro_FACS_Codes_v2.xlsx)" in message
    assert message.endswith("or take --name samm")


def test_show_writes_three_frames_a_clip(samm: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["corpora", "show", str(samm), "--name", "samm", "--out", str(out), "--count", "3"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    picture = cv2.imread(str(out))
    assert picture is not None and picture.shape[1] == 2 * 3 * 150 + 14
    # the first clip's frames are noise, the empty place of the fourth is white
    assert np.ptp(picture[40:180, 10:440]) > 100
    assert (picture[-140:, -400:] == 255).all()


def test_an_unknown_dataset(samm: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'samm'"):
        CliRunner().invoke(
            app, ["corpora", "check", str(samm), "--name", "sam"], catch_exceptions=False
        )


def test_a_stopped_simulation_leaves_no_half_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> Iterator[np.ndarray]:
        yield np.zeros((12, 8, 8, 3), np.uint8)
        raise KeyboardInterrupt

    folder = tmp_path / "fake"
    command = ["corpora", "simulate", str(folder), "--name", "samm", "--subjects", "1"]
    with monkeypatch.context() as patched:
        patched.setattr(synthetic, "render_many", stopped)
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 130
    assert result.stderr.endswith("stopped; nothing is kept; the same command starts anew\n")
    assert not any(folder.iterdir())
    monkeypatch.setattr(synthetic, "render_many", lambda specs, *_: map(tiny, specs))
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output


def test_a_corpus_without_a_writer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CORPORA, "mine", CORPORA["mmew"])
    with pytest.raises(UserError, match=r"mine: has a reader and no writer; .*layouts\.py"):
        write_corpus("mine", tmp_path / "fake")
