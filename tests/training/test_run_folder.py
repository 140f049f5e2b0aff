"""Whose a run's folder is: one recipe's, and one process's at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.training.checkpoints import seal
from deft_llm.training.loop import Goal, fit
from deft_llm.training.run_folder import claimed_folder, is_better, keep_best
from deft_llm.training.schedule import Schedule

from .test_loop import Line


class _Recipe(Settings):
    output: Path
    learning_rate: float = 0.001
    push_to_hub: str | None = None


def hold(output: Path, **changes: object) -> None:
    with claimed_folder(output, _Recipe(output=output, **changes)):  # type: ignore[arg-type]
        pass


def test_a_run_that_never_saved_may_be_corrected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hold(tmp_path)
    (tmp_path / "log.jsonl").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "experts" / "checkpoint-2").mkdir(parents=True)  # never finished
    with caplog.at_level("INFO", "deft_llm"):
        hold(tmp_path, learning_rate=0.0005)
    assert "learning_rate was 0.001, is 0.0005 now" in caplog.text
    hold(tmp_path, learning_rate=0.0005)
    assert "0.0005" in (tmp_path / "recipe.json").read_text()


@pytest.mark.parametrize("place", ["checkpoint-2", "experts/checkpoint-2", "final", "best"])
def test_once_something_is_saved_the_difference_is_named(tmp_path: Path, place: str) -> None:
    hold(tmp_path)
    (tmp_path / place).mkdir(parents=True)
    seal(tmp_path / place)
    with pytest.raises(UserError) as caught:
        hold(tmp_path, learning_rate=0.0005)
    words = "holds a run of another recipe: learning_rate was 0.001, is 0.0005 now; set output=…"
    assert words in str(caught.value)
    hold(tmp_path, push_to_hub="me/model")  # changes nothing that is trained


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    there = pytest.raises(UserError, match=r"process \d+ on .* is writing this folder")
    with claimed_folder(tmp_path, _Recipe(output=tmp_path)), there:
        hold(tmp_path)
    hold(tmp_path)


def test_processes_of_one_run_share_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _Recipe(output=tmp_path)
    with claimed_folder(tmp_path, recipe):
        monkeypatch.setenv("RANK", "1")
        hold(tmp_path)


class Rising(Line):
    """Line, of which later networks are scored worse."""

    goal: Goal = ("error", "min")
    scores = (3.0, 1.0, 2.0)

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def evaluate(self) -> dict[str, float]:
        self.asked += 1
        return {"error": self.scores[self.asked - 1], "other": 0.0}


def test_the_best_network_is_kept_beside_the_last(tmp_path: Path) -> None:
    fit(Rising(), Schedule(steps=6, evaluate_every=2), tmp_path / "run", cpu=True)
    final = fit(Line(), Schedule(steps=4, evaluate_every=2), tmp_path / "four", cpu=True)
    best = tmp_path / "run" / "best"
    assert (best / "score.json").read_text() == '{"step": 4, "error": 1.0}\n'
    assert (best / "model.safetensors").stat().st_size
    assert not (tmp_path / "four" / "best").exists()  # it names no goal
    assert (final / "model.safetensors").is_file()


def test_a_row_that_was_cut_off_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    """As a full disk leaves it."""
    schedule = Schedule(steps=6, save_every=2, log_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_at=5), schedule, tmp_path, cpu=True)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lr')
    assert fit(Line(), schedule, tmp_path, cpu=True).is_dir()
    rows = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("higher", [True, False])
def test_a_score_that_is_no_number_is_no_best_for_ever(tmp_path: Path, higher: bool) -> None:
    nothing: dict[str, float] = {"step": 1, "score": float("nan")}
    assert is_better(tmp_path, nothing, higher)  # there is none yet
    keep_best(tmp_path / "best", nothing, lambda folder: None)
    assert not is_better(tmp_path / "best", nothing, higher)
    assert is_better(tmp_path / "best", {"step": 2, "score": 0.5}, higher)
    keep_best(tmp_path / "best", {"step": 2, "score": 0.5}, lambda folder: None)
    assert not is_better(tmp_path / "best", nothing, higher)
