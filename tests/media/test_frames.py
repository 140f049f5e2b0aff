"""Folders of frames: order, depth, channels, and what is wrong with a bad one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.media.frames import list_frames
from deft_llm.media.options import ReadOptions
from deft_llm.media.video import probe, read_clip
from deft_llm.media.windows import read_windows

RGB = np.array([200, 100, 50], np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    ok, data = cv2.imencode(path.suffix, image)
    assert ok
    path.write_bytes(data.tobytes())


def folder_of(path: Path, frames: int = 12, size: tuple[int, int] = (20, 30)) -> Path:
    """Frame i has a red channel of 10 i; numbered without leading zeros."""
    path.mkdir()
    for index in range(frames):
        image = np.zeros((*size, 3), np.uint8)
        image[..., 2] = 10 * index
        save(path / f"img{index + 1}.png", image)
    return path


def test_natural_order_and_times(tmp_path: Path) -> None:
    """img10 comes after img9, or the motion runs back and forth."""
    folder = folder_of(tmp_path / "Ordner mit Löchern 表")
    (folder / "notes.txt").write_text("no image")
    clip = read_clip(folder, fps=100)
    np.testing.assert_array_equal(clip.frames[:, 0, 0, 0], 10 * np.arange(12))
    np.testing.assert_allclose(clip.timestamps, np.arange(12) / 100)
    assert probe(folder, fps=100).frames == 12


def test_missing_frames_leave_their_time(tmp_path: Path) -> None:
    """Closed in silence, a gap moves everything behind it."""
    folder = folder_of(tmp_path / "f")
    for number in (5, 6, 7, 10):
        (folder / f"img{number}.png").unlink()
    clip, times = read_clip(folder, fps=50), np.array([0, 1, 2, 3, 7, 8, 10, 11]) / 50
    np.testing.assert_allclose(clip.timestamps, times)
    np.testing.assert_allclose(probe(folder, fps=50).timestamps, times)
    told = "4 frames are missing by the numbers in the names, the first before img8.png"
    assert told in clip.remarks[0]
    np.testing.assert_allclose(read_clip(folder).timestamps, times / 4)
    part = read_clip(folder, start=3, stop=6, stride=2, fps=50)
    np.testing.assert_allclose(part.timestamps, times[3:6:2])
    assert len(next(read_windows(folder, ReadOptions(fps=50), longest=0.1)).clip) == 4


def test_a_range_beyond_the_last_frame_misses_none(tmp_path: Path) -> None:
    left = list_frames(folder_of(tmp_path / "f", 3)).part(5, None)
    assert (left.frames, left.places, left.missing, left.remarks) == ((), [], 0, [])


@pytest.mark.parametrize("numbers", [range(10, 60, 10), (33, 67, 100, 133, 167)])
def test_another_way_of_counting_is_no_gap(tmp_path: Path, numbers: Sequence[int]) -> None:
    """Every tenth frame, and milliseconds."""
    for number in numbers:
        save(tmp_path / f"{number:03d}.png", np.zeros((20, 30, 3), np.uint8))
    clip = read_clip(tmp_path, fps=100)
    np.testing.assert_allclose(clip.timestamps, np.arange(5) / 100)
    assert not clip.remarks


def test_a_picture_that_is_no_frame_is_left_out_and_told(tmp_path: Path) -> None:
    """The last one would be taken for the end of the movement."""
    folder = folder_of(tmp_path / "f")
    save(folder / "preview.jpg", np.zeros((9, 9, 3), np.uint8))
    clip = read_clip(folder, fps=50)
    assert clip.frames.shape == (12, 20, 30, 3)
    assert clip.remarks == ("preview.jpg: left out, not named like the frames",)
    save(folder / "cover.png", np.zeros((9, 9, 3), np.uint8))
    assert "cover.png, preview.jpg: left out" in read_clip(folder, fps=50).remarks[0]


def test_pictures_without_numbers_are_all_frames(tmp_path: Path) -> None:
    for name in ("onset", "apex", "offset"):
        save(tmp_path / f"{name}.png", np.zeros((20, 30, 3), np.uint8))
    clip = read_clip(tmp_path, fps=50)
    assert len(clip) == 3 and not clip.remarks


def test_range_equals_slice(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f")
    whole, part = read_clip(folder, fps=50), read_clip(folder, start=2, stop=11, stride=4, fps=50)
    np.testing.assert_array_equal(part.frames, whole.frames[2:11:4])
    np.testing.assert_allclose(part.timestamps, whole.timestamps[2:11:4])


def test_stated_rate_when_none_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_clip(folder_of(tmp_path / "f")).fps == pytest.approx(200)
    assert "200 fps" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".png", "rgb8"),
        (".png", "rgb16"),
        (".png", "rgba8"),
        (".png", "rgba16"),
        (".png", "grey8"),
        (".tif", "grey16"),
        (".bmp", "rgb8"),
        (".tif", "rgb8"),
        (".jpg", "rgb8"),
    ],
)
def test_depths_and_channels(tmp_path: Path, suffix: str, kind: str) -> None:
    image: np.ndarray = np.tile(RGB[::-1], (16, 16, 1))
    expected = RGB
    if "grey" in kind:
        image, expected = np.full((16, 16), 100, np.uint8), np.array([100, 100, 100], np.uint8)
    if "rgba" in kind:
        image = np.dstack([image, np.full((16, 16), 7, np.uint8)])
    if "16" in kind:
        image = image.astype(np.uint16) * 257
    save(tmp_path / f"f{suffix}", image)
    clip = read_clip(tmp_path, fps=30)
    assert np.abs(clip.frames[0, 8, 8].astype(int) - expected).max() <= (
        3 if suffix == ".jpg" else 0
    )


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="no images"):
        read_clip(tmp_path)


def test_mixed_sizes_names_the_odd_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", 4)
    save(folder / "img3.png", np.zeros((20, 31, 3), np.uint8))
    with pytest.raises(UserError, match=r"img3\.png is 31x20, img1\.png is 30x20"):
        read_clip(folder)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_unreadable_image(tmp_path: Path, content: bytes) -> None:
    folder = folder_of(tmp_path / "f", 3)
    (folder / "img2.png").write_bytes(content)
    with pytest.raises(UserError, match=r"img2\.png"):
        read_clip(folder)
