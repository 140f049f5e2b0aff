"""Requests to stop: what ends a run at once, what waits, and what is ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deft_llm import machine, stopping
from deft_llm.stopping import Stopped, StopRequest, after_this_step, stopping_by_signals

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


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
from deft_llm.stopping import Stopped, stopping_by_signals
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
    for name in machine._LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    watched = threading.Event()
    monkeypatch.setattr(stopping, "_follow_launcher", lambda parent: watched.set())
    with stopping_by_signals():
        assert not watched.wait(0.05)
    monkeypatch.setenv(machine._LAUNCHED[0], "no")
    with stopping_by_signals():
        assert watched.wait(30), "one that was launched does"
