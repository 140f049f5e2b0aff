"""How clips are read: what is wrong with an option is wrong for all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.media.video import write_video

from .conftest import Run


@pytest.mark.parametrize("command", ["explain", "spot", "recognize"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--stride", "0"), "range start 0, stop at the end, stride 0; expected"),
        (("--start", "1,5"), "'1,5' is no moment"),
        (("--start", "20", "--stop", "10"), "--start 20 --stop 10: expected a start before"),
        (("--start", "2s", "--stop", "1.5s"), "--start 2s --stop 1.5s: expected a start before"),
        (("--fps", "0"), "0 frames per second"),
        (("--face", "0"), "face 0; faces are numbered from 1"),
        (("--landmarks", "meann"), "did you mean 'mean'?"),
    ],
)
def test_a_wrong_option_is_told_once(
    run: Run, here: Path, command: str, options: tuple[str, ...], told: str
) -> None:
    """Of a folder of a thousand clips, each complained."""
    (here / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(here / "clips" / name, np.full((4, 64, 64, 3), 90, np.uint8), 25.0)
    result = run(command, "clips", *options)
    assert result.status == 2 and result.out == ""
    (line,) = result.err.splitlines()
    assert told in line
    assert sorted(path.name for path in here.iterdir()) == ["clips"]


def test_seconds_and_frames_may_be_mixed(run: Run, here: Path) -> None:
    """Which of the two comes first depends on the clip."""
    write_video(here / "a.mp4", np.full((30, 64, 64, 3), 90, np.uint8), 25.0)
    result = run("spot", "a.mp4", "--start", "12", "--stop", "1s")
    assert "no face in 13 frames" in result.err
