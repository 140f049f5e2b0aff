"""Regions over a long video: parts joined without a step, resumed, and cut into network inputs."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.data import roi_tracking
from deft_llm.data.inputs import INPUTS, source_of
from deft_llm.data.roi_curves import network_curves, network_windows, paper_windows
from deft_llm.data.roi_tracking import RoiTrack, follow_rois, roi_track
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media import windows
from deft_llm.media.video import write_video
from deft_llm.motion.rois import FIVE, MIRRORED, ROIS

FPS, FRAMES = 25, 150
Floats = NDArray[np.float32]


def _wave(times: NDArray[np.float64]) -> Floats:
    """True motion (T, 18, 2) at these times, another one for every region and axis."""
    rates = 0.3 + np.arange(36).reshape(18, 2) / 20
    return np.sin(rates * times[:, None, None]).astype(np.float32)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parts of at most 60 frames, whose motion is known up to the frame that it is against."""
    calls: list[int] = []

    def measure(clip: Clip, options: object) -> tuple[Floats, tuple[str, ...]]:
        calls.append(len(clip))
        wave = _wave(clip.timestamps)
        return wave - wave[len(clip) // 2], ("another face",)

    monkeypatch.setattr(roi_tracking, "_measure", measure)
    room = 60 * (48 * 64 * 3 + windows._MADE)
    monkeypatch.setattr(windows, "WINDOW_BYTES", room)
    return calls


def _video(path: Path, frames: int = FRAMES, cut: int | None = None) -> Path:
    """A pattern that hardly moves; after a cut, its negative."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(30, 220, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    shown = np.repeat(picture[None], frames, axis=0)
    if cut is not None:
        shown[cut:] = 255 - shown[cut:]
    write_video(path, shown, FPS)
    return path


def test_parts_are_joined_without_a_step(measured: list[int], tmp_path: Path) -> None:
    parts = list(follow_rois(_video(tmp_path / "long.mp4")))
    assert len(parts) > 2 and max(map(len, parts)) <= 60
    ends = [part.first + len(part) for part in parts]
    assert [part.first for part in parts] == [0, *ends[:-1]] and ends[-1] == FRAMES
    track = roi_track(tmp_path / "long.mp4")
    assert len(track) == FRAMES and not track.shots.any()
    wave = _wave(track.timestamps)
    np.testing.assert_allclose(track.motion - track.motion[0], wave - wave[0], atol=1e-4)


def test_a_cut_begins_a_new_shot(measured: list[int], tmp_path: Path) -> None:
    track = roi_track(_video(tmp_path / "cut.mp4", cut=70))
    assert np.flatnonzero(np.diff(track.shots)).tolist() == [69]
    assert len(track) == FRAMES
    wave = _wave(track.timestamps)
    for shot in (slice(0, 70), slice(70, None)):
        apart = track.motion[shot] - wave[shot]
        np.testing.assert_allclose(apart - apart[:1], 0, atol=1e-4)


def test_a_stopped_search_goes_on(measured: list[int], tmp_path: Path) -> None:
    path, cache = _video(tmp_path / "long.mp4"), tmp_path / "cache"
    straight = roi_track(path)
    search = follow_rois(path, cache=cache)
    next(search)
    next(search)
    del search  # as Ctrl-C would end it
    measured.clear()
    first = roi_track(path, cache=cache)
    assert len(measured) == len(list(follow_rois(path))) - 2
    measured.clear()
    again = roi_track(path, cache=cache)
    assert not measured
    for track in (first, again):
        np.testing.assert_array_equal(track.motion, straight.motion)
        assert track.remarks == straight.remarks == ("another face",)
    # A damaged part is measured again.
    file = next(cache.rglob("part_00001.safetensors"))
    file.write_bytes(file.read_bytes()[:50])
    np.testing.assert_array_equal(roi_track(path, cache=cache).motion, straight.motion)
    assert len(measured) == 1


def test_frames_of_the_same_names_and_sizes_are_not_the_same_video(
    measured: list[int], tmp_path: Path
) -> None:
    """Uncompressed pictures are as large as one another; a copy elsewhere is the same video."""
    rng, cache = np.random.default_rng(0), tmp_path / "cache"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for t in range(4):
            picture = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / name / f"img{t}.bmp"), picture)
        roi_track(tmp_path / name, cache=cache)
    assert measured == [4, 4]
    shutil.copytree(tmp_path / "two", tmp_path / "copy")
    roi_track(tmp_path / "copy", cache=cache)
    assert measured == [4, 4]


def _track(motion: Floats, shots: list[int] | None = None) -> RoiTrack:
    count = len(motion)
    numbers = np.zeros(count, np.int64) if shots is None else np.array(shots)
    return RoiTrack(0, motion, numbers, np.arange(count) / FPS)


def test_curves_of_a_whole_video() -> None:
    motion = np.zeros((400, 18, 2), np.float32)
    motion[:, :, 0] = np.linspace(0, 3, 400)[:, None]  # a slow drift
    motion[200:215, 4, 1] -= 1.0  # an expression of .6 s
    motion[300:] += 5.0  # another shot, with another zero
    motion[50:60] = np.nan
    curves = network_curves(_track(motion, [0] * 300 + [1] * 100))
    assert curves.shape == (36, 400) and curves.dtype == np.float32
    assert curves[9, 200:215] == pytest.approx(-1)  # region 4, v
    assert np.abs(np.delete(curves, 9, axis=0)).max() < 0.45  # of the drift, at the ends
    assert np.abs(curves[9, :190]).max() < 1e-5
    assert not curves[:, 50:60].any()
    five = network_curves(_track(motion, [0] * 300 + [1] * 100), regions=5)
    np.testing.assert_array_equal(five[2:4], curves[8:10])
    assert five.shape == (10, 400)


def test_windows_begin_at_zero_and_overlap_by_half() -> None:
    rng = np.random.default_rng(0)
    motion = rng.normal(size=(107, 18, 2)).astype(np.float32)
    motion[30:35] = np.nan
    found = network_windows(_track(motion), 30)
    assert found.shape == (107 // 15 - 1, 36, 30)
    assert not found[:, :, 0].any()
    flat = motion.reshape(107, 36)
    np.testing.assert_allclose(found[3], (flat[45:75] - flat[45]).T, atol=1e-6)
    # A window that begins without a face is against the first frame with one.
    np.testing.assert_allclose(found[2, :, 5:], (flat[35:60] - flat[35]).T, atol=1e-6)
    assert not found[2, :, :6].any()


def test_inputs_of_networks_and_their_mirror_images() -> None:
    stored = np.random.default_rng(0).normal(size=(3, 36, 20)).astype(np.float16)
    for name, regions in (("roi_curves", range(len(ROIS))), ("roi_five", FIVE)):
        feature, make = source_of(name, ["roi_curves"], "test")
        assert feature == "roi_curves"
        curves = torch.from_numpy(make(stored, None))
        assert curves.shape == (3, 2 * len(regions), 20) and curves.dtype == torch.float32
        flipped = INPUTS[name].mirror(curves)
        torch.testing.assert_close(INPUTS[name].mirror(flipped), curves)
        for place, region in enumerate(regions):
            other = list(regions).index(MIRRORED[region])
            torch.testing.assert_close(flipped[:, 2 * place], -curves[:, 2 * other])
            torch.testing.assert_close(flipped[:, 2 * place + 1], curves[:, 2 * other + 1])


def test_errors_are_one_line(tmp_path: Path) -> None:
    track = _track(np.zeros((40, 18, 2), np.float32))
    with pytest.raises(UserError, match="even number"):
        network_windows(track, 15)
    with pytest.raises(UserError, match="40 frames: shorter than a window of 50"):
        network_windows(track, 50)
    with pytest.raises(UserError, match="6 regions: expected 5 or 18"):
        network_curves(track, regions=6)
    with pytest.raises(UserError, match="even number"):
        next(paper_windows(tmp_path, 1))


def test_a_video_without_a_face(tmp_path: Path) -> None:
    path = _video(tmp_path / "none.mp4", frames=40)
    with pytest.raises(NoFaceError, match="no face in 40 frames"):
        roi_track(path)
    found = list(paper_windows(path, 20))
    assert len(found) == 3 and not np.any(found)


def test_a_real_face(real: Path) -> None:
    path = real / "video" / "single_face.mp4"
    track = roi_track(path)
    assert track.present.mean() > 0.9
    assert np.abs(network_curves(track)).max() < 20
    window = next(paper_windows(path, 30, regions=5))
    assert window.shape == (10, 30) and not window[:, 0].any() and window.any()
