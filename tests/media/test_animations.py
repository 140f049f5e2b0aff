"""Animated pictures and TIFF stacks are read as videos, with their own durations."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from deft_llm.errors import UserError
from deft_llm.media.options import Moment, ReadOptions
from deft_llm.media.video import probe, read_clip
from tests.media.films import Frames, moving

DURATIONS = [20, 20, 40, 20, 100, 20]


def animate(path: Path, frames: Frames, durations: list[int], **more: Any) -> Path:
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **more
    )
    return path


@pytest.mark.parametrize("suffix", [".webp", ".png", ".apng", ".gif"])
def test_animations_keep_their_durations(tmp_path: Path, suffix: str) -> None:
    frames = moving(6)
    more = {"lossless": True} if suffix == ".webp" else {}
    path = animate(tmp_path / f"a{suffix}", frames, DURATIONS, **more)
    clip = read_clip(path)
    np.testing.assert_allclose(clip.timestamps, np.cumsum([0, *DURATIONS[:-1]]) / 1000)
    # GIF has 256 colours; the others are lossless.
    assert np.abs(clip.frames.astype(int) - frames).max() <= (40 if suffix == ".gif" else 0)
    assert clip.remarks == ()
    info = probe(path)
    assert (info.frames, info.width, info.height) == (6, 64, 48)
    np.testing.assert_allclose(info.timestamps, clip.timestamps)
    part = read_clip(path, start=1, stop=6, stride=2)
    np.testing.assert_array_equal(part.frames, clip.frames[1:6:2])
    np.testing.assert_allclose(part.timestamps, clip.timestamps[1:6:2])


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animation_alone_in_its_folder(tmp_path: Path, suffix: str) -> None:
    """What is told of it beforehand is what is read, and its seconds are found."""
    path = animate(tmp_path / f"a{suffix}", moving(6), DURATIONS)
    info = probe(tmp_path)
    assert info.frames == len(read_clip(tmp_path)) == 6
    np.testing.assert_allclose(info.timestamps, read_clip(path).timestamps)
    start = Moment.parse("0.05s")
    assert ReadOptions.of(tmp_path, start=start) == ReadOptions.of(path, start=start)


def test_durations_of_zero_are_told(tmp_path: Path) -> None:
    clip = read_clip(animate(tmp_path / "a.gif", moving(4), [0] * 4))
    np.testing.assert_allclose(np.diff(clip.timestamps), 0.1)
    assert "frames without a duration are shown for 0.1 s" in clip.remarks


def test_picture_for_old_programs_is_no_frame(tmp_path: Path) -> None:
    """The default image of an animated PNG may stand outside of the animation."""
    frames = moving(4)
    pictures = [Image.fromarray(f) for f in frames]
    cover = Image.fromarray(np.zeros_like(frames[0]))
    path = tmp_path / "a.png"
    cover.save(path, save_all=True, append_images=pictures, default_image=True, duration=20)
    np.testing.assert_array_equal(read_clip(path).frames, frames)


def test_cut_animation_gives_what_is_whole(tmp_path: Path) -> None:
    data = animate(tmp_path / "a.gif", moving(8), [20] * 8).read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: 2 * len(data) // 3])
    clip = read_clip(tmp_path / "cut.gif")
    assert 2 <= len(clip) < 8 and "damaged or cut" in clip.remarks[0]


@pytest.mark.parametrize("head", [b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 "])
def test_heads_without_a_picture(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.gif").write_bytes(head)
    with pytest.raises(UserError, match="not a readable image"):
        read_clip(tmp_path / "a.gif")


# ------------------------------------------------------------------- TIFF stacks


def stack(path: Path, pages: list[np.ndarray], **more: Any) -> Path:
    pictures = [Image.fromarray(page) for page in pages]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **more)
    return path


@pytest.mark.parametrize("big", [False, True])
def test_stack_alone_or_alone_in_its_folder(tmp_path: Path, big: bool) -> None:
    frames = moving(20)
    path = stack(tmp_path / "stack.tif", list(frames), big_tiff=big)
    for source in (path, tmp_path):
        clip = read_clip(source, fps=50)
        np.testing.assert_array_equal(clip.frames, frames)
        assert clip.fps == pytest.approx(50) and clip.remarks == ()
        part = read_clip(source, start=3, stop=19, stride=5, fps=50)
        np.testing.assert_array_equal(part.frames, frames[3:19:5])
        assert probe(source).frames == 20
    assert "200 fps assumed" in " ".join(read_clip(path).remarks)


def test_stack_of_twelve_bits_has_one_scale(tmp_path: Path) -> None:
    deep = np.stack([np.full((8, 8), v, np.uint16) for v in (500, 1000, 4000)])
    clip = read_clip(stack(tmp_path / "a.tif", list(deep)), fps=25)
    np.testing.assert_array_equal(clip.frames[:, 0, 0, 0], np.rint(deep[:, 0, 0] / 4095 * 255))
    colour = np.repeat(deep[..., None], 3, axis=3)
    assert cv2.imwritemulti(str(tmp_path / "rgb.tif"), list(colour))
    np.testing.assert_array_equal(read_clip(tmp_path / "rgb.tif", fps=25).frames, clip.frames)


def test_interval_that_imagej_states(tmp_path: Path) -> None:
    text = "ImageJ=1.54f\nimages=3\nframes=3\nfinterval=0.005\nloop=false\n"
    path = stack(tmp_path / "a.tif", list(moving(3)), description=text)
    np.testing.assert_allclose(read_clip(path).timestamps, [0, 0.005, 0.01])
    assert read_clip(path).remarks == ()


def test_interval_beyond_all_numbers_is_none(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", list(moving(3)), description="ImageJ=1.54f\nfinterval=1e999\n")
    np.testing.assert_allclose(read_clip(path).timestamps, [0, 0.005, 0.01])


def test_thumbnail_page_is_no_frame(tmp_path: Path) -> None:
    """Cameras put a small copy behind the picture."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1
    frames = moving(2)
    for number, frame in enumerate(frames):
        with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / f"{number}.tif"), True) as file:
            Image.fromarray(frame).save(file, format="TIFF")
            file.newFrame()
            Image.fromarray(frame[::4, ::4]).save(file, format="TIFF", tiffinfo=info)
    np.testing.assert_array_equal(read_clip(tmp_path, fps=25).frames, frames)
    assert len(read_clip(tmp_path / "0.tif")) == 1


def test_damaged_stacks_end_in_one_line(tmp_path: Path) -> None:
    whole = stack(tmp_path / "a.tif", list(moving(6))).read_bytes()
    back = b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8)
    # BigTIFF: more entries than any memory holds or Python counts, and a place beyond any file.
    far = [
        b"II" + struct.pack("<HHHQQ", 43, 8, 0, at, count) + bytes(40)
        for at, count in ((16, 2**40), (16, 2**61), (2**63, 1))
    ]
    for content in (whole[:300], whole[: len(whole) // 2], b"II*\0", back, *far):
        (tmp_path / "a.tif").write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_clip(tmp_path / "a.tif")
        assert "\n" not in str(caught.value) and "a.tif" in str(caught.value)


def test_several_stacks_are_several_clips(tmp_path: Path) -> None:
    """Taking the first page of each would make a film of unrelated pictures."""
    for name in "ab":
        stack(tmp_path / f"{name}.tif", list(moving(3)))
    with pytest.raises(UserError, match=r"a\.tif holds 3 pictures"):
        read_clip(tmp_path)
