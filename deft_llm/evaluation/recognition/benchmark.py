"""Recognition benchmarks: recognizers under one protocol, compared with published numbers.

Every model sees the same folds. A network trains on a schedule fixed in advance; an option with
several choices is selected by subject-wise validation inside each fold's training set; nothing is
selected on the test subject. Predictions are stored per model, seed and fold, so an interrupted
run resumes, and every table is computed from them alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from deft_llm import facs, protocols
from deft_llm.config import Settings
from deft_llm.data.flow_images import read_flow_images
from deft_llm.data.labelled import LabelledClips, labelled, three_class
from deft_llm.errors import UserError, did_you_mean
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.results import Result, questions
from deft_llm.evaluation.recognition.runs import run_entry
from deft_llm.evaluation.recognition.tables import PublishedScore, write_tables
from deft_llm.files import write_text
from deft_llm.leaks import find_leaks
from deft_llm.metrics.figures import Figure

logger = logging.getLogger(__name__)


class FewSubjects(Settings):
    """Training on the labels of a few subjects only, testing on all others.

    Attributes:
        subjects: Number of subjects drawn; a draw that misses a class is repeated.
        draws: Number of draws.
        models: Entries to run.
    """

    subjects: int = Field(default=4, ge=1)
    draws: int = Field(default=10, ge=1)
    models: list[str] = Field(default_factory=list)


class RecognitionBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: recognition``.

    Figures are ``<entry>_uf1`` (mean over seeds), ``<entry>_gain`` over the baseline and
    ``<entry>_gain_over_<entry>`` (paired by subject, with ``_low`` and ``_high``), and
    ``<entry>_few_subjects_uf1`` (mean over draws).

    Attributes:
        data: Folder of flow images, relative to the environment variable DEFT_DATA.
        protocol: "loso" (of all datasets together: the composite), "kfold" with ``folds`` groups
            of subjects, "cross_dataset" (train on all other datasets), or "hold_out" of a share
            of the subjects.
        folds: For "kfold".
        share: Share of the subjects held out for the test, for "hold_out".
        oracle_epoch: Run networks with the epoch that is best on the test subject, as
            "oracle_NAME", whatever their schedules say. Never use this for reported results.
        seeds: Runs of each model that has a random state.
        models: Names of entries to run; empty runs all.
        entries: Available entries by name.
        baseline: Entry that the others are compared with, clip by clip.
        few: Training on few subjects.
        figures: Figures to report; those with a bar are always reported.
        published: Published numbers for the leaderboard page.
    """

    data: Path
    protocol: Literal["loso", "kfold", "cross_dataset", "hold_out"] = "loso"
    folds: int = 8
    share: float = Field(default=0.25, gt=0, lt=1)
    oracle_epoch: bool = False
    seeds: int = Field(default=3, ge=1)
    models: list[str] = Field(default_factory=list)
    entries: dict[str, ModelEntry]
    baseline: str
    few: FewSubjects | None = None
    figures: list[str] = Field(default_factory=list)
    published: list[PublishedScore] = Field(default_factory=list)

    def figure_names(self) -> list[str]:
        """See the base."""
        return list(questions(self.entries, self.baseline))

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        self._require_entries()
        names = self.models or list(self.entries)
        if self.oracle_epoch:
            names = [self._with_oracle(name) for name in names]
        data = _read(self.data)
        splits = self._splits(data)
        self._require_no_leak(splits, data)
        results = {
            name: Result(
                name,
                self.entries[name],
                run_entry(name, self.entries[name], data, splits, self.seeds, self.output / "rows"),
            )
            for name in names
        }
        few = self._few_subjects(data, names)
        text = write_tables(self.output, results, few, self.baseline, self.published)
        known = questions(self.entries, self.baseline)
        values: dict[str, float] = {}
        # Each figure once, in the order of the file: those with a bar may be listed as well.
        for name in dict.fromkeys((*self.figures, *self.bars)):
            values |= known[name].values(results, few)
        return self.with_bars(values), text

    def _require_entries(self) -> None:
        few = self.few.models if self.few else []
        for name in (*self.models, *few, self.baseline):
            if name not in self.entries:
                known = ", ".join(self.entries)
                raise UserError(f"model {name!r}; expected some of {known}")
        for name in self.figures:
            if name not in (known_figures := self.figure_names()):
                raise UserError(f"figures: no figure {name!r}{did_you_mean(name, known_figures)}")

    def _with_oracle(self, name: str) -> str:
        """Add a network's oracle entry and return its name; other entries stay unchanged."""
        schedule = self.entries[name].schedule
        if schedule is None or schedule.oracle_epoch:
            return name
        chosen = schedule.model_copy(update={"oracle_epoch": True})
        # Under another name: rows and tables must never mix it with the honest run.
        self.entries[f"oracle_{name}"] = self.entries[name].model_copy(update={"schedule": chosen})
        return f"oracle_{name}"

    def _splits(self, data: LabelledClips) -> list[protocols.Split]:
        people, datasets, subjects = data.clips.people, data.clips.datasets, data.clips.subjects
        make = {
            "loso": lambda: protocols.composite_splits(datasets, subjects),
            "kfold": lambda: protocols.subject_kfold(people, self.folds),
            "cross_dataset": lambda: protocols.cross_dataset(datasets, subjects),
            "hold_out": lambda: protocols.hold_out(people, self.share),
        }
        splits = make[self.protocol]()
        # Before training: a fold without a class, or with a subject on both sides, costs no run.
        protocols.require_classes(splits, data.labels, data.classes)
        for split in splits:
            protocols.require_disjoint_subjects(split, people)
        return splits

    def _require_no_leak(self, splits: Sequence[protocols.Split], data: LabelledClips) -> None:
        """Write the leak audit next to the tables; a certain leak stops the run."""
        clips = data.clips.clips.tolist()
        leaks = find_leaks(splits, clips, list(data.clips.stack("flow_image")))
        report = leaks.to_markdown(clips)
        logger.info("%s", report.splitlines()[0])
        if not leaks.clean:
            raise UserError(f"{self.data}: {report}")
        self.output.mkdir(parents=True, exist_ok=True)
        write_text(self.output / "leaks.md", report + "\n")

    def _few_subjects(self, data: LabelledClips, names: Sequence[str]) -> dict[str, Result]:
        """Results of the draws; each draw is one fold, and scores are averaged over draws."""
        if self.few is None:
            return {}
        subjects = data.clips.subjects
        splits = few_subject_splits(subjects, data.labels, self.few.subjects, self.few.draws)
        folder = self.output / f"rows-{self.few.subjects}-subjects"
        return {
            name: Result(
                name,
                self.entries[name],
                run_entry(name, self.entries[name], data, splits, 1, folder),
            )
            for name in self.few.models
            if name in names
        }


def _read(data: Path) -> LabelledClips:
    root = os.environ.get("DEFT_DATA")
    if not root and not data.is_absolute():
        raise UserError(f"data {data}: set DEFT_DATA to the folder that holds it")
    return labelled(read_flow_images(Path(root or ".") / data), facs.THREE_CLASSES, three_class)


def few_subject_splits(
    subjects: Any, labels: protocols.Indices, count: int, draws: int
) -> list[protocols.Split]:
    """Splits that train on ``count`` random subjects who together show every class.

    Raises:
        UserError: If there are not more subjects than that.
    """
    names = np.asarray(subjects)
    people = np.unique(names)
    if count >= len(people):
        raise UserError(f"{count} subjects to train on of {len(people)}; expected fewer")
    splits: list[protocols.Split] = []
    # Seeded by the count, so that a rerun gets the same draws.
    rng = np.random.default_rng([6, count])
    rows = np.arange(len(names))
    while len(splits) < draws:
        chosen = np.isin(names, rng.permutation(people)[:count])
        if len(np.unique(labels[chosen])) == len(np.unique(labels)):
            fold = len(splits)
            # No validation rows: with so few subjects nothing is selected.
            nothing = rows[:0]
            splits.append(
                protocols.Split(f"draw {fold}", fold, rows[chosen], nothing, rows[~chosen])
            )
    return splits
