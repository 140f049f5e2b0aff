"""Uncertainty of scores: bootstrap intervals over subjects, and tests between two models.

Clips of one subject are correlated, so subjects are resampled, not clips. Resampled scores come
from confusion matrices summed over the drawn subjects, with multiplicity.

Letters: S subjects, C classes, B bootstrap draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.metrics.classification import confusion_matrix, uf1

Score = Callable[[NDArray[np.int64]], float]
_DRAWS = 2000  # our choice


@dataclass(frozen=True)
class ConfidenceInterval:
    """A value with its 95 % interval.

    Attributes:
        value: As measured.
        low: 2.5 % quantile.
        high: 97.5 % quantile.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def subject_matrices(
    subjects: Sequence[str],
    labels: Sequence[str],
    predicted: Sequence[str | None],
    classes: Sequence[str],
) -> NDArray[np.int64]:
    """A confusion matrix for each subject, (S, C, C + 1), subjects sorted by name."""
    names = np.asarray(subjects)
    # Objects, not strings: a guess may be None, which a string array would turn into "None".
    truth, guesses = np.asarray(labels, object), np.asarray(predicted, object)
    return np.stack(
        [
            confusion_matrix(truth[names == s].tolist(), guesses[names == s].tolist(), classes)
            for s in np.unique(names)
        ]
    )


def subject_mean(matrices: NDArray[np.int64], score: Score) -> float:
    """Mean over subjects of each subject's own score.

    Not the pooled score of MEGC: for a class that a subject does not have, F1 counts as 0 here, so
    this mean is lower and must not be compared with pooled scores.
    """
    return float(np.mean([score(matrix) for matrix in matrices]))


def bootstrap(
    runs: Sequence[NDArray[np.int64]], score: Score = uf1, draws: int = _DRAWS, seed: int = 0
) -> ConfidenceInterval:
    """The pooled score of a model, mean of its runs, and its interval over subjects.

    A draw that has no clip of a class scores 0 for it, as a test set without it would; with few
    subjects this lowers the interval (:func:`lacking`).

    Args:
        runs: A (S, C, C + 1) array for each run (seed) of one model; same subjects in the same
            order. Runs are scored one by one, not as the sum of their predictions, which scores
            otherwise than their mean.
        score: A score of ``metrics.classification``.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    return _interval(_mean_score(runs, score), _drawn_scores(runs, score, draws, seed))


def lacking(matrices: NDArray[np.int64], draws: int = _DRAWS, seed: int = 0) -> float:
    """Share of a bootstrap's draws without any clip of a class that the test set has.

    Args:
        matrices: (S, C, C + 1), as for :func:`bootstrap`.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    there = matrices.sum((0, 2)) > 0
    return float((_resampled(matrices, draws, seed).sum(2)[:, there] == 0).any(1).mean())


def paired_difference(
    ours: Sequence[NDArray[np.int64]],
    theirs: Sequence[NDArray[np.int64]],
    score: Score = uf1,
    draws: int = _DRAWS,
    seed: int = 0,
) -> ConfidenceInterval:
    """Mean score of our runs minus that of theirs, on the same drawn subjects.

    Args:
        ours: A (S, C, C + 1) array for each run (seed).
        theirs: The same for the other model; same subjects in the same order.
        score: A score of ``metrics.classification``.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    value = _mean_score(ours, score) - _mean_score(theirs, score)
    # The same seed on both sides: each draw takes the same subjects, which pairs the difference.
    ours_drawn, theirs_drawn = (_drawn_scores(r, score, draws, seed) for r in (ours, theirs))
    return _interval(value, ours_drawn - theirs_drawn)


def mcnemar(
    labels: Sequence[str], ours: Sequence[str | None], theirs: Sequence[str | None]
) -> tuple[int, int, float]:
    """McNemar's exact test on the clips that exactly one of the models gets right.

    Returns:
        Number of clips that only ours gets right, that only theirs gets right, two-sided p.
    """
    pairs = list(zip(labels, ours, theirs, strict=True))
    only_ours = sum(a == label != b for label, a, b in pairs)
    only_theirs = sum(b == label != a for label, a, b in pairs)
    total = only_ours + only_theirs
    # Binomial tail at one half, doubled below; it exceeds 1 when the counts are equal.
    tail = sum(math.comb(total, k) for k in range(min(only_ours, only_theirs) + 1)) / 2**total
    return only_ours, only_theirs, min(1.0, 2 * tail)


def _mean_score(runs: Sequence[NDArray[np.int64]], score: Score) -> float:
    return float(np.mean([score(matrices.sum(0)) for matrices in runs]))


def _drawn_scores(
    runs: Sequence[NDArray[np.int64]], score: Score, draws: int, seed: int
) -> NDArray[np.float64]:
    """The mean score of the runs for each draw of subjects, (B,); the draws are those of a seed."""
    drawn = [[score(matrix) for matrix in _resampled(run, draws, seed)] for run in runs]
    return np.asarray(np.mean(drawn, axis=0))


def _resampled(matrices: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.int64]:
    """Sums over subjects drawn with replacement, (B, C, C + 1)."""
    count = len(matrices)
    rng = np.random.default_rng([4, seed])  # 4 keeps the stream apart from others of one seed
    # How often each subject is drawn; the counts are all that a sum with replacement needs.
    times = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return np.einsum("bs,scd->bcd", times, matrices)


def _interval(value: float, draws: NDArray[np.float64]) -> ConfidenceInterval:
    low, high = np.quantile(draws, [0.025, 0.975])  # percentile bootstrap
    return ConfidenceInterval(value, float(low), float(high))
