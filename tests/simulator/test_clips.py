"""Recipes follow their stated distributions; renders agree with their ground truth."""

import operator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.simulator.head import Head
from deft_llm.simulator.render.camera import Framing
from deft_llm.simulator.scene.clips import (
    ClipSpec,
    SimulatedClip,
    draw_spec,
    render_clip,
    render_many,
)
from deft_llm.simulator.scene.performance import Curve, HeadMotion
from deft_llm.simulator.scene.statistics import combinations

SHORT = Curve(3, 0, 1, 2, 1.0, 1.0)


@pytest.fixture(scope="module")
def specs() -> list[ClipSpec]:
    return [draw_spec(seed) for seed in range(1500)]


@pytest.fixture(scope="module")
def smile(ellipsoid: Head) -> SimulatedClip:
    """A smile of the stand-in head, 2 px at the apex, under a moving head."""
    spec = draw_spec(5, 1, aus=("12",), emotion="happiness", peak_px=2.0, size=192, blink=None)
    framing = Framing(50.0, 80.0, (0.5, 0.4))
    return render_clip(replace(spec, framing=framing), ellipsoid)


def test_the_shares_of_the_benchmark(specs: list[ClipSpec]) -> None:
    assert np.mean([s.emotion is None for s in specs]) == pytest.approx(0.1, abs=0.025)
    assert np.mean([s.blink is not None for s in specs]) == pytest.approx(0.4, abs=0.04)
    assert np.mean([s.gaze.first != s.gaze.second for s in specs]) == pytest.approx(0.4, abs=0.04)
    peaks = np.log([s.peak_px for s in specs])
    assert np.quantile(peaks, 0.5) == pytest.approx(np.log(0.3 * 3) / 2, abs=0.1)
    assert np.log(0.3) <= peaks.min() and peaks.max() <= np.log(3)
    drift = [s.motion.drift for s in specs]
    assert 0.5 <= min(drift) < 0.6 and 2.9 < max(drift) <= 3.0


def test_emotions_come_at_the_rate_of_real_codings(specs: list[ClipSpec]) -> None:
    table = combinations()
    total = sum(sum(rows.values()) for rows in table.values())
    coded = [s for s in specs if s.emotion is not None]
    share = np.mean([s.emotion == "disgust" for s in coded])
    assert share == pytest.approx(sum(table["disgust"].values()) / total, abs=0.04)
    assert all("+".join(s.aus) in table[s.emotion] for s in coded if s.emotion)
    assert any(s.aus and s.aus[0] in {"L12", "R12"} for s in coded), "sides are kept as coded"


def test_every_clip_has_neutral_frames_for_the_noise_floor(specs: list[ClipSpec]) -> None:
    for spec in specs:
        curve = spec.curve
        assert 24 <= curve.frames <= 36
        assert curve.onset >= 10 and curve.frames - 1 - curve.offset >= 3
        assert curve.onset < curve.apex < curve.offset


def test_an_override_leaves_the_rest_as_drawn() -> None:
    plain, changed = draw_spec(11), draw_spec(11, peak_px=1.0, identity=4)
    assert replace(plain, peak_px=1.0, identity=4) == changed
    assert draw_spec(11, emotion="surprise").emotion == "surprise"
    assert draw_spec(11, emotion=None).aus == ()


def test_combination_weights_replace_the_statistics() -> None:
    weights = {"sadness": {"1+15": 1.0}}
    drawn = [draw_spec(s, combination_weights=weights, neutral_share=0.0) for s in range(20)]
    assert {(s.emotion, s.aus) for s in drawn} == {("sadness", ("1", "15"))}


def test_wrong_overrides_are_named() -> None:
    with pytest.raises(UserError, match="peek_px"):
        draw_spec(0, peek_px=1.0)
    with pytest.raises(UserError, match="boredom"):
        draw_spec(0, emotion="boredom")


def test_a_recipe_survives_json(specs: list[ClipSpec]) -> None:
    for spec in specs[:50]:
        assert ClipSpec.from_json(spec.to_json()) == spec


def test_annotation_says_what_was_rendered(smile: SimulatedClip) -> None:
    note, curve = smile.annotation, smile.spec.curve
    assert (note.aus, note.emotion, note.interval) == (("12",), "happiness", curve.interval)
    assert smile.clip.frames.shape == (curve.frames, 192, 192, 3)
    assert smile.clip.fps == pytest.approx(smile.spec.fps)
    assert draw_spec(3, emotion=None).annotation().interval is None


def test_the_face_moves_by_the_drawn_peak(smile: SimulatedClip) -> None:
    curve = smile.spec.curve
    flow, mask = smile.exact_flow(curve.onset, curve.apex)
    peak = np.linalg.norm(flow, axis=0).max() * 80 / smile.spec.framing.interocular
    assert peak == pytest.approx(2.0, rel=0.08)
    assert not flow[:, ~mask].any()


def test_compensation_leaves_facial_motion_alone(smile: SimulatedClip) -> None:
    curve = smile.spec.curve
    compensated, mask = smile.exact_flow(curve.onset, curve.apex)
    whole, _ = smile.exact_flow(curve.onset, curve.apex, compensated=False)
    forehead = mask.copy()
    forehead[60:] = False
    assert np.abs(compensated[:, forehead]).max() < 0.02
    assert np.abs(whole[:, forehead]).mean() > 0.1
    still, _ = smile.exact_flow(0, curve.onset)
    assert not still.any()


def test_landmarks_move_with_the_flow(smile: SimulatedClip) -> None:
    curve = smile.spec.curve
    flow, mask = smile.exact_flow(curve.onset, curve.apex, compensated=False)
    start, end = smile.landmarks[curve.onset], smile.landmarks[curve.apex]
    x, y = np.rint(start).astype(int).T
    seen = mask[y, x]
    assert seen.sum() > 40
    difference = np.abs(flow[:, y, x].T - (end - start))[seen]
    assert difference.max() < 0.1 and difference.mean() < 0.02


def test_frames_follow_the_exact_flow(smile: SimulatedClip) -> None:
    curve = smile.spec.curve
    flow, mask = smile.exact_flow(curve.onset, curve.apex, compensated=False)
    start, end = (
        smile.clip.frames[i, ..., 1].astype(np.float32) for i in (curve.onset, curve.apex)
    )
    y, x = np.mgrid[:192, :192].astype(np.float32)
    warped = cv2.remap(end, x + flow[0], y + flow[1], cv2.INTER_CUBIC)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    before, after = np.abs(end - start)[inner].mean(), np.abs(warped - start)[inner].mean()
    assert after < 0.6 * before


def test_compression_keeps_frames_and_times(smile: SimulatedClip) -> None:
    decoded = smile.encoded()
    np.testing.assert_allclose(decoded.timestamps, smile.clip.timestamps, atol=1e-3)
    error = decoded.frames.astype(float) - smile.clip.frames
    assert 0 < np.abs(error).mean() < 6


def test_a_clip_without_aus_has_a_still_face(ellipsoid: Head) -> None:
    spec = draw_spec(2, 1, emotion=None, size=96, blink=None)
    clip = render_clip(replace(spec, framing=Framing(25.0, 80.0, (0.5, 0.4))), ellipsoid)
    flow, _ = clip.exact_flow(0, spec.curve.apex)
    assert not flow.any()


def test_same_recipe_same_bytes_in_this_and_in_other_processes() -> None:
    head_motion = HeadMotion((0.0, 0.0, 0.0), 1.0, 0.2, 0.02, 1)
    specs = [draw_spec(s, s, motion=head_motion, size=96, curve=SHORT) for s in range(2)]
    here = [render_clip(spec).clip.content_hash() for spec in specs]
    again = list(render_many(specs, operator.attrgetter("clip"), workers=1))
    there = list(render_many(specs, operator.attrgetter("clip"), workers=2))
    assert here == [clip.content_hash() for clip in again]
    assert here == [clip.content_hash() for clip in there]
    assert len(set(here)) == 2


def test_opencv_finds_the_rendered_faces() -> None:
    finder = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = 0
    for seed in range(6):
        spec = draw_spec(seed, 50 + seed, curve=SHORT)
        frame = render_clip(spec).clip.frames[spec.curve.apex]
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        found += len(finder.detectMultiScale(grey, 1.1, 5, minSize=(80, 80))) == 1
    assert found == 6
