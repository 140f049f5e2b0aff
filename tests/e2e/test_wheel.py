"""The wheel by itself: installed in one empty folder, run from another, without the checkout."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
# Folders of the repository that the wheel carries, and where.
CARRIED = {
    "deft_llm": "deft_llm",
    "train_configs": "deft_llm/resources/train_configs",
    "eval/benchmarks": "deft_llm/resources/benchmarks",
    "demo/clips": "deft_llm/resources/clips",
}
SECONDS = 600  # a busy machine is no error

Run = Callable[..., subprocess.CompletedProcess[str]]


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """In which ``deft_llm`` is the wheel's: PYTHONPATH goes before an editable install."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    kept = {name: value for name, value in os.environ.items() if name != "DEFT_DATA"}
    return {**kept, "PYTHONPATH": str(folder)}


@pytest.fixture
def deft_llm(environment: dict[str, str], tmp_path: Path) -> Run:
    """``deft_llm("explain", "clip.mp4")`` in a process of its own, in the test's empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deft_llm", *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
        )

    return run


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_is_small_and_whole(wheel: Path) -> None:
    assert wheel.stat().st_size <= 25 * MEGABYTE
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {f"{to}/{name}" for here, to in CARRIED.items() for name in files(ROOT / here)}
    assert held == expected
    # Each of these fails in its own way where the checkout itself has lost them.
    endings = {name.rpartition(".")[2] for name in held if name.startswith("deft_llm/")}
    assert {"safetensors", "jinja", "json", "yaml", "html", "css", "js", "md", "typed"} <= endings


def test_the_package_in_use_is_the_wheels(environment: dict[str, str], tmp_path: Path) -> None:
    """Or the tests below would try the checkout."""
    command = [sys.executable, "-c", "import deft_llm; print(deft_llm.__file__)"]
    found = subprocess.check_output(command, env=environment, cwd=tmp_path, text=True)
    assert found.startswith(environment["PYTHONPATH"])


def test_explain(deft_llm: Run, tmp_path: Path) -> None:
    """The embedded checkpoint speaks, and the report's templates are found."""
    shutil.copy(ROOT / "demo" / "clips" / "01_surprise.mp4", tmp_path / "clip.mp4")
    done = deft_llm("explain", "clip.mp4")
    assert done.returncode == 0, done.stderr
    assert "emotion" in done.stdout
    report = tmp_path / "out" / "clip" / "report.html"
    assert "<style>" in report.read_text(encoding="utf-8")


def test_train(deft_llm: Run, tmp_path: Path) -> None:
    """A recipe is found by its name, and what it is made of lies in the package."""
    done = deft_llm("train", "deft/smoke.yaml", "output=run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "final" / "model.safetensors").is_file()


def test_demo(environment: dict[str, str], tmp_path: Path) -> None:
    """The page comes up; Ctrl-C ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deft_llm", "demo", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, cwd=tmp_path)
    try:
        assert "gradio" in answer(f"http://127.0.0.1:{port}/", server)
        server.send_signal(2)  # Ctrl-C
        assert server.wait(60) in {0, 130}  # 130 if it comes before gradio waits for it
    finally:
        server.kill()


def answer(address: str, server: subprocess.Popen[bytes]) -> str:
    """The page at an address, as soon as its server is up."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, "the demo ended by itself"
        try:
            with urlopen(address, timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no page at {address} within {SECONDS} s")
