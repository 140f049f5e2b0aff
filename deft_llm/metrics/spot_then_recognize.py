"""Spotting and recognition in one table for each subject, and the scores of it.

A table (C + 1, C + 1) holds, for the C classes of a label scheme, the confusion matrix (C, C + 1)
of the pairs of found and coded expressions (``classification.py``), and below it a row with hits,
false alarms, misses and whole seconds. Tables add up, so the scores of any set of videos, and
their intervals by ``subjects.bootstrap`` and ``subjects.paired_difference``, come from sums.

Coded expressions without a class in the scheme ("others" in three classes) count in spotting and
not in recognition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.metrics import classification
from deft_llm.metrics.spotting import (
    MATCH,
    SpottedVideo,
    SpottingCounts,
    border_errors,
    count_video,
    matched,
    mean_iou,
)

Table = NDArray[np.int64]
_HITS, _ALARMS, _MISSES, _SECONDS = range(4)
#: Label schemes that papers report; CAS(ME)3 in three and in four classes, never one without
#: the other, because papers mix them.
REPORTED = ("3", "4", "7")


def video_table(video: SpottedVideo, scheme: str = "3", counter: str = "greedy") -> Table:
    """The table of one video.

    Args:
        video: What is coded and what was found.
        scheme: One of ``facs.SCHEMES``.
        counter: One of ``spotting.COUNTERS``.

    Raises:
        UserError: If the scheme, the counter or an emotion is unknown.
    """
    pairs = [
        (facs.to_scheme(coded.emotion, scheme), facs.to_scheme(found.emotion, scheme))
        for found, coded in matched(video, counter)
    ]
    known = [(label, guess) for label, guess in pairs if label is not None]
    classes = facs.SCHEMES[scheme]
    matrix = classification.confusion_matrix([c for c, _ in known], [g for _, g in known], classes)
    below = np.zeros((1, matrix.shape[1]), np.int64)
    counts = count_video(video, counter)
    below[0, [_HITS, _ALARMS, _MISSES]] = counts.hits, counts.false_alarms, counts.misses
    # Rounded, as tables are whole numbers that add up.
    below[0, _SECONDS] = 0 if math.isnan(video.seconds) else round(video.seconds)
    return np.concatenate([matrix, below])


def subject_tables(
    videos: Sequence[SpottedVideo], scheme: str = "3", counter: str = "greedy"
) -> Table:
    """Tables summed over the videos of each subject, (S, C + 1, C + 1), subjects sorted by name."""
    names = sorted({video.subject for video in videos})
    width = len(facs.SCHEMES[scheme]) + 1
    tables = np.zeros((len(names), width, width), np.int64)
    for video in videos:
        tables[names.index(video.subject)] += video_table(video, scheme, counter)
    # One video of unknown length would raise the rate of false alarms of all; 0 makes it NaN.
    if any(math.isnan(video.seconds) for video in videos):
        tables[:, -1, _SECONDS] = 0
    return tables


def spotting_counts(table: Table) -> SpottingCounts:
    """The hits, false alarms and misses of a table."""
    return SpottingCounts(*(int(n) for n in table[-1, [_HITS, _ALARMS, _MISSES]]))


def spotting_f1(table: Table) -> float:
    """F1 of spotting, 0..1."""
    return spotting_counts(table).f1


def false_alarms_a_minute(table: Table) -> float:
    """False alarms over the length of all videos; NaN if that is not known."""
    seconds = int(table[-1, _SECONDS])
    return 60.0 * int(table[-1, _ALARMS]) / seconds if seconds else math.nan


def macro_scores(table: Table) -> tuple[float, float, float]:
    """Precision, recall and F1 of recognition as the STRS papers define them.

    Precision and recall are means over the classes that occur among the pairs, coded or found;
    F1 is 2 P R / (P + R) of these means, not the mean of the classes' F1 (that is ``uf1``).

    Returns:
        Three numbers 0..1; 0 without pairs.
    """
    matrix = table[:-1]
    hits = np.diag(matrix)
    guessed, coded = matrix[:, : len(matrix)].sum(0), matrix.sum(1)
    occurs = (guessed + coded) > 0
    if not occurs.any():
        return 0.0, 0.0, 0.0
    # `guessed` counts among pairs alone: what was spotted in vain is the spotter's fault.
    precision = float((hits / np.maximum(guessed, 1))[occurs].mean())
    recall = float((hits / np.maximum(coded, 1))[occurs].mean())
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def recognition_f1(table: Table) -> float:
    """F1 of recognition, 0..1; see ``macro_scores``."""
    return macro_scores(table)[2]


def uf1(table: Table) -> float:
    """Unweighted F1 of recognition over all classes of the scheme, 0..1."""
    return classification.uf1(table[:-1])


def uar(table: Table) -> float:
    """Unweighted recall of recognition over all classes of the scheme, 0..1."""
    return classification.uar(table[:-1])


def strs(table: Table) -> float:
    """Spot-then-recognize score: F1 of spotting times F1 of recognition, 0..1."""
    return spotting_f1(table) * recognition_f1(table)


def score_videos(
    videos: Sequence[SpottedVideo],
    schemes: Iterable[str] = REPORTED,
    counter: str = "greedy",
) -> dict[str, float]:
    """All scores of some videos by name.

    Returns:
        ``hits``, ``false_alarms``, ``misses``, ``precision``, ``recall``, ``f1``,
        ``false_alarms_a_minute``, ``mean_iou`` (of all overlapping pairs), ``mean_iou_of_hits``
        (of all pairs from ``MATCH`` on, whichever way is counted), the median absolute
        ``onset_error``, ``apex_error`` and ``offset_error`` of hits in frames, and for each scheme
        ``recognition_f1_3``, ``uf1_3``, ``uar_3``, ``strs_3``. What cannot be computed, such as an
        error without a hit, is NaN.
    """
    scores: dict[str, float] = {}
    for scheme in schemes:
        table = subject_tables(videos, scheme, counter).sum(0)
        for name, score in (
            *(("recognition_f1", recognition_f1), ("uf1", uf1), ("uar", uar), ("strs", strs)),
        ):
            scores[f"{name}_{scheme}"] = score(table)
    # Any scheme will do: its last row does not depend on classes.
    table = subject_tables(videos, "3", counter).sum(0)
    counts = spotting_counts(table)
    errors = np.abs(border_errors(videos, counter))
    medians = np.median(errors, axis=0) if len(errors) else np.full(3, math.nan)
    return {
        **{"hits": counts.hits, "false_alarms": counts.false_alarms, "misses": counts.misses},
        **{"precision": counts.precision, "recall": counts.recall, "f1": counts.f1},
        "false_alarms_a_minute": false_alarms_a_minute(table),
        "mean_iou": mean_iou(videos),
        "mean_iou_of_hits": mean_iou(videos, np.nextafter(MATCH, 0)),  # just below: MATCH is a hit
        **dict(zip(("onset_error", "apex_error", "offset_error"), medians.tolist(), strict=True)),
        **scores,
    }
