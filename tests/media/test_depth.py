"""Values of more than 8 bits: the range that is used becomes 8 bits, and a stretch is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.media.depth import Depth, to_rgb8, used_depth
from deft_llm.media.pictures import read_image, read_images
from deft_llm.media.video import clip_from_array, read_clip


def ramp(count: int = 4) -> np.ndarray:
    """(T, 40, 50) from 0 to 1; later pictures are darker."""
    wide = np.linspace(0, 1, 2000).reshape(40, 50)
    return np.stack([wide * (1 - 0.1 * i) for i in range(count)])


def store(folder: Path, pictures: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        ok, data = cv2.imencode(suffix, picture)
        assert ok
        (folder / f"{number}{suffix}").write_bytes(data.tobytes())
    return folder


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_as_the_twin_of_eight_bits(tmp_path: Path, bits: int, suffix: str) -> None:
    deep = np.rint(ramp() * (2**bits - 1)).astype(np.uint16)
    clip = read_clip(store(tmp_path / "deep", deep, suffix), fps=25)
    twin = read_clip(store(tmp_path / "twin", np.rint(ramp() * 255).astype(np.uint8)), fps=25)
    assert np.abs(clip.frames.astype(int) - twin.frames).max() <= 1
    told = " ".join(clip.remarks)
    assert (f"{2**bits - 1} is taken for white" in told) == (bits < 16)


def test_one_scale_for_a_folder(tmp_path: Path) -> None:
    """A scale for each picture, or for each part that is read, would change the light."""
    deep = np.rint(ramp() * 4095).astype(np.uint16)
    folder = store(tmp_path / "deep", np.concatenate([deep[::-1] // 4, deep]))
    whole = read_clip(folder, fps=25)
    np.testing.assert_array_equal(
        read_clip(folder, start=0, stop=3, fps=25).frames, whole.frames[:3]
    )
    assert whole.frames[3].max() < 70


def test_dark_pictures_are_not_stretched_in_silence(tmp_path: Path) -> None:
    dark = np.rint(ramp() * 900).astype(np.uint16)
    assert "values up to 900: 1023 is taken for white" in " ".join(
        read_clip(store(tmp_path / "dark", dark), fps=25).remarks
    )


def test_one_bright_picture_says_that_all_are_of_sixteen_bits(tmp_path: Path) -> None:
    deep = np.rint(ramp() * 900).astype(np.uint16)
    deep[-1, 0, 0] = 50000
    clip = read_clip(store(tmp_path / "deep", deep), fps=25)
    assert clip.frames[0].max() < 5 and clip.remarks == ()


@pytest.mark.parametrize("white", [1.0, 255.0, 4095.0])
def test_floating_point_pictures(tmp_path: Path, white: float) -> None:
    pictures = (ramp() * white).astype(np.float32)
    pictures[0, 0, 0] = np.nan
    clip = read_clip(store(tmp_path / "float", pictures, ".tif"), fps=25)
    assert np.abs(clip.frames[:, :, :, 1] - np.nan_to_num(ramp()) * 255).max() <= 1
    assert f"{white:g} is taken for white" in " ".join(clip.remarks)


@pytest.mark.parametrize(
    ("form", "bits"),
    [("gray16le", 12), ("gray16le", 16), ("gray12le", 12), ("gray10le", 10), ("rgb48le", 12)],
)
def test_videos_of_more_than_eight_bits(tmp_path: Path, form: str, bits: int) -> None:
    path, pictures = tmp_path / "deep.mkv", np.rint(ramp() * (2**bits - 1)).astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 40, 50, form
        for number, picture in enumerate(pictures):
            values = np.repeat(picture[..., None], 3, axis=2) if form == "rgb48le" else picture
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format=form)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = read_clip(path)
    assert np.abs(clip.frames[..., 1] - ramp() * 255).max() <= 2
    np.testing.assert_array_equal(read_clip(path, start=3).frames, clip.frames[3:])


@pytest.mark.parametrize("form", ["yuv444p16le", "y216le", "xv48le"])
def test_luma_and_chroma_of_sixteen_bits_are_as_dark_as_filmed(tmp_path: Path, form: str) -> None:
    path, dark = tmp_path / "dark.nut", np.full((48, 64, 3), 40, np.uint8)
    # 64 wide: of other widths FFmpeg's way to these formats leaves some pixels to chance.
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, form
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(dark, format="rgb24").reformat(format=form)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = read_clip(path)
    # FFmpeg's way from 4:2:2 is off by two levels.
    assert np.abs(clip.frames.astype(int) - 40).max() <= 2 and not clip.remarks


def test_arrays_and_single_pictures(tmp_path: Path) -> None:
    deep = np.rint(ramp() * 4095).astype(np.uint16)
    clip = clip_from_array(deep, 25, "a")
    assert np.abs(clip.frames[..., 0] - ramp() * 255).max() <= 1 and "4095" in clip.remarks[0]
    folder = store(tmp_path / "deep", deep)
    np.testing.assert_array_equal(read_image(folder / "0.png"), clip.frames[0])


def test_pictures_that_are_compared_have_one_range(tmp_path: Path) -> None:
    """At 1020 and 1030 a range of each would be of 10 and of 12 bits."""
    deep = np.stack([np.full((8, 8), level, np.uint16) for level in (1020, 1030)])
    folder = store(tmp_path / "deep", deep)
    first, second = read_images(folder / "0.png", folder / "1.png")
    assert (first[0, 0, 0], second[0, 0, 0]) == (64, 64)
    assert read_image(folder / "0.png")[0, 0, 0] == 254
    # A picture of 8 bits beside it is as it is.
    store(tmp_path / "eight", np.full((1, 8, 8), 200, np.uint8))
    assert read_images(tmp_path / "eight" / "0.png", folder / "1.png")[0].max() == 200


def test_black_pictures_are_black() -> None:
    black = np.zeros((2, 4, 4), np.uint16)
    assert used_depth(black, "pictures").remark == ""
    assert not to_rgb8(black[0], "a", used_depth(black, "pictures")).any()


def test_what_is_no_picture() -> None:
    with pytest.raises(UserError, match="2 channels"):
        to_rgb8(np.zeros((4, 4, 2), np.uint8), "a", Depth(255))
    with pytest.raises(UserError, match="expected an image"):
        to_rgb8(np.zeros((4, 4), np.complex64), "a", Depth(255))
