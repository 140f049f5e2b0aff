"""The command line as a whole: its help, its version, and the scripts that stand for commands."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from deft_llm import __version__
from deft_llm.cli.main import COMMANDS, GROUPS

from .conftest import Run

ROOT = Path(__file__).resolve().parents[2]
_HEAVY = """
import sys
from deft_llm.cli.main import app
try:
    app(["--help"])
finally:
    heavy = {"torch", "transformers", "gradio", "numba", "sklearn", "matplotlib"} & set(sys.modules)
    assert not heavy, heavy
"""


def test_help_names_every_command_and_imports_no_torch(here: Path) -> None:
    command = [sys.executable, "-c", _HEAVY]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    for name in (*COMMANDS, *GROUPS):
        assert name in done.stdout


def test_version(run: Run) -> None:
    assert run("--version").out == f"deft-llm {__version__}\n"


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_every_command_has_a_help(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.status == 0
    assert f"deft-llm {name}" in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("train.py", "train"),
        ("eval/run.py", "eval"),
        ("eval/calibrate.py", "calibrate"),
        ("demo/app.py", "demo"),
        ("instruction_data/build.py", "instructions build"),
        ("instruction_data/validate.py", "instructions validate"),
        ("instruction_data/audit.py", "instructions audit"),
        ("instruction_data/calibrate.py", "instructions calibrate"),
    ],
)
def test_a_script_is_a_command(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    here: Path,
    script: str,
    command: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert not ended.value.code
    assert f"Usage: deft-llm {command} " in capfd.readouterr().out
