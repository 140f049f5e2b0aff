"""What a user may say about reading: a rate, a part, a face; and long videos by windows."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deft_llm.errors import UserError
from deft_llm.media import windows
from deft_llm.media.options import Moment, ReadOptions
from deft_llm.media.selection import Frame
from deft_llm.media.video import read_clip
from deft_llm.media.windows import read_windows
from tests.media.films import moving, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "a.mp4", moving(90))


@pytest.mark.parametrize(
    ("text", "value", "in_seconds"),
    [("120", 120, False), ("1.5s", 1.5, True), (" 0 ", 0, False), ("2S", 2, True)],
)
def test_moments(text: str, value: float, in_seconds: bool) -> None:
    assert Moment.parse(text) == Moment(value, in_seconds)


@pytest.mark.parametrize("text", ["", "s", "-3", "1.5", "1:30", "nans", "infs", "later"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(UserError, match="expected a frame"):
        Moment.parse(text)


def test_seconds_become_frames(film: Path) -> None:
    second = Moment(1.0, True)
    assert ReadOptions.of(film, start=second).start == 25
    assert ReadOptions.of(film, start=second, fps=10).start == 10
    assert ReadOptions.of(film, stop=Moment(0.5, True)).stop == 13
    # A plain frame number asks nothing of the file.
    assert ReadOptions.of("nowhere.mp4", start=Moment(7, False)).start == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": 0.0},
        {"fps": float("nan")},
        {"start": -1},
        {"start": 5, "stop": 5},
        {"stride": 0},
        {"face": 0},
    ],
)
def test_wrong_options(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError) as caught:
        ReadOptions(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------- windows


def small_windows(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Room for so many frames of 64 x 48."""
    monkeypatch.setattr(windows, "_MADE", 0)
    monkeypatch.setattr(windows, "WINDOW_BYTES", frames * 48 * 64 * 3)


def test_short_video_is_one_window(film: Path) -> None:
    (window,) = read_windows(film)
    np.testing.assert_array_equal(window.clip.frames, read_clip(film).frames)
    assert (window.first, window.last) == (0, True)


@pytest.mark.parametrize(
    "options", [ReadOptions(), ReadOptions(fps=50, start=7, stop=88, stride=2)]
)
def test_windows_cover_the_video(
    film: Path, monkeypatch: pytest.MonkeyPatch, options: ReadOptions
) -> None:
    small_windows(monkeypatch, 30)
    monkeypatch.setattr(windows, "OVERLAP", 0.25)
    whole = read_clip(
        film, start=options.start, stop=options.stop, stride=options.stride, fps=options.fps
    )
    end, last = 0, False
    for window in read_windows(film, options):
        assert not last
        last = window.last
        assert window.clip.goes_on != last
        begin = (window.first - options.start) // options.stride
        part = slice(begin, begin + len(window.clip))
        np.testing.assert_array_equal(window.clip.frames, whole.frames[part])
        np.testing.assert_allclose(window.clip.timestamps, whole.timestamps[part])
        # An expression at a border lies whole in the next window.
        assert begin == 0 or whole.timestamps[end - 1] - whole.timestamps[begin] > 0.15
        end = begin + len(window.clip)
    assert end == len(whole) and last


def test_window_too_short_for_an_expression_is_scaled_down(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 20)
    monkeypatch.setattr(windows, "SMALLEST_SIDE", 32)
    first = next(read_windows(film))
    assert len(first.clip) >= 0.95 * windows.SHORTEST * 25
    assert first.clip.frames.shape[2] < 64


GAPS = np.concatenate([np.arange(0, 4, 0.04), np.arange(9, 10, 0.01), np.arange(14, 14.05, 0.01)])
EVEN = [np.arange(0, seconds, 1 / 30) for seconds in (0.5, 2.9, 3.0, 7.3, 20.0)]


@pytest.mark.parametrize("times", [*EVEN, GAPS])
def test_every_second_lies_whole_in_some_window(
    film: Path, monkeypatch: pytest.MonkeyPatch, times: NDArray[np.float64]
) -> None:
    grey = np.zeros((8, 8, 3), np.uint8)
    frames = [Frame(i, grey, second) for i, second in enumerate(times.tolist())]
    monkeypatch.setattr(windows, "frames_of", lambda *_: iter(frames))
    found = [(w.first, w.first + len(w.clip)) for w in read_windows(film, longest=3.0)]
    assert found[0][0] == 0 and found[-1][1] == len(times)
    assert all(b[0] <= a[1] for a, b in pairwise(found)), "no frame is left out"
    assert all(times[stop - 1] - times[start] <= 3.0 for start, stop in found)
    for begin in times[times <= max(times[-1] - 1.0, 0.01)]:
        inside = [(a, b) for a, b in found if times[a] <= begin + 1e-6]
        end = times[times <= begin + 0.9][-1]
        assert any(times[b - 1] >= end - 1e-6 for a, b in inside)


def test_windows_without_times_go_by_the_rate(tmp_path: Path) -> None:
    for i, image in enumerate(moving(50)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    found = [len(w.clip) for w in read_windows(tmp_path, ReadOptions(fps=10), longest=3.0)]
    assert found == [30, 30]
