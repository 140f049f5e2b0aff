"""Spotting: found intervals against coded ones, counted in the four ways that papers count.

A found interval is right if its IoU with a coded one is at least ``MATCH``, frames inclusive. The
ways to count differ where intervals overlap:

============  ====================================================================================
``greedy``    MEGC and the usual code: in order of time, a found interval looks at the coded one
              that it overlaps most, and is a false alarm if that one is already taken (default)
``soft``      behind the final F1 of ME-TST's code: every pair counts, so hits are inflated
``strs``      the STRS-Metric: in order of the rows, each takes every coded interval still free
``one``       the best assignment of one to one: most hits, then the largest sum of IoU
============  ====================================================================================

All videos count, also those in which nothing is coded or nothing was found; the public code leaves
them out. F found and T coded intervals of a video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from deft_llm.clip import Expression, Interval
from deft_llm.errors import UserError, did_you_mean

Floats = NDArray[np.float64]
Pairs = list[tuple[int, int]]
"""Indices of found and coded intervals that belong together."""

MATCH = 0.5  # IoU from which a found interval is right


@dataclass(frozen=True)
class SpottedVideo:
    """What is coded in one video and what was found in it.

    Attributes:
        subject: Subject id.
        video: Video id, unique for the subject.
        coded: Coded expressions.
        found: Found expressions.
        seconds: Length of the video; NaN if it is not known.
    """

    subject: str
    video: str
    coded: tuple[Expression, ...]
    found: tuple[Expression, ...]
    seconds: float = math.nan


@dataclass(frozen=True)
class SpottingCounts:
    """Hits, false alarms and misses; sum them over videos before computing scores."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0

    def __add__(self, other: SpottingCounts) -> SpottingCounts:
        return SpottingCounts(
            self.hits + other.hits,
            self.false_alarms + other.false_alarms,
            self.misses + other.misses,
        )

    @property
    def precision(self) -> float:
        """Hits over found intervals, 0 without any."""
        return self.hits / max(self.hits + self.false_alarms, 1)  # at least 1: 0 and not 0 / 0

    @property
    def recall(self) -> float:
        """Hits over coded intervals, 0 without any."""
        return self.hits / max(self.hits + self.misses, 1)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), 0 without any interval."""
        return 2 * self.hits / max(2 * self.hits + self.false_alarms + self.misses, 1)


def iou(a: Interval, b: Interval) -> float:
    """Frames in both intervals over frames in either."""
    both = min(a.offset, b.offset) - max(a.onset, b.onset) + 1  # + 1: both ends are inside
    return max(both, 0) / (len(a) + len(b) - max(both, 0))


def iou_table(found: Sequence[Expression], coded: Sequence[Expression]) -> Floats:
    """IoU of every found with every coded expression, (F, T)."""
    table = [[iou(f.interval, c.interval) for c in coded] for f in found]
    return np.array(table, np.float64).reshape(len(found), len(coded))


def _greedy(found: Sequence[Expression], coded: Sequence[Expression]) -> Pairs:
    overlaps = iou_table(found, coded)
    taken: set[int] = set()
    pairs: Pairs = []
    if not coded:
        return pairs
    for i in sorted(range(len(found)), key=lambda i: found[i].interval.onset):
        # No second choice: the interval that it overlaps most, or none.
        best = int(np.argmax(overlaps[i]))
        if overlaps[i, best] >= MATCH and best not in taken:
            taken.add(best)
            pairs.append((i, best))
    return pairs


def _soft(found: Sequence[Expression], coded: Sequence[Expression]) -> Pairs:
    return [(int(i), int(j)) for i, j in np.argwhere(iou_table(found, coded) >= MATCH)]


def _strs(found: Sequence[Expression], coded: Sequence[Expression]) -> Pairs:
    taken: set[int] = set()
    pairs: Pairs = []
    for i, j in _soft(found, coded):  # by rows, the published order
        if j not in taken:
            taken.add(j)
            pairs.append((i, j))
    return pairs


def _one_to_one(found: Sequence[Expression], coded: Sequence[Expression]) -> Pairs:
    overlaps = iou_table(found, coded)
    # A hit weighs more than all IoU together, so that the number of hits comes first.
    worth = np.where(overlaps >= MATCH, len(found) + len(coded) + overlaps, 0.0)
    pairs = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return [(int(i), int(j)) for i, j in pairs if worth[i, j] > 0]


COUNTERS: dict[str, Callable[[Sequence[Expression], Sequence[Expression]], Pairs]] = {
    "greedy": _greedy,
    "soft": _soft,
    "strs": _strs,
    "one": _one_to_one,
}


def matched(video: SpottedVideo, counter: str = "greedy") -> list[tuple[Expression, Expression]]:
    """Pairs of a found and a coded expression that belong together.

    Args:
        video: One video.
        counter: One of ``COUNTERS``.

    Raises:
        UserError: If there is no such counter.
    """
    return [(video.found[i], video.coded[j]) for i, j in _pairs(video, counter)]


def count_video(video: SpottedVideo, counter: str = "greedy") -> SpottingCounts:
    """Hits, false alarms and misses of one video.

    As published, hits are pairs, and misses are the coded intervals minus the hits: for ``soft``,
    a hit may make up for a miss elsewhere, even down to a negative number.

    Raises:
        UserError: If there is no such counter.
    """
    pairs = _pairs(video, counter)
    alarms = len(video.found) - len({i for i, _ in pairs})
    return SpottingCounts(len(pairs), alarms, len(video.coded) - len(pairs))


def count_videos(videos: Iterable[SpottedVideo], counter: str = "greedy") -> SpottingCounts:
    """Counts summed over videos."""
    return sum((count_video(video, counter) for video in videos), SpottingCounts())


def mean_iou(videos: Iterable[SpottedVideo], above: float = 0.0) -> float:
    """Mean IoU of all pairs of a found and a coded interval with an IoU above a value; else NaN."""
    tables = [iou_table(video.found, video.coded).ravel() for video in videos]
    values = np.concatenate([np.zeros(0), *tables])
    return float(values[values > above].mean()) if (values > above).any() else math.nan


def border_errors(videos: Iterable[SpottedVideo], counter: str = "greedy") -> NDArray[np.int64]:
    """Found minus coded onset, apex and offset of the matched pairs, (P, 3) frames."""
    errors = [
        np.subtract(_moments(found), _moments(coded))
        for video in videos
        for found, coded in matched(video, counter)
    ]
    return np.array(errors, np.int64).reshape(len(errors), 3)


def _moments(expression: Expression) -> tuple[int, int, int]:
    return expression.interval.onset, expression.interval.apex, expression.interval.offset


def _pairs(video: SpottedVideo, counter: str) -> Pairs:
    if counter not in COUNTERS:
        raise UserError(
            f"spotting counter {counter!r}: expected one of {', '.join(COUNTERS)}"
            f"{did_you_mean(counter, COUNTERS)}"
        )
    return COUNTERS[counter](video.found, video.coded)
