"""Videos and pictures come upright, unmirrored and with square pixels, as a player shows them."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deft_llm.media.geometry import EXIF_ORIENTATIONS, fit, nearest_orientation, orient
from deft_llm.media.video import probe, read_clip
from tests.media.films import Frames, moving, turn_film, write_film

# How each EXIF orientation is undone, by the standard's own words ("row 0 is at the right ...").
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def corners() -> Frames:
    """Four corners of different colour, wider than high."""
    image = np.full((40, 60, 3), 90, np.uint8)
    image[:20, :30], image[:20, 30:], image[20:, :30] = (200, 60, 60), (60, 200, 60), (60, 60, 200)
    return image


@pytest.mark.parametrize("tag", EXIF_ORIENTATIONS)
def test_matrices_are_those_of_the_standard(tag: int) -> None:
    picture = corners()
    np.testing.assert_array_equal(orient(picture, EXIF_ORIENTATIONS[tag]), UPRIGHT[tag](picture))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "TIFF16", "PNG16"])
@pytest.mark.parametrize("tag", EXIF_ORIENTATIONS)
def test_pictures_are_upright(tmp_path: Path, kind: str, tag: int) -> None:
    """A one-sided smile on the wrong side is a wrong result."""
    picture = corners()
    exif = Image.Exif()
    exif[274] = tag
    deep = kind.endswith("16")
    form = kind.removesuffix("16")
    stored = picture[..., 0].astype(np.uint16) * 257 if deep else picture
    file = io.BytesIO()
    more = {"quality": 95} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    Image.fromarray(stored).save(file, form, exif=exif, **more)
    for name in "12":
        (tmp_path / f"{name}.{form.lower()}").write_bytes(file.getvalue())
    clip = read_clip(tmp_path, fps=25)
    expected = UPRIGHT[tag](np.repeat(picture[..., :1], 3, 2) if deep else picture)
    assert clip.frames.shape[1:] == expected.shape
    assert np.abs(clip.frames[1].astype(int) - expected).mean() < 4
    assert (probe(tmp_path).height, probe(tmp_path).width) == expected.shape[:2]


@pytest.mark.parametrize("tag", EXIF_ORIENTATIONS)
def test_videos_are_upright(tmp_path: Path, tag: int) -> None:
    frames = moving(4)
    path = write_film(tmp_path / "turned.mp4", frames)
    turn_film(path, EXIF_ORIENTATIONS[tag])
    clip = read_clip(path)
    expected = np.stack([UPRIGHT[tag](frame) for frame in frames])
    assert clip.frames.shape == expected.shape
    assert np.abs(clip.frames.astype(int) - expected).mean() < 3
    assert (probe(path).height, probe(path).width) == expected.shape[1:3]


def test_turn_that_is_no_quarter_takes_the_nearest() -> None:
    tilted = np.array([64000, 14000, 0, -14000, 64000, 0, 0, 0, 1 << 30], np.int32)
    assert nearest_orientation(tilted) == (1, 0, 0, 1)
    assert nearest_orientation(-tilted) == (-1, 0, 0, -1)


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        (Fraction(4, 3), (48, 85)),
        (Fraction(1, 2), (96, 64)),
        (Fraction(1001, 1000), (48, 64)),  # a rounding of encoders: resampling would blur
        (Fraction(100), (48, 64)),  # a broken header
    ],
)
def test_pixels_are_square(tmp_path: Path, ratio: Fraction, size: tuple[int, int]) -> None:
    path = write_film(tmp_path / "wide.mp4", moving(3), ratio=ratio)
    assert read_clip(path).frames.shape == (3, *size, 3)
    assert (probe(path).height, probe(path).width) == size


def test_square_pixels_and_a_turn(tmp_path: Path) -> None:
    """The ratio is that of the stored pixels, before the turn."""
    path = write_film(tmp_path / "both.mp4", moving(3), ratio=Fraction(2))
    turn_film(path, EXIF_ORIENTATIONS[6])
    assert read_clip(path).frames.shape == (3, 128, 48, 3)
    circle = np.zeros((48, 64, 3), np.uint8)
    cv2.ellipse(circle, (32, 24), (8, 16), 0, 0, 360, (255, 255, 255), -1)
    path = write_film(tmp_path / "circle.mp4", np.stack([circle] * 2), ratio=Fraction(2))
    bright = read_clip(path).frames[0, :, :, 0] > 128
    assert abs(int(bright.any(axis=0).sum()) - int(bright.any(axis=1).sum())) <= 2


def test_other_sizes_keep_their_proportions() -> None:
    picture = np.full((40, 20, 3), 200, np.uint8)
    fitted = fit(picture, (80, 100))
    assert fitted.shape == (80, 100, 3)
    assert (fitted[:, 30:70] == 200).all() and not fitted[:, :30].any() and not fitted[:, 70:].any()
