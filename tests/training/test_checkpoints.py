"""A checkpoint that is not whole is not used: the one before it is, and that is told."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from deft_llm.errors import UserError
from deft_llm.training import tasks
from deft_llm.training.checkpoints import checkpoints, drop_damaged, seal, tell_other_processes
from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule

from .test_loop import Line

SCHEDULE = Schedule(steps=8, save_every=2, log_every=1)


def truncate(folder: Path) -> None:
    path = folder / "optimizer.bin"
    path.write_bytes(path.read_bytes()[:-20])


def flip(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def lose(folder: Path) -> None:
    next(folder.glob("random_states*")).unlink()


def spoil_the_seal(folder: Path) -> None:
    (folder / "sealed.json").write_text("{")


def never_finish(folder: Path) -> None:
    (folder / "sealed.json").unlink()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    final = fit(Line(), SCHEDULE, tmp_path_factory.mktemp("straight"), cpu=True)
    return dict(load_file(final / "model.safetensors"))


def stopped(output: Path) -> None:
    """A run that ended with checkpoints 4 and 6."""
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_at=7), SCHEDULE, output, cpu=True)
    assert [step for step, _ in checkpoints(output)] == [4, 6]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "optimizer.bin is not as it was saved"),
        (flip, "model.safetensors is not as it was saved"),
        (lose, "is missing"),
        (spoil_the_seal, "is damaged"),
        (never_finish, "goes on from step 4"),
    ],
)
def test_the_checkpoint_before_a_damaged_one_is_used(
    straight: dict[str, torch.Tensor],
    tmp_path: Path,
    damage: Callable[[Path], None],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped(tmp_path)
    damage(tmp_path / "checkpoint-6")
    with caplog.at_level("INFO", "deft_llm"):
        final = fit(Line(), SCHEDULE, tmp_path, cpu=True)
    assert words in caplog.text
    assert "goes on from step 4" in caplog.text
    found = load_file(final / "model.safetensors")
    assert all(torch.equal(x, straight[name]) for name, x in found.items())


def test_without_a_whole_checkpoint_a_run_starts_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model").write_text("weights")
        seal(tmp_path / f"checkpoint-{step}")
        (tmp_path / f"checkpoint-{step}" / "model").write_text("weight")
    drop_damaged(tmp_path)
    assert "no checkpoint is left" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "processes"),
    [
        (["random_states_0.pkl"], 1),  # accelerate
        (["random_states_0.pkl", "random_states_1.pkl"], 2),
        (["rng_state.pth"], 1),  # transformers
        (["rng_state_0.pth", "rng_state_1.pth"], 2),
    ],
)
def test_another_number_of_processes_is_told(
    tmp_path: Path, files: list[str], processes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The effective batch, and with it the result, is another one."""
    for name in files:
        (tmp_path / name).touch()
    tell_other_processes(tmp_path, processes)
    assert not caplog.text
    tell_other_processes(tmp_path, 4)
    assert f"effective batch is {4 // processes} times what it was" in caplog.text


def test_a_run_that_goes_on_looks_who_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(tmp_path)
    (tmp_path / "checkpoint-6" / "random_states_1.pkl").touch()
    fit(Line(), SCHEDULE, tmp_path, cpu=True)
    assert "saved by a run of 2 processes, and this one has 1" in caplog.text


def test_a_full_disk_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and no half-written folder that fills the disk further."""
    whole = Accelerator.save_state

    def save(self: Accelerator, folder: str, **kwargs: Any) -> None:
        if folder.endswith("checkpoint-4.partial"):
            Path(folder).mkdir()
            (Path(folder) / "model.safetensors").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, folder, **kwargs)

    def train(values: dict[str, Any], where: str) -> None:
        fit(Line(), SCHEDULE, Path(values["output"]), cpu=True)

    monkeypatch.setattr(Accelerator, "save_state", save)
    monkeypatch.setattr(tasks, "resolve", lambda *_: train)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: line\noutput: {tmp_path / 'run'}\n")
    with pytest.raises(UserError, match=r"run: No space left on device; make room") as caught:
        tasks.run(recipe)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "run").glob("checkpoint*")] == ["checkpoint-2"]


def test_only_checkpoints_are_dropped(tmp_path: Path) -> None:
    """Copies that somebody keeps were deleted with what was left half written."""
    for name in (
        "checkpoint-2",
        "checkpoint-4.partial",
        "checkpoint-4-kept",
        "checkpoint-4 (copy)",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-notes.txt").write_text("mine", encoding="utf-8")
    drop_damaged(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"checkpoint-4-kept", "checkpoint-4 (copy)", "checkpoint-notes.txt"}
