"""Recognition of what was spotted: a golden case, and every video counted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from deft_llm.clip import Expression, Interval
from deft_llm.metrics import spot_then_recognize as scores
from deft_llm.metrics.spotting import SpottedVideo, SpottingCounts
from deft_llm.metrics.subjects import bootstrap, paired_difference

NAMES = ("negative", "positive", "surprise", "others", None)


def _video(
    coded: Sequence[int], found: Sequence[int], subject: str = "s1", seconds: float = 60.0
) -> SpottedVideo:
    """Expressions of these classes far apart, each found where it is coded."""

    def row(classes: Sequence[int]) -> tuple[Expression, ...]:
        return tuple(
            Expression(Interval(100 * i, 100 * i + 5, 100 * i + 10), NAMES[c])
            for i, c in enumerate(classes)
        )

    return SpottedVideo(subject, "v1", row(coded), row(found), seconds)


# From the public code of ME-TST, run on these labels.
GOLDEN = _video([0, 0, 1, 2, 3, 3, 0], [0, 1, 1, 2, 3, 0, 4])


def test_golden_recognition() -> None:
    table = scores.video_table(GOLDEN, "4")
    assert scores.macro_scores(table) == pytest.approx((0.75, 0.7083, 0.7286), abs=5e-5)
    assert scores.uf1(table) == pytest.approx(0.6833, abs=5e-5)
    assert scores.strs(table) == pytest.approx(0.7286, abs=5e-5)  # everything is spotted


def test_three_classes_leave_coded_others_out_of_recognition_alone() -> None:
    table = scores.video_table(GOLDEN, "3")
    assert scores.spotting_counts(table) == SpottingCounts(7, 0, 0)
    assert table[:-1].sum() == 5
    # One of the coded negatives was found to be "others", which is no class here: an error.
    one = scores.video_table(_video([0, 1], [3, 1]), "3")
    assert scores.uar(one) == pytest.approx(1 / 3)


def test_seven_classes_need_seven_emotions() -> None:
    fine = [Expression(Interval(100 * i, 100 * i, 100 * i + 9), e) for i, e in enumerate(("fear",))]
    coarse = [Expression(each.interval, "negative") for each in fine]
    for found, f1 in ((fine, 1.0), (coarse, 0.0)):
        video = SpottedVideo("s1", "v1", tuple(fine), tuple(found))
        assert scores.recognition_f1(scores.video_table(video, "7")) == f1
        assert scores.recognition_f1(scores.video_table(video, "3")) == 1.0


@pytest.mark.parametrize("coded", [[], [0], [3]])
def test_no_pair_or_one_class_is_no_error(coded: list[int]) -> None:
    # The STRS-Metric raises where nothing matches and gives NaN where one class occurs.
    for scheme in scores.REPORTED:
        table = scores.video_table(_video(coded, coded), scheme)
        values = [f(table) for f in (scores.strs, scores.uf1, scores.uar)]
        assert all(0 <= value <= 1 for value in values)


def test_videos_without_expressions_are_counted() -> None:
    videos = [_video([0], [0], "s1"), _video([], [0, 0, 0], "s2", seconds=120.0)]
    found = scores.score_videos(videos)
    assert (found["hits"], found["false_alarms"], found["misses"]) == (1, 3, 0)
    assert found["false_alarms_a_minute"] == pytest.approx(1.0)
    assert found["f1"] == pytest.approx(0.4)
    assert found["strs_3"] == pytest.approx(0.4)
    assert found["onset_error"] == 0
    tables = scores.subject_tables(videos)
    assert tables.shape == (2, 4, 4)
    assert scores.spotting_counts(tables[1]) == SpottingCounts(0, 3, 0)


def test_one_unknown_length_makes_the_rate_unknown() -> None:
    videos = [_video([0], [0]), _video([], [0], seconds=math.nan)]
    assert math.isnan(scores.score_videos(videos)["false_alarms_a_minute"])


def test_nothing_at_all() -> None:
    found = scores.score_videos([])
    assert found["f1"] == 0 and math.isnan(found["onset_error"]) and math.isnan(found["mean_iou"])


def test_intervals_over_subjects() -> None:
    rng = np.random.default_rng(0)

    def videos(right: float) -> list[SpottedVideo]:
        return [
            _video([0, 1, 2], [0 if rng.random() > right else c for c in (0, 1, 2)], f"s{i}")
            for i in range(30)
        ]

    good, bad = (scores.subject_tables(videos(right)) for right in (0.9, 0.3))
    found = bootstrap([good], scores.strs)
    assert found.value == pytest.approx(scores.strs(good.sum(0)))
    assert found.low < found.value < found.high
    assert paired_difference([good], [bad], scores.strs).low > 0
