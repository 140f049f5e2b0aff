"""Sets of long videos: kept one by one, with exact codings; corpora read at about 30 frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data import corpus_videos, long_videos
from deft_llm.data.corpus_videos import stride_of
from deft_llm.data.long_videos import LongVideoData, simulated_videos, video_specs
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.data.video_sources import CorpusFolder, VideoSource
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media.options import ReadOptions
from deft_llm.motion.rois import ROIS
from deft_llm.simulator.scene.video_spec import MICRO, VideoSpec
from tests.corpora.conftest import tiny

DATA = LongVideoData(videos=4, identities=2, seconds=(20, 25), workers=1)


def _track(frames: int, fps: float = 30.0) -> RoiTrack:
    motion = np.random.default_rng(0).normal(size=(frames, len(ROIS), 2)).astype(np.float32)
    return RoiTrack(0, motion, np.zeros(frames, np.int64), np.arange(frames) / fps)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Videos that were rendered: they are measured without a pixel."""
    calls: list[str] = []

    def film(spec: VideoSpec, *_: Any) -> list[float]:
        calls.append(spec.name)
        monkeypatch.setattr(long_videos, "roi_track", lambda path: _track(spec.frames))
        return [0.9 * shown.peak_px for shown in spec.expressions]

    monkeypatch.setattr(long_videos, "film_video", film)
    return calls


def test_videos_are_measured_once_and_one_by_one(measured: list[str], tmp_path: Path) -> None:
    first = simulated_videos(DATA, tmp_path)
    assert len(measured) == 4
    (tmp_path / "video-00002.safetensors").unlink()
    again = simulated_videos(DATA, tmp_path)
    assert measured[4:] == [measured[2]]
    assert [v.video for v in first] == [v.video for v in again] == measured[:4]
    with pytest.raises(UserError, match="holds videos of other settings"):
        simulated_videos(DATA.model_copy(update={"micro": 3.0}), tmp_path)


def test_videos_that_are_drawn_otherwise_by_now_are_made_again(
    measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_videos(DATA, tmp_path)
    shown = list(video_specs(DATA))
    shown[1] = replace(shown[1], blinks=())  # as after a change of the drawing
    monkeypatch.setattr(long_videos, "video_specs", lambda data: iter(shown))
    again = simulated_videos(DATA, tmp_path)
    assert measured[4:] == [shown[1].name]
    assert [video.video for video in again] == [spec.name for spec in shown]


def test_codings_are_those_of_the_recipes(measured: list[str], tmp_path: Path) -> None:
    for spec, video in zip(video_specs(DATA), simulated_videos(DATA, tmp_path), strict=True):
        micro = spec.of_kind(MICRO)
        assert video.coded == tuple(shown.coded for shown in micro)
        assert video.peaks == tuple(0.9 * shown.peak_px for shown in micro)
        assert len(video.macros) == len(spec.expressions) - len(micro)
        assert video.subject == spec.subject and video.speaks == spec.speaks
        assert video.seconds == pytest.approx(spec.seconds)
        assert video.curves(5).shape == (10, spec.frames)
        assert video.spotted(video.coded).found == video.coded


def test_a_video_without_a_face_is_kept_at_rest(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_face(spec: VideoSpec, *_: Any) -> list[float]:
        def raising(path: Path) -> RoiTrack:
            raise NoFaceError("no face")

        monkeypatch.setattr(long_videos, "roi_track", raising)
        return [1.0 for _ in spec.expressions]

    monkeypatch.setattr(long_videos, "film_video", no_face)
    video = simulated_videos(DATA.model_copy(update={"videos": 1}), tmp_path)[0]
    assert not video.track.present.any() and not video.curves(18).any()


def test_a_source_names_its_subjects_without_rendering(measured: list[str]) -> None:
    source = VideoSource(simulated=DATA)
    assert source.subjects() == {"own001000", "own001001"} and not measured
    with pytest.raises(ValueError, match="shortest and longest"):
        LongVideoData(videos=1, identities=1, seconds=(9, 3))


def test_sheets_at_200_frames_are_read_at_every_7th(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ReadOptions] = []

    def track(folder: Path, options: ReadOptions, cache: Path) -> RoiTrack:
        asked.append(options)
        assert options.fps
        count = len(list(folder.iterdir()))
        return _track(-(-count // options.stride), options.fps / options.stride)

    monkeypatch.setattr(corpus_videos, "roi_track", track)
    written = write_corpus("samm_long_videos", tmp_path, subjects=2, clips=2, renderer=tiny)
    source = VideoSource(corpus=CorpusFolder(name="samm_long_videos", root=tmp_path))
    videos = source.open(tmp_path / "cache")
    assert {video.subject for video in videos} == source.subjects()
    assert {(options.fps, options.stride) for options in asked} == {(200.0, 7)}
    coded = [each.interval for video in videos for each in video.coded]
    expected = [w.annotation.interval for w in written]
    for interval, whole in zip(coded, expected, strict=True):
        assert isinstance(interval, Interval) and whole is not None
        assert interval.onset == whole.onset // 7
    assert [stride_of(fps) for fps in (25, 30, 60, 100, 200)] == [1, 1, 2, 3, 7]
