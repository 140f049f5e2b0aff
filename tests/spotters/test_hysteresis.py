"""Our decoder: nothing in noise, true borders, touching expressions, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deft_llm.clip import Expression, Interval
from deft_llm.errors import UserError
from deft_llm.spotters.decoding import PUBLISHED, Curve
from deft_llm.spotters.hysteresis import (
    Thresholds,
    TrainingCurve,
    calibrate,
    decode,
    expressions,
)

USUAL = Thresholds()


def _curve(count: int, *bumps: tuple[int, int, float], floor: float = 0.02) -> Curve:
    """What a perfect network says of expressions (onset, offset, height)."""
    curve = np.full(count, floor)
    for onset, offset, height in bumps:
        curve[onset + 1 : offset] = height
    return curve


def _borders(curve: Curve, thresholds: Thresholds = USUAL) -> list[tuple[int, int]]:
    return [(i.onset, i.offset) for i in decode(curve, thresholds)]


def test_an_hour_of_noise_gives_no_alarm() -> None:
    rng = np.random.default_rng(0)
    noise = 0.02 + rng.normal(0, 0.05, 30 * 3600)
    assert decode(noise) == []
    assert decode(np.full(30 * 3600, 0.05)) == []
    # A threshold relative to the video's maximum finds several in every minute.
    for decoder in PUBLISHED.values():
        assert sum(len(decoder(minute, 11)) for minute in np.split(noise, 60)) > 180


def test_borders_of_expressions_of_any_length_and_height() -> None:
    bumps = ((20, 26, 0.92), (60, 160, 0.7), (200, 212, 0.95), (300, 420, 0.55))
    assert _borders(_curve(500, *bumps)) == [(a, b) for a, b, _ in bumps]


def test_a_border_is_a_share_of_its_own_maximum() -> None:
    t = np.arange(200)
    for height in (0.6, 0.9):
        curve = 0.02 + height * np.clip(1 - np.abs(t - 100) / 30, 0, None)
        wide, narrow = (_borders(curve, Thresholds(0.5, border))[0] for border in (0.3, 0.7))
        # The triangle has a share b of its height 30 (1 - b) frames from its apex.
        assert wide == pytest.approx((79, 121), abs=2)
        assert narrow == pytest.approx((91, 109), abs=2)


def test_hysteresis_bridges_a_dip_but_needs_the_high_threshold() -> None:
    curve = _curve(100, (20, 60, 0.8))
    curve[35:45] = 0.52  # above SPLIT of both sides
    assert _borders(curve) == [(20, 60)]
    assert _borders(np.minimum(curve, 0.45)) == []


def test_touching_expressions() -> None:
    # Between two peaks the curve falls to .3, above the low threshold: one run, two expressions.
    curve = _curve(120, (20, 40, 0.9), (46, 70, 0.8))
    curve[39:48] = 0.3
    assert _borders(curve) == [(20, 39), (47, 70)]
    curve[39:48] = 0.3 + 0.6 * np.abs(np.linspace(-1, 1, 9))
    (first, middle), (after, last) = _borders(curve)
    assert (first, last) == (20, 70) and 38 <= middle <= 44 <= after + 2 <= 48
    # A valley above SPLIT of the lower peak is noise on one expression.
    curve[39:48] = 0.6
    assert _borders(curve) == [(20, 70)]


def test_a_side_peak_below_the_threshold_is_no_expression() -> None:
    curve = _curve(120, (20, 40, 0.4), (40, 60, 0.9))
    (found,) = _borders(curve)
    assert found == (40, 60)


def test_three_in_a_row() -> None:
    bumps = ((10, 20, 0.9), (24, 34, 0.6), (38, 48, 0.9))
    curve = np.maximum(_curve(60, *bumps), 0.0)
    curve[11:48] = np.maximum(curve[11:48], 0.3)
    found = _borders(curve)
    assert len(found) == 3
    assert [sum(a <= x <= b for a, b in found) for x in (15, 29, 43)] == [1, 1, 1]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_short_curves_and_gaps(count: int) -> None:
    for each in decode(np.ones(count)):
        assert 0 <= each.onset <= each.apex <= each.offset < count
    assert decode(np.full(count, np.nan)) == []


def test_scores_are_the_height_at_the_apex() -> None:
    curve = _curve(100, (20, 40, 0.9), (60, 80, 0.6))
    found = expressions(curve, decode(curve))
    assert [each.score for each in found] == pytest.approx([0.9, 0.6])
    assert [each.interval.apex for each in found] == pytest.approx([30, 70], abs=1)


def _training(heights: Sequence[float], alarms: float, seed: int = 0) -> list[TrainingCurve]:
    """Videos with one expression each, as high as said, and as many with a false bump."""
    rng = np.random.default_rng(seed)
    curves = []
    for height in heights:
        noise = rng.normal(0, 0.02, 300)
        coded = (Expression(Interval(100, 110, 121)),)
        curves.append(TrainingCurve(_curve(300, (100, 121, height)) + noise, coded, 10.0))
        curves.append(TrainingCurve(_curve(300, (50, 70, alarms)) + noise[::-1], (), 10.0))
    return curves


def test_calibration_finds_the_middle_between_expressions_and_false_alarms() -> None:
    thresholds = calibrate(_training((0.3, 0.35, 0.4), 0.14))
    assert 0.16 < thresholds.enter < 0.29
    # Half of the usual threshold would do no harm here, and all are found.
    for each in _training((0.3, 0.35, 0.4), 0.14, seed=1):
        assert len(decode(each.curve, thresholds)) == len(each.coded)


def test_calibration_keeps_a_limit_of_false_alarms() -> None:
    # Two of six expressions are lower than the false bumps.
    curves = _training((0.25, 0.3, 0.7, 0.7, 0.7, 0.7), 0.4)
    free, strict = calibrate(curves), calibrate(curves, most_alarms=0.2)
    assert strict.enter > 0.4
    assert strict.enter >= free.enter
    # No threshold below 1 keeps this limit: the fewest alarms are taken.
    high = calibrate(_training((0.5,), 0.99), most_alarms=0.0)
    assert high.enter <= 0.95


def test_alarms_beside_expressions_count_and_wrong_borders_do_not() -> None:
    coded = (Expression(Interval(100, 110, 121)), Expression(Interval(200, 210, 221)))
    # One expression is low, and a false bump as high; at a third expression the border is wrong.
    bumps = ((100, 121, 0.9), (200, 221, 0.4), (10, 30, 0.5))
    alarm = TrainingCurve(_curve(300, *bumps), coded, 10.0)
    strict = calibrate([alarm], most_alarms=0.2)
    assert len(decode(alarm.curve, strict)) == 1
    assert len(decode(alarm.curve, calibrate([alarm], most_alarms=6.0))) == 3
    wrong = TrainingCurve(_curve(300, *bumps[:2]), (coded[0], Expression(Interval(214, 230, 260))))
    wrong = replace(wrong, seconds=10.0)
    assert calibrate([wrong], most_alarms=0.0).enter < 0.9


def test_the_border_is_calibrated() -> None:
    t = np.arange(300)
    curve = 0.9 * np.clip(1 - np.abs(t - 150) / 40, 0, None)
    for offset in (12, 26):  # .7 and .35 of the height
        coded = (Expression(Interval(150 - offset, 150, 150 + offset)),)
        border = calibrate([TrainingCurve(curve, coded)]).border
        (found,) = decode(curve, Thresholds(0.5, border))
        assert abs(found.offset - 150 - offset) <= 8


def test_errors_are_one_line() -> None:
    with pytest.raises(UserError, match="without a coded expression"):
        calibrate([TrainingCurve(np.zeros(10), (), math.nan)])
    with pytest.raises(UserError, match="between 0 and 1"):
        Thresholds(enter=1.2)
