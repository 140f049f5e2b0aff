"""Simulated recordings of eyes: exact truth, plausible events, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.simulator.events import EyeRecording, EyeSpec, simulate_eye
from deft_llm.simulator.eye_motion import ACTIVITIES, move_eye


@pytest.fixture(scope="module")
def made() -> EyeRecording:
    return simulate_eye(EyeSpec(seed=2, eye=71, seconds=2.0, activity="saccade"))


def test_same_recipe_same_events(made: EyeRecording) -> None:
    again = simulate_eye(made.spec)
    for name in "txyp":
        np.testing.assert_array_equal(getattr(made.events, name), getattr(again.events, name))
    np.testing.assert_array_equal(made.pupil, again.pupil)
    other = simulate_eye(EyeSpec(seed=3, eye=71, seconds=0.3))
    assert len(other.events) != len(made.events)


def test_events_are_those_of_a_sensor(made: EyeRecording) -> None:
    e = made.events
    assert (np.diff(e.t) >= 0).all()
    assert e.t[0] >= 0
    assert e.t[-1] < 2_000_000
    assert e.x.max() < 640
    assert e.y.max() < 480
    assert set(np.unique(e.p)) == {0, 1}
    assert 20_000 < len(e) / 2 < 2_000_000  # a second
    np.testing.assert_array_equal(made.times, np.arange(1, 201) * 10_000)


def test_events_lie_where_the_pupil_moves(made: EyeRecording) -> None:
    # In a saccade the events' centre follows the pupil.
    during = made.during(made.saccades)
    assert during.any()
    far = []
    for i in np.flatnonzero(during & ~made.closed):
        part = made.events.between(int(made.times[i]) - 10_000, int(made.times[i]))
        centre = np.array([np.median(part.x), np.median(part.y)])
        far.append(np.hypot(*(centre - made.pupil[i])))
    assert np.median(far) < 60  # px, the radius of the iris


def test_blinks_cover_the_pupil() -> None:
    found = simulate_eye(EyeSpec(seed=4, eye=72, seconds=4.0, activity="blink"))
    assert len(found.blinks) > 0
    blinking = found.during(found.blinks)
    assert found.closed.any()
    assert (found.closed <= blinking).all()
    rate = np.diff(np.searchsorted(found.events.t, np.r_[0, found.times]))
    assert np.median(rate[blinking]) > 2 * np.median(rate[~blinking])


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_saccades_keep_the_main_sequence(activity: str) -> None:
    motion = move_eye(np.random.default_rng(1), 20.0, (80, 50), activity, 0.0, 0.5)
    assert len(motion.gaze) == 20_000
    assert np.isfinite(motion.gaze).all()
    assert (np.abs(motion.gaze) < (160, 110)).all()
    for a, b in motion.saccades[:-1]:
        assert 11 <= b - a + 1 <= 21 + 2.2 * 40
    # No jumps: the fastest saccade moves by a few px a ms.
    assert np.abs(np.diff(motion.gaze, axis=0)).max() < 8
