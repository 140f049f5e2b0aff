"""The command line in this process, and small videos of one rendered face."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.__main__ import main
from deft_llm.media.video import write_video

Frames = NDArray[np.uint8]
FPS = 60.0


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str


DeftLlm = Callable[..., Result]
Film = Callable[[str, Frames], Path]


@pytest.fixture(scope="session")
def face() -> Frames:
    """A strong surprise, rendered once: (T, 288, 288, 3)."""
    from deft_llm.simulator.clips import draw_spec, render

    spec = draw_spec(
        3, 7, emotion="surprise", aus=("1", "2", "5"), peak_px=3.0, blink=None, fps=FPS
    )
    return render(spec).clip.frames


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
    monkeypatch.setattr("deft_llm.deft.explain.MAX_NEW_TOKENS", 8)

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
