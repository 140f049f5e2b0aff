"""Recognition benchmarks: recognizers under one honest protocol, measured beside published numbers.

Every model sees the same folds. A network learns on a schedule fixed in advance; an option with
several choices is chosen by subject-wise validation inside each fold's training set; the test
subject decides nothing. Rows of predictions are kept per model, seed and fold, so a run that was
stopped goes on, and every table comes from rows alone.
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
        subjects: How many are drawn; a draw without every class is drawn again.
        draws: How often.
        models: Which entries.
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
            of subjects, "cross_dataset" (each dataset is tested by the others), or "hold_out" of
            a share of the subjects.
        folds: For "kfold".
        share: Of the subjects that "hold_out" tests.
        oracle_epoch: Run networks with the epoch that is best on the test subject, as
            "oracle_NAME", whatever their schedules say. Never for honest numbers.
        seeds: Runs of each model that has a random state.
        models: Names of entries to run; empty runs all.
        entries: What can be run, by name.
        baseline: Entry that the others are compared with, clip by clip.
        few: Training on few subjects.
        figures: Figures to report; those with a bar are reported in any case.
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
        """Add a network's entry with the oracle, and name it; others stay as they are."""
        schedule = self.entries[name].schedule
        if schedule is None or schedule.oracle_epoch:
            return name
        chosen = schedule.model_copy(update={"oracle_epoch": True})
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
        protocols.require_classes(splits, data.labels, data.classes)
        for split in splits:
            protocols.require_disjoint_subjects(split, people)
        return splits

    def _require_no_leak(self, splits: Sequence[protocols.Split], data: LabelledClips) -> None:
        """Write the leak audit beside the tables; a certain leak stops the run."""
        clips = data.clips.clips.tolist()
        leaks = find_leaks(splits, clips, list(data.clips.stack("flow_image")))
        report = leaks.to_markdown(clips)
        logger.info("%s", report.splitlines()[0])
        if not leaks.clean:
            raise UserError(f"{self.data}: {report}")
        self.output.mkdir(parents=True, exist_ok=True)
        write_text(self.output / "leaks.md", report + "\n")

    def _few_subjects(self, data: LabelledClips, names: Sequence[str]) -> dict[str, Result]:
        """Results of the draws, each a fold of its own; scores are averaged over draws."""
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
    """Splits that train on ``count`` random subjects who between them show every class.

    Raises:
        UserError: If there are not more subjects than that.
    """
    names = np.asarray(subjects)
    people = np.unique(names)
    if count >= len(people):
        raise UserError(f"{count} subjects to train on of {len(people)}; expected fewer")
    splits: list[protocols.Split] = []
    rng = np.random.default_rng([6, count])
    rows = np.arange(len(names))
    while len(splits) < draws:
        chosen = np.isin(names, rng.permutation(people)[:count])
        if len(np.unique(labels[chosen])) == len(np.unique(labels)):
            fold = len(splits)
            nothing = rows[:0]
            splits.append(
                protocols.Split(f"draw {fold}", fold, rows[chosen], nothing, rows[~chosen])
            )
    return splits
