"""Folders of frames: order, depth, channels, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.media.video import probe, read_clip

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
