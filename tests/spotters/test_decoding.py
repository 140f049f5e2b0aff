"""Published decoders against their public code, run on four curves (k_p 6)."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.spotters.decoding import (
    PUBLISHED,
    Curve,
    challenge,
    fixed,
    scalable,
    smooth,
    suppress_overlaps,
)

Bumps = tuple[tuple[float, float, float], ...]
# Length and bumps (centre, width, height) on a floor of .05; then the borders by decoder.
GOLDEN: dict[str, tuple[int, Bumps, dict[str, list[tuple[int, int]]]]] = {
    "two bumps": (
        200,
        ((50, 5, 0.9), (130, 20, 0.6)),
        {
            "fixed": [(45, 57), (124, 136)],
            "scalable": [(44, 57), (107, 153)],
            "challenge": [(44, 59), (123, 138)],
        },
    ),
    "one at the start, two that touch": (
        120,
        ((4, 3, 0.8), (60, 6, 0.5), (74, 6, 0.55)),
        {
            "fixed": [(0, 12), (56, 68), (68, 80)],
            "scalable": [(0, 9), (53, 81)],
            "challenge": [(0, 12), (55, 70), (67, 82)],
        },
    ),
    # All three give a false alarm on a flat curve.
    "flat": (
        100,
        (),
        {"fixed": [(44, 56)], "scalable": [(44, 56)], "challenge": [(49, 52)]},
    ),
    "weaker ones": (
        150,
        ((30, 4, 0.9), (40, 4, 0.35), (100, 8, 0.3)),
        {"fixed": [(26, 38)], "scalable": [(24, 44)], "challenge": [(25, 40)]},
    ),
}


def _curve(name: str) -> Curve:
    count, bumps, _ = GOLDEN[name]
    t = np.arange(count)
    curve = np.full(count, 0.05)
    for centre, width, height in bumps:
        curve += height * np.exp(-(((t - centre) / width) ** 2))
    return curve


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("decoder", PUBLISHED)
def test_golden_borders(name: str, decoder: str) -> None:
    found = PUBLISHED[decoder](_curve(name), 6)
    assert [(i.onset, i.offset) for i in found] == GOLDEN[name][2][decoder]


@pytest.mark.parametrize(
    ("name", "apexes"),
    [
        ("two bumps", [50, 130]),
        ("one at the start, two that touch", [4, 74]),
        ("weaker ones", [30]),
    ],
)
def test_golden_apexes(name: str, apexes: list[int]) -> None:
    assert [i.apex for i in scalable(_curve(name), 6)] == apexes


def test_golden_smoothing() -> None:
    smoothed = smooth(np.array([0.0, 0, 1, 0, 0, 0]), 4)
    np.testing.assert_allclose(smoothed, [0, 0.25, 0.25, 0.25, 0.25, 0])


def test_golden_suppression() -> None:
    frames = [(10, 30, 40), (30, 50, 60), (55, 62, 70), (41, 45, 52)]
    first, _, third, fourth = intervals = [Interval(*each) for each in frames]
    assert suppress_overlaps(intervals, 6) == [first, fourth, third]


@pytest.mark.parametrize("decoder", PUBLISHED)
def test_any_length_and_gaps(decoder: str) -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 5, 11, 12, 13, 60):
        curve = rng.random(count)
        curve[: count // 4] = np.nan
        for each in PUBLISHED[decoder](curve, 6):
            assert 0 <= each.onset <= each.apex <= each.offset < count


def test_the_scale_of_a_curve_does_not_matter() -> None:
    curve = _curve("two bumps")
    for decoder in (fixed, scalable):
        assert decoder(curve, 6) == decoder(0.01 * curve, 6)
    # The challenge's levels are absolute.
    assert challenge(curve, 6) != challenge(0.01 * curve, 6)
