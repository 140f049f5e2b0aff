"""A video is measured from its file: whose face, which part, and what is said about it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.data.measuring import measure_video
from deft_llm.errors import UserError
from deft_llm.media import windows
from deft_llm.media.geometry import EXIF_ORIENTATIONS, orient
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.video import clip_from_array, write_video
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.motion.remarks import NO_MOTION
from deft_llm.simulator.scene.clips import draw_spec, render_clip
from deft_llm.spotters.returning import look_at
from tests.media.films import Frames, turn_film, write_film

FPS = 30


@cache
def wink(seed: int = 3) -> Frames:
    """One mouth corner of a rendered face goes up and comes back; 240 x 240."""
    spec = draw_spec(seed, 7, emotion="contempt", aus=("L12",), peak_px=3.0, blink=None, fps=FPS)
    frames = render_clip(spec).clip.frames
    return np.stack([cv2.resize(frame, (240, 240)) for frame in frames]).astype(np.uint8)


def still(count: int, seed: int = 3) -> Frames:
    """The face of :func:`wink` at rest, with fresh noise in every frame."""
    rng = np.random.default_rng(0)
    frames = wink(seed)[0] + rng.normal(0, 1.5, (count, 240, 240, 3))
    return np.clip(frames, 0, 255).astype(np.uint8)


def sides(measurement: Measurement) -> set[str]:
    """Sides of the face on which something moved at the mouth, the strongest half."""
    table = measurement.table_apex
    strong = table.active & (table.magnitude > 0.5 * table.magnitude.max())
    names = [REGION_NAMES[i] for i in np.flatnonzero(strong)]
    return {name.split()[0] for name in names if "mouth" in name or "cheek" in name}


def measured(frames: Frames, options: ReadOptions = WHOLE) -> Measurement:
    return measure_video(clip_from_array(frames, FPS, "a"), options)[1]


# ------------------------------------------------------------------- sides


@pytest.mark.parametrize("tag", [1, 3, 4, 6, 7])
def test_a_turned_video_keeps_its_sides(tmp_path: Path, tag: int) -> None:
    """The camera turned or mirrored what it stored, and said so: it is shown as it was."""
    xx, xy, yx, yy = EXIF_ORIENTATIONS[tag]
    stored = np.stack([orient(frame, (xx, yx, xy, yy)) for frame in wink()])
    path = write_film(tmp_path / "turned.mp4", stored)
    turn_film(path, EXIF_ORIENTATIONS[tag])
    _, measurement = measure_video(path, ReadOptions(fps=FPS))
    assert measurement.found and sides(measurement) == {"left"}


def test_a_mirrored_face_changes_sides() -> None:
    assert sides(measured(wink()[:, :, ::-1])) == {"right"}


def test_folder_and_film_agree_at_one_rate(tmp_path: Path) -> None:
    """Pictures carry no times; at the wrong rate, smoothing and search act on other frames."""
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(wink()):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), frame[..., ::-1])
    path = write_film(tmp_path / "film.mov", wink(), "png", {})
    clip, of_folder = measure_video(tmp_path / "frames", ReadOptions(fps=FPS))
    film, of_film = measure_video(path, ReadOptions(fps=FPS))
    np.testing.assert_array_equal(clip.frames, film.frames)
    assert of_folder.interval == of_film.interval
    np.testing.assert_array_equal(of_folder.table_apex.z, of_film.table_apex.z)
    assert of_folder.status == "ok"
    assert "200 fps assumed" in measure_video(tmp_path / "frames")[1].status


# ------------------------------------------------------------------- whose face


def side_by_side(left: Frames, right: Frames, gap: int = 60) -> Frames:
    count = min(len(left), len(right))
    between = np.full((count, 240, gap, 3), 120, np.uint8)
    return np.concatenate([left[:count], between, right[:count]], axis=2)


def smaller(frames: Frames) -> Frames:
    """The frames at 70 %, on a grey ground."""
    ground = np.full_like(frames, 120)
    ground[:, 36:204, 36:204] = np.stack([cv2.resize(frame, (168, 168)) for frame in frames])
    return ground


def test_of_two_faces_one_is_followed_and_the_other_told() -> None:
    both = side_by_side(still(20, seed=1), smaller(wink()))
    large = measured(both)
    assert not large.found and NO_MOTION in large.status
    assert (
        "another face is in the picture; measured is face 1 from the left, not face 2"
        in large.status
    )
    small = measured(both, ReadOptions(face=2))
    assert small.found and sides(small) == {"left"}
    with pytest.raises(UserError, match=r"face 3 .* 1 to 2"):
        measured(both, ReadOptions(face=3))


def test_face_that_comes_in_does_not_push_out_the_first() -> None:
    frames = side_by_side(smaller(wink()), still(20, seed=1))
    frames[: len(frames) // 2, :, 300:] = 120
    status = measured(frames).status
    assert "another face is in the picture from about" in status
    assert "left out" not in status
    late = measured(frames, ReadOptions(face=2))
    hidden = int((~late.aligned.present).sum())
    assert abs(hidden - len(frames) // 2) <= 1
    assert f"{hidden} of {len(frames)} frames without this face were left out" in late.status


def test_one_face_is_not_two() -> None:
    with pytest.raises(UserError, match="expected 1, the only one"):
        measured(wink(), ReadOptions(face=2))


def test_an_error_names_the_file(tmp_path: Path) -> None:
    """Many clips have one name; and what is left out by options is not missing in the file."""
    path = write_film(tmp_path / "grey.avi", np.full((12, 240, 240, 3), 120, np.uint8))
    with pytest.raises(UserError, match="no face found") as error:
        measure_video(path)
    assert str(error.value).startswith(f"{path}: ")
    with pytest.raises(UserError, match=r"expected at least 2 .*--stride") as error:
        measure_video(path, ReadOptions(stride=100))
    assert str(error.value).startswith(f"{path}: 1 frame;")
    with pytest.raises(UserError, match=r"clip a: 1 frame; .* give the video"):
        measured(still(1))


# ------------------------------------------------------------------- which part


def test_no_motion_across_a_cut() -> None:
    frames = np.concatenate([still(10), still(10, seed=1)])
    clip, measurement = measure_video(clip_from_array(frames, FPS, "a"))
    assert not measurement.found and len(clip) == len(measurement.aligned) == 10
    assert "hard cut at 0.33 s; no motion is measured across it" in measurement.status


def test_the_shot_that_moves_is_shown() -> None:
    frames = np.concatenate([still(30, seed=1), wink()])
    clip, measurement = measure_video(clip_from_array(frames, FPS, "a"))
    assert measurement.found and sides(measurement) == {"left"}
    assert len(clip) == len(wink()) and clip.timestamps[0] == pytest.approx(1)
    assert "count from frame 30 of the video" in measurement.status
    found = look_at(windows.Window(clip_from_array(frames, FPS, "a"), 0, True)).found
    assert len(found) == 1 and found[0].measurement.aligned.timestamps[0] >= 1


def test_part_and_stride() -> None:
    frames = np.concatenate([still(15), wink(), still(15)])
    clip, measurement = measure_video(
        clip_from_array(frames, FPS, "a"), ReadOptions(start=10, stop=10 + len(wink()), stride=2)
    )
    np.testing.assert_array_equal(clip.frames, frames[10 : 10 + len(wink()) : 2])
    assert clip.fps == pytest.approx(FPS / 2)
    assert "count from frame 10 of the video, at 0.33 s" in measurement.status
    with pytest.raises(UserError, match="no frame in the range"):
        measure_video(clip_from_array(frames, FPS, "a"), ReadOptions(start=999))


def test_a_long_video_is_measured_by_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strongest movement of all windows, in the middle of one."""
    monkeypatch.setattr(windows, "WINDOW_BYTES", 45 * (240 * 240 * 3 + windows._MADE))
    monkeypatch.setattr(windows, "SHORTEST", 1.0)
    monkeypatch.setattr(windows, "OVERLAP", 0.5)
    frames = np.concatenate([still(60), wink(), still(30)])
    write_video(tmp_path / "long.mp4", frames, FPS)
    clip, measurement = measure_video(tmp_path / "long.mp4")
    assert measurement.found and sides(measurement) == {"left"}
    apex = float(clip.timestamps[measurement.interval.apex])
    assert 60 / FPS < apex < (60 + len(wink())) / FPS
    assert len(clip) == len(measurement.aligned) == 45
    assert 15 < measurement.interval.apex < 30
    assert "measured by windows" in measurement.status
    assert clip.remarks == measurement.aligned.remarks
