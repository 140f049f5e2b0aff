"""DEFT-LLM on simulated clips: classes, AUs and claims scored against the exact ground truth.

Every checkpoint in the file is run on its test sets: clips of faces that it was never trained on,
one head per set. The draw is fixed: at least 600 clips of at least 60 identities; emotions and
AU sets from the statistics of real codings; peak displacement log-uniform 0.3-3 canonical px;
blinks, gaze, head drift, camera noise; H.264 at CRF 18; 10 % of the clips without any AU. Onset and
apex are the coded ones, as in published protocols. The file lists the measures to compute
(``measures.py``). Sets of life (``scene/life.py``: held, macro, turned clips) are rows of their own
beside these, so that they change none of the pinned figures.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from deft_llm import facs, resources
from deft_llm.config import Settings
from deft_llm.data.simulated import SimulatedData, even_specs, head_at_hand, simulated_clips, specs
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError, did_you_mean
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.explanation.measures import (
    MEASURES,
    Values,
    figure_names,
    measured,
    of_text,
)
from deft_llm.evaluation.explanation.references import training_draw
from deft_llm.evaluation.explanation.replies import ask, write_rows
from deft_llm.evaluation.explanation.scores import (
    LEAST_AU_SHARE,
    amplitude_table,
    confusion,
    kind_table,
    scored_aus,
)
from deft_llm.evaluation.explanation.trial import Trial
from deft_llm.evaluation.faces import require_unseen
from deft_llm.evaluation.tables import markdown
from deft_llm.metrics.figures import Figure
from deft_llm.simulator.scene.clip_spec import ClipSpec

logger = logging.getLogger(__name__)
LEFT_OUT = "left_out"
_OF_TESTS = ("ablations", "structure_alone", "experts", "reference")
"""Measures that rows go without: they say more of a model than of the clips."""


def _known(name: str) -> str:
    if name not in MEASURES:
        raise ValueError(f"expected some of {', '.join(MEASURES)}")
    return name


MeasureName = Annotated[str, AfterValidator(_known)]


class TrainedModel(Settings):
    """A checkpoint to test.

    Attributes:
        checkpoint: Its folder; "embedded" is the one in the package.
        recipes: Recipes it was trained with. Their training draw fits the ceilings and must share
            no face with the tests.
        tests: Names of the test sets.
    """

    checkpoint: Path
    recipes: list[Path]
    tests: list[str]


class SimulatedBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: simulated``.

    With one model on one test set, figures keep their own names, and a missing checkpoint or head
    is an error. With several they are named ``<model>_<test set>_<figure>``; a missing checkpoint
    or head is skipped and counted in ``left_out``. Figures of a row have the row's name in front,
    with which bars may name them.

    Attributes:
        models: By name.
        data: Test sets by name.
        rows: Further test sets by name; every model is tried on all of them.
        probe: Clips of the identity probe by the same names; faces alternate from clip to clip.
        train_data: Data folder that the logistic regression is trained on; may be missing.
        measures: Names of ``measures.MEASURES``.
        label_sets: Sets of classes to score.
        names: Figure -> its name in this file, if different.
        grammar: Generate as ``explain`` does: under the grammar, within what the AU head is sure
            of. Figures of the text are then named ``grammar_<figure>``.
        least_au_share: An AU is scored when it is in at least this share of the statistics.
    """

    models: dict[str, TrainedModel] = Field(min_length=1)
    data: dict[str, SimulatedData]
    rows: dict[str, SimulatedData] = {}
    probe: dict[str, SimulatedData] = {}
    train_data: Path | None = None
    measures: list[MeasureName]
    label_sets: list[Literal["three", "seven"]] = ["three"]
    names: dict[str, str] = {}
    grammar: bool = False
    least_au_share: float = LEAST_AU_SHARE

    def figure_names(self) -> list[str]:
        """See the base; without the prefixes for model and test set."""
        own = figure_names(scored_aus(self.least_au_share))
        called = [self.names.get(name, name) for name in own]
        return [*called, *(f"{row}_{name}" for row in self.rows for name in called), LEFT_OUT]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        self._require_parts()
        entries, left_out = self._entries()
        draws = {name: training_draw(self.models[name].recipes) for name, _ in entries}
        for name, test in entries:  # before anything is rendered
            self._require_unseen(draws[name], test)
        figures: list[Figure] = []
        rows: list[dict[str, object]] = []
        tables: list[str] = []
        # Entries come model by model, so each checkpoint is loaded once.
        for name, tests in groupby(entries, key=itemgetter(0)):
            explainer = Explainer.load(self.models[name].checkpoint)
            for _, test in tests:
                trial = self._trial(name, test, explainer, draws[name])
                values = measured(trial, self._measures(test))
                figures += self._figures(values, name, test)
                rows.append(_row(f"{name} on {test}", values, self.grammar))
                tables.append(f"{name} on {test}\n\n{_tables(trial)}")
        if self._several:
            figures += self.with_bars({LEFT_OUT: float(left_out)})
        if self._several or self.rows:
            tables.insert(0, markdown(rows) if rows else "nothing was tested")
        return figures, "\n\n".join(tables)

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return [(name, test) for name, model in self.models.items() for test in model.tests]

    @property
    def _several(self) -> bool:
        return len(self._pairs) > 1

    def _measures(self, test: str) -> list[str]:
        return [m for m in self.measures if test not in self.rows or m not in _OF_TESTS]

    def _require_parts(self) -> None:
        """Check that every name exists and that every measure has its clips."""
        tests = {test for _, test in self._pairs}
        wanted = {"data": self.data} | ({"probe": self.probe} if "experts" in self.measures else {})
        for part, sets in wanted.items():
            if missing := sorted(tests - set(sets)):
                there = ", ".join(sets) or "none"
                raise UserError(f"test set {missing[0]!r} is not in {part}; there are: {there}")
        if twice := sorted(set(self.rows) & set(self.data)):
            raise UserError(f"rows: {twice[0]!r} is in data as well; give it another name")
        if unknown := set(self.names) - set(known := figure_names(scored_aus(self.least_au_share))):
            name = min(unknown)
            raise UserError(f"names: no figure {name!r}{did_you_mean(name, known)}")
        if "reference" in self.measures and self.train_data is None:
            raise UserError("measures: reference needs train_data, the data folder of a recipe")

    def _entries(self) -> tuple[list[tuple[str, str]], int]:
        """(model, test set) pairs that can be run, and the number that cannot."""
        # Model by model, so that each checkpoint is loaded once.
        pairs = [
            (name, test)
            for name, model in self.models.items()
            for test in (*model.tests, *self.rows)
        ]
        if not self._several:
            # A single model is never skipped: what is missing then fails with its own message.
            return pairs, 0
        found = []
        for name, test in pairs:
            folder = resources.checkpoint(self.models[name].checkpoint)
            if not folder.is_dir():
                logger.warning("model %r is left out: no checkpoint %s", name, folder)
            elif head_at_hand(self._set(test).head):
                found.append((name, test))
        return found, len(pairs) - len(found)

    def _set(self, test: str) -> SimulatedData:
        return self.rows[test] if test in self.rows else self.data[test]

    def _require_unseen(self, train: list[ClipSpec], test: str) -> None:
        part = "rows" if test in self.rows else "data"
        sets: dict[str, Iterable[ClipSpec]] = {part: specs(self._set(test))}
        if "experts" in self._measures(test):
            sets["probe"] = even_specs(self.probe[test])
        for part, drawn in sets.items():
            require_unseen(
                train,
                drawn,
                f"training draw and {'probe' if part == 'probe' else 'test'}",
                f"set {part}.{test}.first_identity and .seed apart from the recipe's",
            )

    def _trial(self, name: str, test: str, explainer: Explainer, train: list[ClipSpec]) -> Trial:
        data = self._set(test)
        clips = simulated_clips(data, self.output)
        started = time.perf_counter()
        replies = ask(explainer, clips, grammar=self.grammar)
        seconds = (time.perf_counter() - started) / len(clips)
        # Written before anything is scored, so that a failing measure does not lose the replies.
        file = self.output / f"predictions-{name}-{test}.jsonl"
        write_rows(file, data.seed, clips, replies, seconds)
        probe = self.probe[test] if "experts" in self._measures(test) else None
        return Trial(
            explainer,
            train,
            clips,
            replies,
            self.label_sets,
            scored_aus(self.least_au_share),
            () if probe is None else simulated_clips(probe, self.output, even=True),
            self.train_data,
        )

    def _figures(self, values: Values, name: str, test: str) -> list[Figure]:
        """Attach bars by the names in the file, then prefix the names with model and test set."""
        row = f"{test}_" if test in self.rows else ""
        prefix = f"{name}_{'' if row else test + '_'}" if self._several else ""
        # ``with_bars`` keeps the order, so the result still pairs up with ``values``.
        called = self.with_bars({f"{row}{self.names.get(n, n)}": v for n, v in values.items()})
        return [
            replace(f, name=f"{prefix}{'grammar_' * (self.grammar and of_text(own))}{f.name}")
            for own, f in zip(values, called, strict=True)
        ]


def _row(title: str, values: Values, grammar: bool) -> dict[str, object]:
    """One row of the overview table: the main figures."""
    heads = {
        "UF1 of three": "three_uf1",
        "ceiling": "three_ceiling",
        "UF1 of seven": "seven_uf1",
        "its ceiling": "seven_ceiling",
        "AU macro-F1": "au_macro_f1",
        "claim precision": "claim_precision",
        "claim recall": "claim_recall",
        "heads UF1": "heads_three_uf1",
        "heads AU F1": "heads_au_macro_f1",
    }
    shown = {head: values[name] for head, name in heads.items() if name in values}
    return {"model": title, "text": "grammar" if grammar else "raw", **shown}


def _tables(trial: Trial) -> str:
    """Scores by amplitude and by kind, and the confusion matrix of the three classes."""
    matrix = confusion(trial.clips, (r.likeliest("three") for r in trial.replies))
    counts = [
        # Not strict: the matrix has a last column for answers outside the classes, left out here.
        {"true \\ predicted": name, **dict(zip(facs.THREE_CLASSES, row, strict=False))}
        for name, row in zip(facs.THREE_CLASSES, matrix.tolist(), strict=True)
    ]
    scores = (amplitude_table(trial.clips, trial.replies), kind_table(trial.clips, trial.replies))
    return "\n".join(markdown(rows) for rows in (*scores, counts) if rows)
