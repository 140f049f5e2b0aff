"""F1 of action units: per unit and dataset from pooled counts, and their means.

As in MEB (Varanka et al., arXiv 2211.11425): counts are pooled over all clips of a test set, the F1
of the positive class is averaged over units, then over test sets. A unit that nobody shows in a
test set has no F1 there, and a test set where nobody shows any of them is left out of the mean.

Letters: S subjects, A action units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Prediction
from deft_llm.metrics.subjects import ConfidenceInterval

PRESENT, ABSENT = "present", "absent"
_DRAWS = 2000
_HIT, _FALSE, _MISSED = range(3)


@dataclass(frozen=True)
class AuCounts:
    """Hits, false alarms and misses.

    Attributes:
        by_subject: Dataset -> (S, A, 3), subjects sorted by name.
    """

    by_subject: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, rows: Mapping[int, Sequence[Prediction]]) -> AuCounts:
        """Count the rows of each action unit.

        Args:
            rows: Action unit -> its predictions of one run, of the same clips for every unit.
        """
        people = sorted({(r.dataset, r.subject) for each in rows.values() for r in each})
        place = {name: i for i, name in enumerate(people)}
        counts = np.zeros((len(people), len(rows), 3), np.int64)
        for unit, each in enumerate(rows.values()):
            for row in each:
                shown, named = row.label == PRESENT, row.predicted == PRESENT
                if shown or named:
                    kind = _HIT if shown and named else _FALSE if named else _MISSED
                    counts[place[row.dataset, row.subject], unit, kind] += 1
        datasets = sorted({dataset for dataset, _ in people})
        own = {d: [i for i, (dataset, _) in enumerate(people) if dataset == d] for d in datasets}
        return cls({dataset: counts[chosen] for dataset, chosen in own.items()})

    def f1(self) -> dict[str, NDArray[np.float64]]:
        """Dataset -> (A,) F1; NaN for a unit that nobody shows there."""
        return {dataset: _f1(counts.sum(0)) for dataset, counts in self.by_subject.items()}

    def means(self) -> dict[str, float]:
        """Dataset -> mean over the units that somebody shows there; NaN if there is none."""
        return {
            dataset: float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
            for dataset, values in self.f1().items()
        }

    def mean(self) -> float:
        """Mean over units, then over datasets; NaN if nobody shows any unit."""
        found = [value for value in self.means().values() if not math.isnan(value)]
        return float(np.mean(found)) if found else math.nan

    def draws(self, seed: int = 0) -> NDArray[np.float64]:
        """The mean of resampled subjects, (B,); subjects are drawn within their dataset."""
        means = []
        scored = self.means()
        for number, (dataset, counts) in enumerate(self.by_subject.items()):
            if math.isnan(scored[dataset]):
                continue
            people = len(counts)
            rng = np.random.default_rng([12, seed, number])
            times = rng.multinomial(people, np.full(people, 1 / people), size=_DRAWS)
            drawn = _f1(np.einsum("bs,sak->bak", times, counts))
            # A draw may lack a unit that the dataset has: it is scored over the others.
            there = np.isfinite(drawn)
            total = np.where(there, drawn, 0).sum(-1)
            means.append(total / np.maximum(there.sum(-1), 1))
        return np.mean(means, axis=0) if means else np.full(_DRAWS, math.nan)


def interval(runs: Sequence[AuCounts]) -> ConfidenceInterval:
    """The mean of some runs (seeds) with its interval over subjects."""
    return _interval(float(np.mean([r.mean() for r in runs])), _draws(runs))


def gain(ours: Sequence[AuCounts], theirs: Sequence[AuCounts]) -> ConfidenceInterval:
    """The mean of our runs minus that of theirs, on the same drawn subjects."""
    value = float(np.mean([r.mean() for r in ours]) - np.mean([r.mean() for r in theirs]))
    return _interval(value, _draws(ours) - _draws(theirs))


def _draws(runs: Sequence[AuCounts]) -> NDArray[np.float64]:
    return np.asarray(np.mean([run.draws() for run in runs], axis=0), float)


def _interval(value: float, draws: NDArray[np.float64]) -> ConfidenceInterval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return ConfidenceInterval(value, float(low), float(high))


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 from (..., A, 3); NaN for a unit without a positive."""
    hit, false, missed = (counts[..., k].astype(float) for k in (_HIT, _FALSE, _MISSED))
    found = 2 * hit / np.maximum(2 * hit + false + missed, 1)
    return np.where(hit + missed > 0, found, np.nan)
