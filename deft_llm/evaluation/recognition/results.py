"""Scores of recognizers, computed from rows of predictions alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Prediction
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.metrics.subjects import paired_difference, subject_matrices

CEILING = "ceiling"  # name of the result that ``ceiling.py`` gives
GAP = "gap to unseen corpus"  # what a model loses on a corpus of which it learned no clip


@dataclass(frozen=True)
class Result:
    """All rows of one entry.

    Attributes:
        name: Name of the entry.
        entry: The entry that was run.
        rows: One for each seed and tested clip (draws of few subjects: for each fold and clip).
        classes: The classes that are scored.
    """

    name: str
    entry: ModelEntry
    rows: Sequence[Prediction]
    classes: tuple[str, ...] = facs.THREE_CLASSES

    @cached_property
    def runs(self) -> list[NDArray[np.int64]]:
        """Per-subject confusion matrices (S, C, C + 1) of each seed."""
        # Cached: every gain over this entry resamples the same matrices.
        return [self._matrices([r for r in self.rows if r.seed == s]) for s in self.seeds]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return sorted({row.seed for row in self.rows})

    def scores(self, dataset: str | None = None) -> list[float]:
        """UF1 of each seed, on one dataset or all."""
        return [
            self._uf1([r for r in self.rows if r.seed == s and dataset in (None, r.dataset)])
            for s in self.seeds
        ]

    def subject_hits(self) -> dict[str, tuple[int, int]]:
        """Subject -> clips named rightly by the first seed, and all of its clips."""
        rows = [r for r in self.rows if r.seed == self.seeds[0]]
        several = len({r.dataset for r in rows}) > 1
        # A subject of a prepared corpus has its people's name in front already: "casme2/sub01".
        hits: dict[str, tuple[int, int]] = {}
        for row in sorted(rows, key=lambda r: (r.dataset, r.subject)):
            own = row.subject.removeprefix(f"{row.dataset}/")
            name = f"{row.dataset}/{own}" if several and "/" not in own else own
            right, clips = hits.get(name, (0, 0))
            hits[name] = (right + (row.label == row.predicted), clips + 1)
        return hits

    def fold_scores(self) -> list[float]:
        """UF1 of each fold by itself; for draws of few subjects, each of which tests most clips."""
        return [
            self._uf1([r for r in self.rows if r.fold == f])
            for f in sorted({row.fold for row in self.rows})
        ]

    def _matrices(self, rows: Sequence[Prediction]) -> NDArray[np.int64]:
        return subject_matrices(
            # Datasets number their subjects alike; with the dataset in front they stay apart.
            [f"{r.dataset}/{r.subject}" for r in rows],
            [r.label for r in rows],
            [r.predicted for r in rows],
            self.classes,
        )

    def _uf1(self, rows: Sequence[Prediction]) -> float:
        labels, predicted = [r.label for r in rows], [r.predicted for r in rows]
        return uf1(confusion_matrix(labels, predicted, self.classes))


def gap(within: Result, unseen: Result) -> float:
    """UF1 within the corpora minus UF1 on them unseen, a mean over corpora and seeds."""
    corpora = sorted({row.dataset for row in within.rows})
    return float(np.mean([np.mean(within.scores(c)) - np.mean(unseen.scores(c)) for c in corpora]))


@dataclass(frozen=True)
class FigureSource:
    """How one figure, or a gain with both ends of its interval, is computed.

    Attributes:
        kind: "uf1" (mean over seeds), "few" (mean over draws of training on few subjects), "gain"
            (paired by subject), or "share" (of the other's UF1).
        figure: Name of the figure.
        model: Name of the entry.
        over: The entry that a gain is over, or a share is of.
    """

    kind: Literal["uf1", "few", "gain", "share"]
    figure: str
    model: str
    over: str = ""

    def values(self, results: Mapping[str, Result], few: Mapping[str, Result]) -> dict[str, float]:
        """Figures by name; empty if an entry was not run."""
        if self.kind == "few":
            found = few.get(self.model)
            return {} if found is None else {self.figure: float(np.mean(found.fold_scores()))}
        if self.model not in results or (self.over and self.over not in results):
            return {}
        if self.kind == "uf1":
            return {self.figure: _mean_uf1(results[self.model])}
        if self.kind == "share":
            most = _mean_uf1(results[self.over])
            return {self.figure: _mean_uf1(results[self.model]) / most if most else float("nan")}
        gain = paired_difference(results[self.model].runs, results[self.over].runs)
        ends = {f"{self.figure}_low": gain.low, f"{self.figure}_high": gain.high}
        return {self.figure: gain.value, **ends}


def _mean_uf1(result: Result) -> float:
    return float(np.mean(result.scores()))


def questions(
    models: Iterable[str], baseline: str, ceiling: bool = False
) -> dict[str, FigureSource]:
    """Every figure that the entries can give -> how it is computed.

    Args:
        models: Names of the entries.
        baseline: The one that ``<model>_gain`` is over.
        ceiling: Whether there is a ceiling, and ``<model>_of_ceiling``.
    """
    models = list(models)
    asked: list[FigureSource] = []
    if ceiling:
        asked.append(FigureSource("uf1", f"{CEILING}_uf1", CEILING))
        asked += [FigureSource("share", f"{m}_of_{CEILING}", m, CEILING) for m in models]
    for name in models:
        asked += [
            FigureSource("uf1", f"{name}_uf1", name),
            FigureSource("few", f"{name}_few_subjects_uf1", name),
            FigureSource("gain", f"{name}_gain", name, baseline),
            *(FigureSource("gain", f"{name}_gain_over_{o}", name, o) for o in models),
        ]
    found = {question.figure: question for question in asked}
    # Bars and ``figures`` may name an end of an interval; it comes with its gain.
    gains = [question for question in asked if question.kind == "gain"]
    return found | {f"{q.figure}_{end}": q for q in gains for end in ("low", "high")}
