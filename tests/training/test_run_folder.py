"""Whose a run's folder is: one recipe's, and one process's at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.training.checkpoints import seal
from deft_llm.training.loop import Goal, fit
from deft_llm.training.run_folder import claimed_folder
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
