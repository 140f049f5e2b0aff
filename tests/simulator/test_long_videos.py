"""Long videos: what is drawn, and that streamed frames show it."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.media.video import write_frames, write_video
from deft_llm.simulator.head import Head
from deft_llm.simulator.long_videos import LongScene
from deft_llm.simulator.scene.performance import Blink, Curve, HeadTurn
from deft_llm.simulator.scene.scene import CANONICAL_INTEROCULAR, Scene
from deft_llm.simulator.scene.video_drawing import FPS, Rates, draw_video
from deft_llm.simulator.scene.video_spec import (
    MACRO,
    MICRO,
    HeadPath,
    LightEvent,
    ShownExpression,
    VideoSpec,
)
from tests.simulator.conftest import EllipsoidHead

FRAMES = 40
NOTHING = Rates(0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def drawn() -> list[VideoSpec]:
    return [draw_video(seed, 5, 60.0, without=seed % 3 == 0) for seed in range(30)]


def test_equal_arguments_draw_equal_videos(drawn: list[VideoSpec]) -> None:
    again = draw_video(1, 5, 60.0)
    assert again == drawn[1] and again.name == drawn[1].name
    assert len({video.name for video in drawn}) == len(drawn)


def test_expressions_follow_each_other_and_some_touch(drawn: list[VideoSpec]) -> None:
    gaps = []
    for video in drawn:
        intervals = [shown.interval for shown in video.expressions]
        gaps += [b.onset - a.offset for a, b in pairwise(intervals)]
        assert all(interval.offset < video.frames for interval in intervals)
        assert bool(video.of_kind(MICRO)) != (video.rest.seed % 3 == 0)
    assert min(gaps) == 0
    assert 0.05 < np.mean(np.array(gaps) <= 5) < 0.35


def test_durations_spread_fivefold(drawn: list[VideoSpec]) -> None:
    """As in the codings: a decoder with one length must not do well here."""
    seconds = [len(shown.interval) / FPS for v in drawn for shown in v.of_kind(MICRO)]
    assert max(seconds) > 5 * min(seconds)
    low, high = np.percentile(seconds, [5, 95])
    assert 0.2 < low < 0.35 and 0.7 < high < 1.6
    peaks = [shown.peak_px for v in drawn for shown in v.of_kind(MICRO)]
    assert 0.3 <= min(peaks) < 0.5 and 2 < max(peaks) <= 3
    assert all(shown.peak_px > 3 for v in drawn for shown in v.of_kind(MACRO))


def _still(**happens: object) -> VideoSpec:
    video = draw_video(3, 0, FRAMES / FPS, rates=NOTHING, size=64)
    return replace(video, **happens)  # type: ignore[arg-type]


def _film(video: VideoSpec, head: Head) -> np.ndarray:
    return np.stack(list(LongScene(video, head).frames()))


def test_frames_are_those_of_a_clip_until_something_happens() -> None:
    head = EllipsoidHead()
    still = _still()
    clip, _ = Scene(still.rest, head).film()
    np.testing.assert_array_equal(_film(still, head), clip)
    curve = Curve(FRAMES, 12, 16, 25, 1.0, 1.0)
    shown = ShownExpression("micro", "happiness", ("12",), (1.0,), (0.0,), 3.0, curve)
    moved = _film(_still(expressions=(shown,)), head)
    changed = (moved != clip).any((1, 2, 3))
    assert np.flatnonzero(changed).tolist() == list(range(13, 25))
    scene = LongScene(_still(expressions=(shown,)), head)
    before, after = (scene.view.project(scene.vertices(t)[scene.skin]) for t in (12, 16))
    px = CANONICAL_INTEROCULAR / scene.spec.framing.interocular
    assert scene.peaks() == [pytest.approx(3.0, rel=0.05)]
    assert np.linalg.norm(after - before, axis=1).max() * px == pytest.approx(3.0, rel=0.05)


def test_blinks_gaze_turns_and_light() -> None:
    head = EllipsoidHead()
    blinks = (Blink(0.2, 0.2, (1.0, 0.9)), Blink(0.8, 0.2, (0.8, 0.8)))
    turn = HeadTurn((0.1, 0.0, 0.0), 0.3, 0.2)
    back = HeadTurn((-0.1, 0.0, 0.0), 0.8, 0.2)
    still = _still()
    path = HeadPath(**{**vars(still.rest.motion), "turns": (turn, back)})
    video = _still(
        rest=replace(still.rest, motion=path),
        blinks=blinks,
        fixations=((0.0, 0.1, 0.0), (0.5, -0.1, 0.05)),
    )
    scene, calm = LongScene(video, head), LongScene(still, head)
    closed = np.flatnonzero(scene.blink[:, 0])
    assert set((closed / FPS > 0.5).tolist()) == {True, False}
    np.testing.assert_allclose(scene.gaze[[0, 15, 17, -1], 0], [0.1, 0.1, -0.1, -0.1], atol=1e-6)
    apart = np.abs(scene.rotations - calm.rotations).max((1, 2))
    assert apart[:9].max() < 1e-6 < 0.05 < apart[16:24].min() and apart[31:].max() < 1e-6
    light = LightEvent("flicker", 0.3, 0.5, 0.5)
    lit, unlit = _film(_still(lights=(light,)), head), _film(still, head)
    same = (lit == unlit).all((1, 2, 3))
    assert same[:16].all() and same[31:].all() and not same[16:30].all()


def test_frames_are_written_as_they_come(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 31, 32, 3)).astype(np.uint8)
    whole = io.BytesIO()
    write_video(whole, frames, 30)
    write_frames(tmp_path / "a.mp4", iter(frames), 30)
    assert (tmp_path / "a.mp4").read_bytes() == whole.getvalue()
    with pytest.raises(UserError, match="no frames"):
        write_frames(tmp_path / "b.mp4", iter(()), 30)
    assert not (tmp_path / "b.mp4").exists()
