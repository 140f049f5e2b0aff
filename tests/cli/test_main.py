"""The command line as a whole: its help, its version, and the scripts that stand for commands."""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from deft_llm import __version__
from deft_llm.cli.main import COMMANDS, GROUPS
from deft_llm.media.video import write_video

from .conftest import Run

ROOT = Path(__file__).resolve().parents[2]
_HEAVY = """
import sys
from deft_llm.cli.main import app
try:
    app(["--help"])
finally:
    heavy = {"torch", "transformers", "gradio", "numba", "sklearn", "matplotlib"} & set(sys.modules)
    heavy |= {"numpy", "cv2", "av", "pydantic", "rich"} & set(sys.modules)
    assert not heavy, heavy
"""
_FIRST_LINE = """
import builtins, sys
from deft_llm.cli.main import app
def line(text, **_):
    assert text.startswith("clip      01_surprise.mp4 "), text
    slow = {"torch", "transformers", "matplotlib", "scipy"} & set(sys.modules)
    raise SystemExit(f"imported: {slow}" if slow else 0)
builtins.print = line
app(["explain", sys.argv[1]])
"""
_SEARCH = """
import sys
from deft_llm.cli.main import app
try:
    app(["spot", sys.argv[1]])
except SystemExit:
    assert "deft_llm.cli.spotted_files" in sys.modules
    assert "transformers" not in sys.modules
"""


def test_help_names_every_command_and_imports_no_torch(here: Path) -> None:
    command = [sys.executable, "-c", _HEAVY]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    for name in (*COMMANDS, *GROUPS):
        assert name in done.stdout


def test_what_was_read_is_said_before_the_slow_imports(here: Path) -> None:
    clip = ROOT / "demo" / "clips" / "01_surprise.mp4"
    command = [sys.executable, "-c", _FIRST_LINE, str(clip)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


def test_a_search_without_a_model_loads_no_language_model(here: Path) -> None:
    """Loading their library took half the time of a short video."""
    write_video(here / "grey.mp4", np.full((4, 64, 64, 3), 90, np.uint8), 25.0)
    command = [sys.executable, "-c", _SEARCH, str(here / "grey.mp4")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("before", [(), *((name,) for name in COMMANDS)])
def test_version(run: Run, before: tuple[str, ...]) -> None:
    result = run(*before, "--version")
    assert (result.status, result.out) == (0, f"deft-llm {__version__}\n")


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_is_described_alike_without_and_with_its_module(name: str) -> None:
    assert import_module(f"deft_llm.cli.{name}").app.info.help == GROUPS[name]


@pytest.mark.parametrize(
    ("command", "argument"),
    [(("explain",), "videos, folders"), (("corpora", "check"), "folder of")],
)
def test_arguments_are_described_once(run: Run, command: tuple[str, ...], argument: str) -> None:
    out = run(*command, "--help").out
    assert out.count(argument) == 1
    assert out.count("rguments:") == 1


def test_a_misspelt_command_is_mended(run: Run) -> None:
    result = run("explian", "x.mp4")
    assert result.status == 2
    assert result.err.count("Did you mean 'explain'?") == 1


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
