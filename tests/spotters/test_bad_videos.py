"""What is wrong with a video is told, and searched around, by a trained spotter as by our search.

An untrained network finds something everywhere, which shows where nothing must be found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media.options import ReadOptions
from deft_llm.media.video import read_clip, write_video
from deft_llm.motion.rois import ROIS
from deft_llm.spotters import spot as spot_module
from deft_llm.spotters.finder import Finder
from deft_llm.spotters.hysteresis import Thresholds
from deft_llm.spotters.registry import LoadedSpotter, make_spotter, save_spotter
from deft_llm.spotters.spot import Seen, load_finder, search_video, spot
from deft_llm.spotters.trained import TrainedFinder, in_one_shot

CLIPS = Path(__file__).parents[2] / "demo" / "clips"
FPS = 25
Frames = NDArray[np.uint8]


@dataclass
class Searched:
    """What a search told of a video."""

    parts: list[Seen]

    @property
    def curve(self) -> NDArray[np.float64]:
        values = [value for part in self.parts for value in part.curve]
        return np.array([np.nan if value is None else value for value in values])

    @property
    def remarks(self) -> list[str]:
        return [remark for part in self.parts for remark in part.remarks]

    @property
    def intervals(self) -> list[Interval]:
        return [each.expression.interval for part in self.parts for each in part.spotted]


def _frames(name: str) -> Frames:
    """Somebody's face, frames as they lie in the clip."""
    return read_clip(CLIPS / name).frames[:28]


@pytest.fixture(scope="module")
def face() -> Frames:
    """A face at rest."""
    return _frames("04_nothing.mp4")


@pytest.fixture(scope="module")
def other() -> Frames:
    """Another face."""
    return _frames("05_sadness.mp4")


@pytest.fixture
def trained(tmp_path: Path) -> TrainedFinder:
    """An untrained network that learned in windows longer than these videos."""
    torch.manual_seed(0)
    network = make_spotter("me_tst", {"width": 8, "depth": 1, "states": 4}).eval()
    folder = tmp_path / "spotter"
    folder.mkdir()
    save_spotter(
        LoadedSpotter("me_tst", network, Thresholds(0.05, 0.05), fps=FPS, window=256), folder
    )
    finder = load_finder(str(folder))
    assert isinstance(finder, TrainedFinder)
    return finder


@pytest.fixture
def search(trained: TrainedFinder, tmp_path: Path) -> Callable[[Frames], Searched]:
    def run(frames: Frames) -> Searched:
        write_video(tmp_path / "v.mp4", frames, FPS)
        steps = search_video(tmp_path / "v.mp4", finder=trained)
        return Searched([step.seen for step in steps if step.seen is not None])

    return run


def test_the_embedded_spotter_is_found_by_name(
    trained: TrainedFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spot_module, "WEIGHTS", tmp_path / "none")
    with pytest.raises(UserError, match="spotter 'embedded': no such folder; expected 'returning'"):
        load_finder("embedded")
    monkeypatch.setattr(spot_module, "WEIGHTS", trained.folder)
    assert load_finder("embedded").key == trained.key


def test_shorter_than_a_window(search: Callable[[Frames], Searched], face: Frames) -> None:
    found = search(face[:20])
    assert len(found.curve) == 20 and np.isfinite(found.curve).all()
    assert found.intervals and not found.remarks


def test_a_face_that_is_lost_for_seconds(
    search: Callable[[Frames], Searched], face: Frames
) -> None:
    grey = np.full((60, *face.shape[1:]), 128, np.uint8)
    found = search(np.concatenate([face, grey, face]))
    lost = np.flatnonzero(np.isnan(found.curve))
    assert set(range(len(face) + 2, len(face) + 58)) <= set(lost.tolist())
    assert len(lost) < 70
    for interval in found.intervals:
        assert not set(range(interval.onset, interval.offset + 1)) <= set(lost.tolist())
    assert not any("hard cut" in remark for remark in found.remarks)


def test_a_cut(search: Callable[[Frames], Searched], face: Frames, other: Frames) -> None:
    found = search(np.concatenate([face, other]))
    at = len(face) / FPS
    assert found.remarks == [f"hard cut at {at:.2f} s; no motion is measured across it"]
    assert found.intervals
    for interval in found.intervals:
        assert interval.offset < len(face) or interval.onset >= len(face)


def test_a_second_person(search: Callable[[Frames], Searched], face: Frames, other: Frames) -> None:
    found = search(np.concatenate([face, other], axis=2))
    (remark,) = found.remarks
    assert "another face is in the picture; measured is face" in remark


@pytest.fixture(params=["trained", "returning"])
def finder(request: pytest.FixtureRequest, trained: TrainedFinder) -> Finder:
    return trained if request.param == "trained" else load_finder("returning")


def test_a_number_that_no_face_has(
    finder: Finder, tmp_path: Path, face: Frames, other: Frames
) -> None:
    write_video(tmp_path / "v.mp4", np.concatenate([face, other], axis=2), FPS)
    with pytest.raises(NoFaceError, match=r"no face 3 \(--face\) in 28 frames"):
        spot(tmp_path / "v.mp4", ReadOptions(face=3), finder)


def test_a_person_who_leaves_ends_no_search(
    finder: Finder, tmp_path: Path, face: Frames, other: Frames
) -> None:
    both = np.concatenate([face, other], axis=2)
    alone = np.concatenate([other, np.full_like(face, 128)], axis=2)
    write_video(tmp_path / "v.mp4", np.concatenate([both, alone]), FPS)
    steps = search_video(tmp_path / "v.mp4", ReadOptions(face=2), finder)
    curve = Searched([step.seen for step in steps if step.seen is not None]).curve
    assert np.isfinite(curve[:28]).all() and np.isnan(curve[28:]).all()


def test_landmarks_that_nobody_can_place_are_no_missing_face(
    finder: Finder, tmp_path: Path, face: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "empty"))
    write_video(tmp_path / "v.mp4", face, FPS)
    with pytest.raises(UserError, match="no face mesh there"):
        spot(tmp_path / "v.mp4", ReadOptions(landmarks="face-mesh"), finder)


def test_a_face_that_shows_little(finder: Finder, tmp_path: Path, face: Frames) -> None:
    """Nothing found says less of it."""
    small = np.stack([cv2.resize(frame, None, fx=0.25, fy=0.25) for frame in face])
    far = np.pad(small, ((0, 0), (80, 80), (80, 80), (0, 0)), constant_values=128)
    dark = (face * 0.12).astype(np.uint8)
    for frames, told in ((far, "less than 60 px wide"), (dark, "the face is dark")):
        write_video(tmp_path / "v.mp4", frames, FPS)
        steps = search_video(tmp_path / "v.mp4", finder=finder)
        (remark,) = Searched([step.seen for step in steps if step.seen is not None]).remarks
        assert told in remark


def test_a_frame_rate_that_varies(trained: TrainedFinder, tmp_path: Path, face: Frames) -> None:
    """Seconds are those of the file, frames are counted as they are shown."""
    ticks = np.cumsum(np.resize([30, 30, 60], len(face))) - 30
    path = tmp_path / "varies.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.height, stream.width, stream.pix_fmt = *face.shape[1:3], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for frame, tick in zip(face, ticks, strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = int(tick), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    parts = [step.seen for step in search_video(path, finder=trained) if step.seen]
    times = [time for part in parts for time in part.times]
    assert times == pytest.approx((ticks / 1000).tolist(), abs=1e-3)
    for part in parts:
        for each in part.spotted:
            i = each.expression.interval
            shown = [ticks[t] / 1000 for t in (i.onset, i.apex, i.offset)]
            assert each.seconds == pytest.approx(shown, abs=2e-3)


def test_no_face(trained: TrainedFinder, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", np.full((30, 64, 64, 3), 90, np.uint8), FPS)
    with pytest.raises(NoFaceError, match="no face in 30 frames, so no expression"):
        spot(tmp_path / "v.mp4", finder=trained)


def test_what_lies_across_a_cut_or_without_a_face() -> None:
    motion = np.zeros((100, len(ROIS), 2), np.float32)
    motion[60:80] = np.nan
    shots = np.repeat([0, 1], [40, 60])
    track = RoiTrack(0, motion, shots, np.arange(100) / FPS)
    assert in_one_shot(Interval(10, 15, 20), track) == Interval(10, 15, 20)
    assert in_one_shot(Interval(30, 35, 45), track) == Interval(30, 35, 39)
    assert in_one_shot(Interval(30, 41, 45), track) == Interval(40, 41, 45)
    assert in_one_shot(Interval(50, 58, 62), track) == Interval(50, 58, 62)
    assert in_one_shot(Interval(57, 58, 70), track) is None
    assert in_one_shot(Interval(55, 65, 70), track) is None


def test_real_videos(real: Path) -> None:
    with pytest.raises(NoFaceError):
        spot(real / "video" / "no_face.mp4")
    smile = real / "video" / "single_face.mp4"
    assert [each.kind for each in spot(smile, macro=True)] == ["macro"]
    assert not spot(smile)
    found = spot(smile, finder=load_finder("returning"), macro=True)
    assert [each.kind for each in found] == ["macro"]
