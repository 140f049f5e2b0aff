"""Recognition benchmarks: recognizers under one protocol, compared with published numbers.

Every model sees the same folds. A network trains on a schedule fixed in advance; an option with
several choices is selected by subject-wise validation inside each fold's training set; nothing is
selected on the test subject. Predictions are stored per model, seed and fold, so an interrupted
run resumes, and every table is computed from them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from deft_llm import facs, protocols
from deft_llm.config import Settings
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.sources import ClipSource
from deft_llm.errors import UserError, did_you_mean
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.recognition.ceiling import ceiling
from deft_llm.evaluation.recognition.clips import (
    Material,
    read_images,
    read_sources,
    require_no_leak,
)
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.few_shot import FIGURES, FewShotUse, few_shot_values, trained
from deft_llm.evaluation.recognition.few_shot import INPUTS as SHOT_INPUTS
from deft_llm.evaluation.recognition.folds import Protocol, few_subject_splits, protocol_splits
from deft_llm.evaluation.recognition.results import CEILING, Result, questions
from deft_llm.evaluation.recognition.runs import run_entry
from deft_llm.evaluation.recognition.tables import PublishedScore, write_tables
from deft_llm.metrics.figures import Figure
from deft_llm.recognizers.base import load_recognizer


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
    ``<entry>_gain_over_<entry>`` (paired by subject, with ``_low`` and ``_high``),
    ``<entry>_few_subjects_uf1`` (mean over draws), with a ceiling ``ceiling_uf1`` and
    ``<entry>_of_ceiling`` (a share), and those of ``few_shot.FIGURES``.

    Attributes:
        data: Folder of flow images, relative to the environment variable DEFT_DATA.
        clips: Measured clips of any source, in place of flow images.
        test: Clips of other subjects to test on, for "test_clips".
        cache: Folder of simulated clips; recipes and benchmarks may share it.
        protocol: "loso" (of all datasets together: the composite), "kfold" with ``folds`` groups
            of subjects, "cross_dataset" (train on all other datasets), "hold_out" of a share of
            the subjects, or "test_clips" (train on ``clips``, test on ``test``).
        folds: For "kfold".
        share: Share of the subjects held out for the test, for "hold_out".
        oracle_epoch: Run networks with the epoch that is best on the test subject, as
            "oracle_NAME", whatever their schedules say. Never use this for reported results.
        seeds: Runs of each model that has a random state.
        models: Names of entries to run; empty runs all.
        entries: Available entries by name.
        baseline: Entry that the others are compared with, clip by clip.
        ceiling: Add the Bayes rule on the true AUs (simulated clips only).
        few: Training on few subjects.
        few_shot: Naming the test clips by a few labelled ones, with a network trained before.
        figures: Figures to report; those with a bar are always reported.
        published: Published numbers for the leaderboard page.
    """

    data: Path | None = None
    clips: ClipSource | None = None
    test: ClipSource | None = None
    cache: Path = Path("runs/clips")
    protocol: Protocol = "loso"
    folds: int = 8
    share: float = Field(default=0.25, gt=0, lt=1)
    oracle_epoch: bool = False
    seeds: int = Field(default=3, ge=1)
    models: list[str] = Field(default_factory=list)
    entries: dict[str, ModelEntry]
    baseline: str
    ceiling: bool = False
    few: FewSubjects | None = None
    few_shot: FewShotUse | None = None
    figures: list[str] = Field(default_factory=list)
    published: list[PublishedScore] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.data is None) == (self.clips is None):
            raise ValueError("expected either data (flow images) or clips (measured clips)")
        if (self.test is not None) != (self.protocol == "test_clips"):
            raise ValueError('test clips and protocol "test_clips" go together')
        if self.test is not None and self.clips is None:
            raise ValueError("test clips go with clips, not with flow images")
        if CEILING in self.entries:
            raise ValueError(f"an entry cannot be called {CEILING!r}: that row is made by itself")
        return self

    def figure_names(self) -> list[str]:
        """See the base."""
        # Those of a ceiling and of few shots too where they are left out.
        return [*questions(self.entries, self.baseline, ceiling=True), *FIGURES]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        self._require_entries()
        names = self.models or list(self.entries)
        if self.oracle_epoch:
            names = [self._with_oracle(name) for name in names]
        # Before hours of training others.
        shown = trained(self.few_shot) if self.few_shot else None
        material = self._read(names)
        data = material.data
        splits = protocol_splits(self.protocol, material, self.folds, self.share)
        require_no_leak(splits, data, self.output, str(self.data or data.clips.name))
        results = {name: self._run(name, data, splits) for name in names}
        if self.ceiling:
            results[CEILING] = ceiling(data, splits)
        few = self._few_subjects(data, names)
        text = write_tables(self.output, results, few, self.baseline, self.published)
        values = self._values(results, few)
        if self.few_shot is not None and shown is not None:
            values |= few_shot_values(self.few_shot, shown, material.asked)
        return self.with_bars(values), text

    def _read(self, names: Sequence[str]) -> Material:
        """The clips, measured for what the models read."""
        if self.clips is None:
            assert self.data is not None
            return read_images(self.data)
        inputs = [*(SHOT_INPUTS if self.few_shot else ())]
        for name in names:
            entry = self.entries[name]
            inputs += load_recognizer(
                entry.recognizer, len(facs.THREE_CLASSES), **entry.options
            ).inputs
        return read_sources(self.clips, self.test, inputs, self.cache)

    def _run(self, name: str, data: LabelledClips, splits: Sequence[protocols.Split]) -> Result:
        entry = self.entries[name]
        rows = run_entry(name, entry, data, splits, entry.seeds or self.seeds, self.output / "rows")
        return Result(name, entry, rows)

    def _values(self, results: dict[str, Result], few: dict[str, Result]) -> dict[str, float]:
        """The figures of the file, and those with a bar."""
        known = questions(self.entries, self.baseline, ceiling=True)
        values: dict[str, float] = {}
        # Each figure once, in the order of the file: those with a bar may be listed as well.
        for name in dict.fromkeys((*self.figures, *self.bars)):
            if name in known:
                values |= known[name].values(results, few)
        return values

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

    def _few_subjects(self, data: LabelledClips, names: Sequence[str]) -> dict[str, Result]:
        """Results of the draws; each draw is one fold, and scores are averaged over draws."""
        if self.few is None:
            return {}
        people = data.clips.people
        splits = few_subject_splits(people, data.labels, self.few.subjects, self.few.draws)
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
