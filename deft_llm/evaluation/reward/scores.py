"""Scores of answers against the exact motion, clip by clip, and paired intervals over subjects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.answers import parse_structured_answer, stated_claims
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.deft.inference.said import Said
from deft_llm.deft.inference.verifier import repetition_free
from deft_llm.metrics.faithfulness import count_claims, hallucinated
from deft_llm.metrics.subjects import ConfidenceInterval

_DRAWS = 2000
COUNTS = ("claims", "right", "moved", "stated", "aus", "hallucinated")
Counts = NDArray[np.int64]
"""(S, C) sums over the clips of each subject, columns ``COUNTS``."""


def counts(clips: Sequence[MeasuredClip], texts: Sequence[str]) -> Counts:
    """Claims and AUs of structured answers, summed over the clips of each subject."""
    subjects = [clip.spec.subject for clip in clips]
    place = {name: i for i, name in enumerate(sorted(set(subjects)))}
    sums = np.zeros((len(place), len(COUNTS)), np.int64)
    for clip, subject, text in zip(clips, subjects, texts, strict=True):
        found = count_claims(stated_claims(text), clip.motion)
        record = parse_structured_answer(text)
        aus = list(record["aus"]) if record else []
        wrong = sum(hallucinated(code, clip.spec.aus, clip.motion) for code in aus)
        row = (found.claims, found.right, found.moved, found.stated, len(aus), wrong)
        sums[place[subject]] += row
    return sums


Score = Callable[[Counts], float]


def _ratio(of: str, by: str) -> Score:
    a, b = COUNTS.index(of), COUNTS.index(by)

    def score(sums: Counts) -> float:
        total = sums.sum(0)
        # A ratio of sums, not a mean of ratios: clips count by their claims.
        return float(total[a] / total[b]) if total[b] else math.nan

    return score


precision = _ratio("right", "claims")
recall = _ratio("stated", "moved")
hallucinated_share = _ratio("hallucinated", "aus")


def gain(
    ours: Sequence[Counts], theirs: Sequence[Counts], score: Score, seed: int = 0
) -> ConfidenceInterval:
    """How much higher a score is, mean over the seeds of each, with its interval over subjects.

    Both are scored on the same drawn subjects, so that what makes a face hard cancels.

    Args:
        ours: Counts of each seed's model.
        theirs: Counts of the models compared with, of the same subjects.
        score: Of summed counts.
        seed: Of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    people = len(ours[0])

    def difference(rows: NDArray[np.int64]) -> float:
        mean = [float(np.mean([score(sums[rows]) for sums in some])) for some in (ours, theirs)]
        return mean[0] - mean[1]

    draws = [difference(rng.integers(people, size=people)) for _ in range(_DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return ConfidenceInterval(difference(np.arange(people)), float(low), float(high))


@dataclass(frozen=True)
class Habits:
    """What a model that has found a way round the rewards would show.

    Attributes:
        claims: Claims about a clip.
        characters: Length of an answer.
        slight: Share of the evidence that is called slight.
        silent: Share of the clips with clear exact motion of which nothing is claimed.
        aus: AUs named of a clip.
        repeated: Share of the answers that repeat a sentence or a region.
        parsed: Share of the answers that are structured answers.
    """

    claims: float
    characters: float
    slight: float
    silent: float
    aus: float
    repeated: float
    parsed: float


def habits(clips: Sequence[MeasuredClip], texts: Sequence[str], moved_px: float = 0.1) -> Habits:
    """The habits of some answers."""
    said = [Said(text) for text in texts]
    records = [answer.record for answer in said if answer.record is not None]
    rows = [row for record in records for row in record["evidence"]]
    clear = [
        answer
        for clip, answer in zip(clips, said, strict=True)
        if np.hypot(*clip.motion.T).max() >= moved_px
    ]
    return Habits(
        claims=_mean([len(answer.claims) for answer in said]),
        characters=_mean([len(answer.text) for answer in said]),
        slight=_mean([row.get("strength") == "slight" for row in rows]),
        silent=_mean([not answer.claims for answer in clear]),
        aus=_mean([len(answer.aus) for answer in said]),
        repeated=_mean([repetition_free(answer) < 1 for answer in said]),
        parsed=len(records) / len(said) if said else math.nan,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
