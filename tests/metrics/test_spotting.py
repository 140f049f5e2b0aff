"""Counters of spotting on cases worked out by hand, and their properties on random intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deft_llm.clip import Expression, Interval
from deft_llm.errors import UserError
from deft_llm.metrics.spotting import (
    COUNTERS,
    SpottedVideo,
    SpottingCounts,
    border_errors,
    count_video,
    count_videos,
    iou,
    matched,
    mean_iou,
)

Borders = tuple[tuple[int, int], ...]


def _expressions(borders: Borders) -> tuple[Expression, ...]:
    return tuple(Expression(Interval(a, (a + b) // 2, b)) for a, b in borders)


def _video(coded: Borders, found: Borders, seconds: float = 60.0) -> SpottedVideo:
    return SpottedVideo("s1", "v1", _expressions(coded), _expressions(found), seconds)


CASES: dict[str, tuple[Borders, Borders, dict[str, tuple[int, int, int]]]] = {
    # Coded, found, and hits, false alarms, misses of each counter.
    "one found over two coded, IoU .5 each": (
        ((0, 9), (10, 19)),
        ((0, 19),),
        {"greedy": (1, 0, 1), "soft": (2, 0, 0), "strs": (2, 0, 0), "one": (1, 0, 1)},
    ),
    "two found on one coded": (
        ((10, 19),),
        ((10, 19), (10, 20)),
        {"greedy": (1, 1, 0), "soft": (2, 0, -1), "strs": (1, 1, 0), "one": (1, 1, 0)},
    ),
    "a second choice would be free": (
        ((0, 9), (2, 13)),
        ((0, 9), (1, 10)),
        {"greedy": (1, 1, 1), "soft": (4, 0, -2), "strs": (2, 1, 0), "one": (2, 0, 0)},
    ),
    "the IoU is just below a half": (
        ((0, 9),),
        ((0, 20),),
        dict.fromkeys(COUNTERS, (0, 1, 1)),
    ),
    "nothing coded": ((), ((0, 9), (20, 29)), dict.fromkeys(COUNTERS, (0, 2, 0))),
    "nothing found": (((0, 9), (20, 29)), (), dict.fromkeys(COUNTERS, (0, 0, 2))),
    "neither": ((), (), dict.fromkeys(COUNTERS, (0, 0, 0))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("counter", COUNTERS)
def test_counters_by_hand(case: str, counter: str) -> None:
    coded, found, expected = CASES[case]
    assert count_video(_video(coded, found), counter) == SpottingCounts(*expected[counter])


def test_greedy_goes_by_time_and_strs_by_rows() -> None:
    # The later row starts earlier, and both overlap the coded interval alone.
    video = _video(((10, 29),), ((12, 29), (10, 27)))
    assert [f.interval.onset for f, _ in matched(video)] == [10]
    assert [f.interval.onset for f, _ in matched(video, "strs")] == [12]


def _random_video(rng: np.random.Generator) -> SpottedVideo:
    def some() -> Borders:
        return tuple((int(a), int(a + rng.integers(1, 30))) for a in rng.integers(0, 120, 8))

    return _video(some(), some())


def test_counters_on_random_intervals() -> None:
    rng = np.random.default_rng(0)
    for video in (_random_video(rng) for _ in range(60)):
        counts = {name: count_video(video, name) for name in COUNTERS}
        for name, each in counts.items():
            assert each.hits + each.misses == len(video.coded), name
            right = [iou(f.interval, c.interval) for f, c in matched(video, name)]
            assert all(value >= 0.5 for value in right)
        assert counts["greedy"].hits <= counts["one"].hits <= counts["soft"].hits
        assert counts["strs"].hits <= counts["soft"].hits
        for name in ("greedy", "one"):
            assert counts[name].hits + counts[name].false_alarms == len(video.found)


@pytest.mark.parametrize("seed", range(20))
def test_iou_is_that_of_sets_of_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (Interval(x, x, x + int(rng.integers(0, 40))) for x in map(int, rng.integers(0, 40, 2)))
    first, second = (set(range(i.onset, i.offset + 1)) for i in (a, b))
    assert len(a) == len(first)
    assert iou(a, b) == pytest.approx(len(first & second) / len(first | second))


def test_scores_of_counts() -> None:
    # The counts and the F1 that were published for a spotter on SAMM Long Videos.
    assert SpottingCounts(51, 141, 108).f1 == pytest.approx(0.2906, abs=5e-5)
    nothing = SpottingCounts()
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)
    videos = [_video(((0, 9),), ((0, 9),)), _video((), ((5, 9),))]
    assert count_videos(videos) == SpottingCounts(1, 1, 0)


def test_mean_iou_and_border_errors() -> None:
    videos = [_video(((10, 19), (50, 59)), ((12, 19), (58, 67))), _video((), ((1, 3),))]
    assert mean_iou(videos) == pytest.approx((0.8 + 2 / 18) / 2)
    assert mean_iou(videos, above=0.5) == pytest.approx(0.8)
    np.testing.assert_array_equal(border_errors(videos), [[2, 1, 0]])
    assert math.isnan(mean_iou([_video((), ())]))
    assert border_errors([]).shape == (0, 3)


def test_an_unknown_counter_is_one_line() -> None:
    with pytest.raises(UserError, match=r"counter 'greedi'.*did you mean 'greedy'"):
        count_video(_video((), ()), "greedi")
