"""``deft-llm flow A B -o OUT``: the file, the picture beside it, and clear refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.__main__ import main
from deft_llm.media.pictures import read_image
from deft_llm.motion.flow_files import read_flow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def flow(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deft-llm", "flow", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return flow


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """A texture and itself 0.5 px further right."""
    noise = np.random.default_rng(0).normal(size=(60, 75)).astype(np.float32)
    texture = 128 + 300 * cv2.GaussianBlur(noise, (0, 0), 3)
    move = np.array([[1, 0, 0.5], [0, 1, 0]], np.float32)
    moved = cv2.warpAffine(texture, move, (75, 60), flags=cv2.INTER_CUBIC, borderMode=2)
    for name, image in (("a.png", texture), ("b.png", moved)):
        cv2.imwrite(str(tmp_path / name), np.clip(np.rint(image), 0, 255).astype(np.uint8))
    return tmp_path / "a.png", tmp_path / "b.png"


def test_flow_and_picture(run: Run, images: tuple[Path, Path], tmp_path: Path) -> None:
    status, out, err = run(*images, "-o", tmp_path / "f.flo", "--method", "lk")
    assert (status, err) == (0, "")
    flow, known = read_flow(tmp_path / "f.flo")
    assert flow.shape == (2, 60, 75) and known.all()
    assert np.median(flow[0]) == pytest.approx(0.5, abs=0.1)
    picture = read_image(tmp_path / "f.colour.png")
    assert picture.shape == (60, 75, 3)
    red, _, blue = picture.reshape(-1, 3).mean(0)
    assert red > blue  # to the right
    assert "f.flo" in out and "f.colour.png" in out and "px" in out


def test_refusals_leave_nothing(run: Run, images: tuple[Path, Path], tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((30, 30), np.uint8))
    a, b = images
    before = sorted(tmp_path.iterdir())
    for arguments, words in (
        ((a, small, "-o", tmp_path / "f.flo", "--method", "lk"), "75x60 and 30x30"),
        ((a, b, "-o", tmp_path / "f.txt", "--method", "lk"), "'.txt'"),
        ((a, b, "-o", tmp_path / "no" / "f.flo", "--method", "lk"), "does not exist"),
        ((a, b, "-o", tmp_path / "f.flo", "--method", "lkk"), "did you mean 'lk'"),
        ((a, b, "-o", tmp_path / "f.flo", "--weights", tmp_path), "config.json: no such file"),
        ((a, tmp_path / "c.png", "-o", tmp_path / "f.flo", "--method", "lk"), "c.png"),
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "") and len(err.splitlines()) == 1
        assert words in err
    assert sorted(tmp_path.iterdir()) == before
