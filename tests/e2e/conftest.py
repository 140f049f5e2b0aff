"""The command line in this process, small videos of one rendered face, the demo in a browser."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.__main__ import main
from deft_llm.media.video import write_video

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Frames = NDArray[np.uint8]
FPS = 60.0
ROOT = Path(__file__).resolve().parents[2]
WAIT = 240_000  # ms; a busy machine is no error


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str


DeftLlm = Callable[..., Result]
Visit = Callable[..., "Page"]
Film = Callable[[str, Frames], Path]


@pytest.fixture(scope="session")
def face() -> Frames:
    """A strong surprise, rendered once: (T, 288, 288, 3)."""
    from deft_llm.simulator.scene.clips import draw_spec, render_clip

    spec = draw_spec(
        3, 7, emotion="surprise", aus=("1", "2", "5"), peak_px=3.0, blink=None, fps=FPS
    )
    return render_clip(spec).clip.frames


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """``film("clip.mp4", frames)`` -> the path of the video."""

    def write(name: str, frames: Frames) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, FPS)
        return path

    return write


@pytest.fixture
def deft_llm(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tiny_checkpoint: Path,
    tmp_path: Path,
) -> DeftLlm:
    """``deft_llm("explain", path)`` with the tiny checkpoint, into the folder ``out``.

    An untrained model never ends its answer by itself, so answers are cut short.
    """
    monkeypatch.setattr("deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8)

    def run(*arguments: str | Path, checkpoint: Path = tiny_checkpoint) -> Result:
        folders = ["--checkpoint", str(checkpoint)]
        folders += ["--out", str(tmp_path / "out")] if "explain" in arguments else []
        monkeypatch.setattr(sys, "argv", ["deft-llm", *map(str, arguments), *folders])
        # Warnings go to stderr as they do for a user, not to pytest.
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return run


# ------------------------------------------------------------------- a real browser


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo as ``make demo`` starts it, from an empty folder, in a process of its own.

    Nothing is left of it.
    """
    temporary, empty = tmp_path_factory.mktemp("tmp"), tmp_path_factory.mktemp("empty")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "demo" / "app.py"), "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    # A proxy that answers nothing, as on many machines: the page never asks one.
    environment |= {"http_proxy": "http://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9"}
    server = subprocess.Popen(command, env=environment, cwd=empty)
    page = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            urlopen(page, timeout=5).close()
            break
        except OSError:
            assert server.poll() is None, "the demo ended by itself"
            time.sleep(0.5)
    yield page
    server.send_signal(2)  # Ctrl-C
    server.wait(60)
    left = [path for folder in (temporary, empty) for path in folder.rglob("*") if path.is_file()]
    assert left == [], "files are left"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium found; install Debian's package, or set CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """``visit()`` -> the page in a fresh session; no request may leave this machine."""
    contexts: list[Any] = []
    foreign: list[str] = []

    def note(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            foreign.append(request.url)

    def opened(width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            is_mobile=width < 600,
            has_touch=width < 600,
            accept_downloads=True,
        )
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: foreign.append(f"script error: {error}"))
        page.goto(address)
        page.locator("#explain").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert foreign == []
