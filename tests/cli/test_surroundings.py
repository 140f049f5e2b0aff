"""Terminals of any encoding, disks that are full, outputs that are closed, proxies, signals."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deft_llm.cli import terminal
from deft_llm.cli.console import tidy_end
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data import prepared

from ..corpora.conftest import tiny
from .conftest import Run

ROOT = Path(__file__).resolve().parents[2]
TEXT = "a · b – c × 2 → ≥ 3 … 東讶 \udcff"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"a - b - c x 2 -> >= 3 ... \u6771\u8bb6 \udcff"),
        ("cp1252", r"a · b – c × 2 -> >= 3 … \u6771\u8bb6 \udcff"),
        ("cp932", r"a - b - c × 2 → >= 3 … 東\u8bb6 \udcff"),
        ("utf-8", r"a · b – c × 2 → ≥ 3 … 東讶 \udcff"),
    ],
)
def test_any_terminal_prints_any_text(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, buffer in written.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding))
    terminal.print_anything()
    for stream in (sys.stdout, sys.stderr):
        print(TEXT, end="", file=stream, flush=True)
    assert [b.getvalue().decode(encoding) for b in written.values()] == [shown, shown]


def test_no_terminal_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    terminal.print_anything()


def test_a_full_disk_ends_preparing_in_one_line_and_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path
) -> None:
    write_corpus("casme2", tmp_path / "corpus", subjects=2, clips=2, renderer=tiny)
    features = {"flow": np.zeros((2, 3), np.float16)}
    monkeypatch.setattr(prepared, "_measure", lambda job, settings: (features, "ok"))
    save, saved = prepared.save_file, []

    def full(*arguments: Any) -> None:
        saved.append(arguments)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments)

    monkeypatch.setattr(prepared, "save_file", full)
    command = ("corpora", "prepare", tmp_path / "corpus", "--name", "casme2", "--workers", "1")
    result = run(*command)
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith("deft-llm: cannot write: no room is left")
    assert "Traceback" not in result.err
    assert run(*command).out.startswith("4 of 4 clips measured, 2 were in the cache\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "full", "a/b"), "a/b: no room is left on the disk"),
        (PermissionError(errno.EACCES, "denied", "a/b"), "a/b: Permission denied"),
        (OSError(errno.EROFS, "read-only", "a/b"), "a/b: Read-only file system"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no room is left"),
        (OSError(errno.EBADF, "a fault of ours", "a/b"), None),
        (FileNotFoundError(errno.ENOENT, "of nothing"), None),
        (ValueError("a fault of ours"), None),
    ],
)
def test_what_comes_from_outside_is_one_line(error: Exception, line: str | None) -> None:
    told = terminal.outside_cause(error)
    assert told is None if line is None else line in str(told)


_CLOSED = """
import sys
from deft_llm.__main__ import main
from deft_llm.cli import main as commands
from deft_llm.cli.console import show
def many():
    for _ in range(100_000):
        show("line", "of text")
commands.app.registered_commands[0].callback = many
sys.argv = ["deft-llm", "explain"]
main()
"""


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CLOSED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"line      of text\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_sigterm_runs_what_tidies_up() -> None:
    tidied = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, tidy_end():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            tidied.append(True)
    assert (ended.value.code, tidied) == (143, [True])
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_demo_asks_no_proxy(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Gradio asks its own page for a sign of life at the start, by any proxy of the environment."""
    names = ("http_proxy", "HTTPS_PROXY", "all_proxy")
    for name in names:
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    seen: list[set[str]] = []
    # In place of Gradio, which takes seconds to load.
    page = SimpleNamespace(run=lambda *_: seen.append(set(os.environ) & set(names)))
    monkeypatch.setitem(sys.modules, "deft_llm.service.app", page)
    monkeypatch.setattr("deft_llm.cli.demo.find_spec", lambda name: True)
    assert run("demo").status == 130  # nothing but a stop ends it
    assert seen == [set()]


def test_where_figures_go_is_checked_before_they_are_measured(run: Run) -> None:
    result = run("eval", "simulated", "--json", "missing/figures.json")
    assert result.status == 2
    assert (
        result.err == "deft-llm: missing/figures.json: there is no folder missing; make it first\n"
    )


def test_a_question_in_another_encoding_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = io.TextIOWrapper(io.BytesIO(b"caf\xe9?\n"), "utf-8")
    monkeypatch.setattr(sys, "stdin", typed)
    terminal.print_anything()
    assert typed.readline() == "caf\ufffd?\n"
