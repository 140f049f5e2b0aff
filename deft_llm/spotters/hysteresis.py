"""Our decoder: an absolute threshold with hysteresis, then borders, and a rule for touching.

1. The curve is smoothed by a running median of ``MEDIAN`` frames, which keeps edges.
2. Where it stays above a low threshold (``border`` times ``enter``) and reaches the high one
   (``enter``) is one run. Both are absolute: a flat curve has no run, whatever its maximum.
3. Touching expressions: two peaks of a run that reach ``enter`` are two expressions if the curve
   between them falls below ``SPLIT`` of the lower one. The lowest frame ends the first, the next
   frame begins the second.
4. Borders: the outermost frames of the part at or above ``border`` of its own maximum, and one
   more on either side, since networks learn 1 for the frames between onset and offset.
5. Parts of fewer than ``SHORTEST`` frames are dropped. The apex is the maximum of the part; of a
   plateau, its middle.

``enter`` and ``border`` are calibrated on training subjects (``calibrate``). Curves are (T,), 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import find_objects, label, median_filter
from scipy.special import expit

from deft_llm.clip import Expression, Interval
from deft_llm.errors import UserError
from deft_llm.metrics.spotting import SpottedVideo, SpottingCounts, count_video, iou
from deft_llm.spotters.decoding import Curve, Floats

MEDIAN = 5  # frames, at about 30 a second
SPLIT = 0.6  # our choice, as the other two
SHORTEST = 2  # frames between onset and offset
# Even in log-odds, up to .9975: of what a well-trained network is sure of, .99 is not .95.
_ENTER_GRID = np.round(expit(np.arange(-3, 6.1, 0.25)), 4)
_BORDER_GRID = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class Thresholds:
    """Settings of the decoder.

    Attributes:
        enter: Value of the curve from which it is an expression, 0..1.
        border: Share of an expression's maximum at its borders, 0..1.
    """

    enter: float = 0.5
    border: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.enter < 1 and 0 < self.border < 1):
            raise UserError(
                f"thresholds enter {self.enter}, border {self.border}: expected numbers between "
                "0 and 1"
            )


@dataclass(frozen=True)
class TrainingCurve:
    """The curve of one video of a training subject.

    Attributes:
        curve: (T,) as the network gives it for a video that it was *not* trained on; on its own
            training videos a network is too sure, and the threshold would be too high.
        coded: Coded expressions; empty for a video without any.
        seconds: Length of the video; NaN if it is not known.
    """

    curve: Curve
    coded: tuple[Expression, ...]
    seconds: float = math.nan


def decode(curve: Curve, thresholds: Thresholds = Thresholds()) -> list[Interval]:
    """Intervals of a curve, in order of time.

    Args:
        curve: (T,), 0..1; frames without a value (NaN) count as 0.
        thresholds: See ``calibrate``.
    """
    if not len(curve):
        return []
    smoothed = _smoothed(curve)
    # Runs of the low threshold; `_parts` drops those that never reach the high one.
    runs, _ = label(smoothed >= thresholds.border * thresholds.enter)
    found = []
    for (run,) in find_objects(runs):
        for first, stop in _parts(smoothed, run.start, run.stop, thresholds.enter):
            interval = _interval(smoothed, first, stop, thresholds.border)
            if interval is not None:
                found.append(interval)
    return found


def expressions(curve: Curve, intervals: Iterable[Interval]) -> list[Expression]:
    """Intervals with the smoothed curve at their apex as score."""
    smoothed = _smoothed(curve)
    return [Expression(each, score=float(smoothed[each.apex])) for each in intervals]


def calibrate(curves: Sequence[TrainingCurve], most_alarms: float = math.inf) -> Thresholds:
    """The thresholds of the best greedy F1, from curves of training subjects.

    ``enter`` is searched with the usual border, then ``border`` with that ``enter``, then each
    once more. Of neighbouring values that are equally good, the middle one is taken: it is the
    safest.

    Args:
        curves: Curves of videos with and without expressions.
        most_alarms: Most false alarms a minute: what is found and overlaps nothing coded, in all
            videos, since those without expressions are few and short. If no threshold keeps it,
            the one of the fewest.

    Raises:
        UserError: If nothing is coded in any video.
    """
    if not any(each.coded for each in curves):
        raise UserError(
            f"calibration on {len(curves)} curves without a coded expression; expected the curves "
            "of training subjects with some"
        )
    # In turn, and twice, since the best of one depends on the other.
    thresholds = Thresholds()
    for _ in range(2):
        entries = [replace(thresholds, enter=float(value)) for value in _ENTER_GRID]
        thresholds = entries[_best([_worth(curves, each, most_alarms) for each in entries])]
        borders = [replace(thresholds, border=value) for value in _BORDER_GRID]
        thresholds = borders[_best([_worth(curves, each, most_alarms) for each in borders])]
    return thresholds


def _worth(
    curves: Sequence[TrainingCurve], thresholds: Thresholds, most_alarms: float
) -> tuple[bool, float]:
    """Whether the limit of false alarms is kept; F1 if so, else minus the alarms."""
    counts, alarms, minutes = SpottingCounts(), 0, 0.0
    for each in curves:
        found = tuple(Expression(interval) for interval in decode(each.curve, thresholds))
        counts += count_video(SpottedVideo("", "", each.coded, found))
        if each.seconds > 0:
            alone = (f for f in found if not any(iou(f.interval, c.interval) for c in each.coded))
            alarms, minutes = alarms + sum(1 for _ in alone), minutes + each.seconds / 60
    # Without a video of known length (0 minutes) there is no limit to keep.
    if alarms > most_alarms * minutes > 0:
        # False sorts below True: any thresholds within the limit are better than any beyond it.
        return False, -float(alarms)
    return True, counts.f1


def _best(worths: Sequence[tuple[bool, float]]) -> int:
    """Index of the largest value; the middle of the longest run of equals."""
    # In one dimension `label` numbers the runs of True, from 1.
    equal, count = label([worth == max(worths) for worth in worths])
    run = int(np.argmax(np.bincount(equal, minlength=count + 1)[1:])) + 1
    return int(np.median(np.flatnonzero(equal == run)))


def _smoothed(curve: Curve) -> Floats:
    values = np.nan_to_num(np.asarray(curve, np.float64))
    # The last value goes on beyond the end, so that an expression is not cut short there.
    return np.asarray(median_filter(values, MEDIAN, mode="nearest"))


def _parts(smoothed: Floats, first: int, stop: int, enter: float) -> list[tuple[int, int]]:
    """First and last + 1 frame of each expression of a run; none if it does not reach ``enter``."""
    parts = []
    # Highest frame of the part so far, and lowest one since.
    peak = valley = first
    for t in range(first, stop):
        lower = min(smoothed[peak], smoothed[t])
        if lower >= enter and smoothed[valley] < SPLIT * lower:
            # Told at the rise behind the dip: before it, the dip could as well be the end.
            parts.append((first, valley + 1))
            first, peak, valley = valley + 1, t, t
        elif smoothed[t] > smoothed[peak]:
            peak = valley = t
        elif smoothed[t] < smoothed[valley]:
            valley = t
    return [*parts, (first, stop)] if smoothed[peak] >= enter else []


def _interval(smoothed: Floats, first: int, stop: int, border: float) -> Interval | None:
    """Borders and apex of one expression; None if it is too short."""
    part = smoothed[first:stop]
    inside = np.flatnonzero(part >= border * part.max())
    onset, offset = first + int(inside[0]), first + int(inside[-1])
    if offset - onset + 1 < SHORTEST:
        return None
    top = np.flatnonzero(part == part.max())
    apex = first + int(top[len(top) // 2])
    return Interval(max(onset - 1, 0), apex, min(offset + 1, len(smoothed) - 1))
