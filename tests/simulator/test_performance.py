"""Curves over time: where they start, peak and end."""

import numpy as np
import pytest

from deft_llm.simulator.scene.performance import (
    Blink,
    Curve,
    Gaze,
    HeadMotion,
    draw_blink,
    draw_duration,
    draw_gaze,
)

TIMES = np.arange(40) / 80.0


def test_expression_is_zero_outside_and_one_at_the_apex_only() -> None:
    values = Curve(30, 10, 16, 25, 0.8, 1.2).values()
    assert not values[:11].any() and not values[25:].any()
    assert values.argmax() == 16 and values[16] == pytest.approx(1)
    assert (np.diff(values[10:17]) > 0).all() and (np.diff(values[16:26]) < 0).all()


def test_blink_closes_fully_and_opens_again() -> None:
    closure = Blink(0.1, 0.2, (1.0, 0.8)).values(np.linspace(0, 0.5, 501))
    np.testing.assert_allclose(closure.max(axis=0), [1.0, 0.8], atol=1e-3)
    assert not closure[0].any() and not closure[-1].any()


def test_gaze_moves_from_the_first_to_the_second_fixation() -> None:
    gaze = Gaze((0.0, 0.1), (0.1, 0.0), 0.2, 0.03).values(TIMES)
    np.testing.assert_allclose(gaze[[0, -1]], [[0, 0.1], [0.1, 0]], atol=1e-6)


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_head_drifts_by_what_was_drawn(turn: float) -> None:
    px_per_cm = 80 / 6.3
    motion = HeadMotion((0.0, 0.0, 0.0), 2.0, turn, 0.0, 7)
    rotations, shifts = motion.values(TIMES, px_per_cm)
    eyes = np.array([0, 0, 8.5])
    moved = (rotations @ eyes + shifts - eyes)[:, :2]
    assert np.linalg.norm(moved, axis=1).max() * px_per_cm == pytest.approx(2.0, rel=0.02)
    assert np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max() < 1e-5


def test_head_drift_is_slow() -> None:
    _, shifts = HeadMotion((0.0, 0.0, 0.0), 2.0, 0.0, 0.0, 3).values(TIMES, 12.0)
    step = np.abs(np.diff(shifts, axis=0)).max()
    assert step < 0.3 * np.ptp(shifts, axis=0).max()


def test_durations_follow_their_quantiles() -> None:
    rng = np.random.default_rng(0)
    quantiles = [0.1, 0.15, 0.2, 0.25, 0.3]
    drawn = [draw_duration(rng, quantiles, (0.12, 0.4)) for _ in range(2000)]
    assert np.median(drawn) == pytest.approx(0.2, abs=0.01)
    assert np.quantile(drawn, 0.75) == pytest.approx(0.25, abs=0.01)
    assert min(drawn) == 0.12


def test_drawn_events_lie_inside_the_clip() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        blink, gaze = draw_blink(rng, 0.4), draw_gaze(rng, 0.4, True)
        assert 0.1 <= blink.duration <= 0.3 and 0 <= blink.start <= 0.3
        assert np.linalg.norm(np.subtract(gaze.first, gaze.second)) > np.radians(1.3)
        assert gaze.start + gaze.duration < 0.42
