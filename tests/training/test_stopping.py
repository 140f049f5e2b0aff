"""A run that is asked to stop saves the step in hand, and goes on from there bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deft_llm.training import stopping
from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule
from deft_llm.training.stopping import Stopped, StopRequest, after_this_step, stopping_by_signals

from .test_loop import Line

ROOT = Path(__file__).resolve().parents[2]
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


def test_a_second_ctrl_c_ends_at_once_and_a_repeated_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request, now = StopRequest(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    request.note(signal.SIGINT, None)
    now[0] += 0.5  # torchrun sends on what its terminal has sent already
    request.note(signal.SIGINT, None)
    assert request.asked()
    now[0] += 2
    request.note(signal.SIGTERM, None)  # of the launcher, which ended by the same Ctrl-C
    with pytest.raises(KeyboardInterrupt) as caught:
        request.note(signal.SIGINT, None)
    assert not isinstance(caught.value, Stopped)
    assert request.number == signal.SIGINT


def test_outside_a_loop_sigterm_ends_at_once() -> None:
    with pytest.raises(Stopped) as caught, stopping_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert caught.value.status == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.fixture
def deaf() -> Iterator[None]:
    """SIGHUP is ignored, as under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


def test_what_is_ignored_stays_ignored(deaf: None) -> None:
    with stopping_by_signals(), after_this_step() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not request.asked()


CHILD = """
import os, sys, time
from deft_llm.training.stopping import Stopped, stopping_by_signals
try:
    with stopping_by_signals():
        print(os.getpid(), flush=True)
        time.sleep(60)
except Stopped as stop:
    open(sys.argv[1], "w").write(str(stop.status))
"""


@pytest.mark.slow
def test_a_run_ends_with_its_launcher(tmp_path: Path) -> None:
    """`accelerate launch` of one process is ended by SIGTERM without a word to that process."""
    launcher = (
        f"import subprocess, sys; subprocess.run([sys.executable, *{['-c', CHILD]!r}, sys.argv[1]])"
    )
    noted = tmp_path / "status"
    environment = {**os.environ, "ACCELERATE_MIXED_PRECISION": "no", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", launcher, str(noted)], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline())  # the run is on its way
        process.kill()
    deadline = time.monotonic() + 30
    while not (noted.exists() and noted.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert noted.read_text() == "143"


def test_a_run_of_its_own_does_not_watch_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by nohup, it outlives its shell."""
    for name in stopping._LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stopping, "_follow_launcher", lambda parent: os.abort())
    with stopping_by_signals():
        time.sleep(0.05)
