"""A loop that is asked to stop saves the step in hand, and goes on from there bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deft_llm.stopping import Stopped
from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule

from .test_loop import Line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Signalled(Line):
    """Line, whose process gets a signal while a batch is made."""

    def __init__(self, index: int, number: int) -> None:
        super().__init__()
        self.index, self.number = index, number

    def batch(self, index: int) -> dict[str, torch.Tensor]:
        if index == self.index:
            os.kill(os.getpid(), self.number)
        return super().batch(index)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_step_in_hand_is_saved_and_resuming_is_bit_equal(
    tmp_path: Path, number: int, status: int
) -> None:
    schedule = Schedule(steps=9, save_every=100, log_every=2)
    straight = fit(Line(), schedule, tmp_path / "straight", cpu=True)
    with pytest.raises(Stopped) as caught:
        fit(Signalled(4, number), schedule, tmp_path / "stopped", cpu=True)
    assert caught.value.status == status
    assert [path.name for path in (tmp_path / "stopped").glob("checkpoint-*")] == ["checkpoint-5"]
    resumed = fit(Line(), schedule, tmp_path / "stopped", cpu=True)
    one, two = (load_file(f / "model.safetensors") for f in (straight, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_signal_in_the_last_step_does_not_undo_it(tmp_path: Path) -> None:
    final = fit(Signalled(2, signal.SIGTERM), Schedule(steps=3), tmp_path / "run", cpu=True)
    assert (final / "model.safetensors").is_file()


def test_a_loader_outlasts_the_step(tmp_path: Path) -> None:
    """The signal reaches the whole group of processes, as that of a terminal or a launcher does."""

    class Group(Line):
        def training_step(self, batch: Any) -> dict[str, torch.Tensor]:
            if not (tmp_path / "sent").exists():
                (tmp_path / "sent").touch()
                children = subprocess.run(
                    ["ps", "-o", "pid=", "--ppid", str(os.getpid())],
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout.split()
                for pid in [*map(int, children), os.getpid()]:
                    try:
                        os.kill(pid, signal.SIGTERM)
                    except ProcessLookupError:  # ps itself
                        continue
            return super().training_step(batch)

    with pytest.raises(Stopped):
        fit(Group(), Schedule(steps=50, loaders=1), tmp_path / "run", cpu=True)
    assert (tmp_path / "run" / "checkpoint-1").is_dir()
