"""The loop: resume is a resume, accumulation is a larger batch, the log tells what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.training import loop
from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule


class Line:
    """Linear regression with drop-out, so that random state matters too."""

    def __init__(self, size: int = 8, dropout: float = 0.2, stop_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Sequential(nn.Linear(4, 1), nn.Dropout(dropout))
        self.size, self.stop_at = size, stop_at

    def batch(self, index: int) -> dict[str, Tensor]:
        if index == self.stop_at:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(index)
        x = torch.randn(self.size, 4, generator=generator)
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def training_step(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": (self.model(batch["x"]) - batch["y"]).square().mean()}

    def predict(self, batch: Any) -> Tensor:
        with torch.no_grad():
            out: Tensor = self.model(batch["x"])
        return out

    def evaluate(self) -> dict[str, float]:
        self.model.eval()
        batch = self.batch(10_000)
        return {"error": float((self.predict(batch) - batch["y"]).abs().mean())}

    def save(self, folder: Path) -> None:
        save_file(self.model.state_dict(), folder / "model.safetensors")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_resume_is_bit_equal(tmp_path: Path, optimizer: Literal["adamw", "muon"]) -> None:
    schedule = Schedule(steps=12, save_every=4, log_every=1, accumulate=2, optimizer=optimizer)
    straight = fit(Line(), schedule, tmp_path / "straight", cpu=True)
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_at=19), schedule, tmp_path / "stopped", cpu=True)
    assert (tmp_path / "stopped" / "checkpoint-8").is_dir()
    assert rows(tmp_path / "stopped")[-1]["step"] == 9
    torch.manual_seed(99)  # of no effect: the state is the checkpoint's
    resumed = fit(Line(), schedule, tmp_path / "stopped", cpu=True)
    one, two = (load_file(f / "model.safetensors") for f in (straight, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)
    keep = ("step", "loss", "lr", "error")
    logs = [
        [{k: r[k] for k in keep if k in r} for r in rows(tmp_path / n)]
        for n in ("straight", "stopped")
    ]
    assert logs[0] == logs[1] and len(logs[0]) == 13
    assert not list((tmp_path / "stopped").glob("checkpoint-*"))


def test_half_written_checkpoints_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-4.partial").mkdir(parents=True)
    final = fit(Line(), Schedule(steps=2), tmp_path, cpu=True)
    assert (final / "model.safetensors").is_file()


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    schedule = Schedule(steps=150, learning_rate=0.05, evaluate_every=50, log_every=50)
    task = Line(dropout=0.0)
    before = task.evaluate()["error"]
    fit(task, schedule, tmp_path, cpu=True)
    errors = [row["error"] for row in rows(tmp_path) if "error" in row]
    assert len(errors) == 3 and errors[-1] < 0.1 * before


def test_accumulation_is_a_larger_batch(tmp_path: Path) -> None:
    class Halves(Line):
        def batch(self, index: int) -> dict[str, Tensor]:
            whole = Line.batch(self, index // 2)
            return {name: x[4 * (index % 2) :][:4] for name, x in whole.items()}

    one = fit(Line(dropout=0.0), Schedule(steps=3), tmp_path / "one", cpu=True)
    two = fit(Halves(dropout=0.0), Schedule(steps=3, accumulate=2), tmp_path / "two", cpu=True)
    a, b = (load_file(f / "model.safetensors") for f in (one, two))
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def test_a_finished_run_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(Line(), Schedule(steps=1), tmp_path, cpu=True)
    with caplog.at_level("INFO", loop.__name__):
        fit(Line(stop_at=0), Schedule(steps=1), tmp_path, cpu=True)
    assert "already finished at step 1" in caplog.text


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    class Broken(Line):
        def training_step(self, batch: Any) -> dict[str, Tensor]:
            return {"loss": super().training_step(batch)["loss"] * torch.nan}

    with pytest.raises(UserError, match="loss is nan at step 1"):
        fit(Broken(), Schedule(steps=3, log_every=1), tmp_path, cpu=True)
    assert not (tmp_path / "final").exists()


def test_a_run_without_a_folder_learns_the_same_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    schedule = Schedule(steps=6, save_every=2, log_every=2)
    task = Line()
    fit(task, schedule, None, cpu=True)
    final = fit(Line(), schedule, tmp_path / "kept", cpu=True)
    kept = load_file(final / "model.safetensors")
    assert all(torch.equal(x, kept[name]) for name, x in task.model.state_dict().items())
    assert not list((tmp_path / "here").iterdir())
