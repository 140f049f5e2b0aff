"""From a corpus folder as it was unpacked to the table of a paper.

The clips are measured once, into a cache. Every model sees the same folds, which are made and
checked as in the recognition benchmark; rows are stored per model, seed and fold, so that an
interrupted run goes on where it was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from deft_llm import facs, protocols
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.corpora import OfCorpora
from deft_llm.evaluation.corpus_table.figures import scheme_figures, scheme_values
from deft_llm.evaluation.corpus_table.material import CorpusClips
from deft_llm.evaluation.corpus_table.models import TableRun, tell_costs
from deft_llm.evaluation.corpus_table.result_folder import (
    Findings,
    SchemeTable,
    write_result_folder,
)
from deft_llm.evaluation.corpus_table.schemes import SchemeClips, scheme_clips
from deft_llm.evaluation.corpus_table.words import Protocol, listed, paragraph, script
from deft_llm.evaluation.recognition.clips import Material, require_no_leak
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.folds import (
    make_splits,
    protocol_splits,
    require_trainable,
)
from deft_llm.evaluation.recognition.tables import PublishedScore
from deft_llm.metrics.figures import Figure

logger = logging.getLogger(__name__)
_NOBODY = np.empty(0, np.int64)  # no rows are given for the test: the protocol chooses them


class CorpusBenchmark(OfCorpora):
    """A file of ``eval/benchmarks`` with ``benchmark: corpora``.

    Figures are ``<entry>_<scheme>_uf1``, means over seeds, and those of ``figures.py`` that have a
    bar.

    Attributes:
        schemes: Label schemes (``facs.SCHEMES``), a table each.
        counts: Scheme -> reader -> class -> published number of clips; those that the reader knows
            by default.
        protocol: "loso" (of all corpora together: the composite), "kfold", "hold_out", or
            "cross_dataset".
        folds: For "kfold".
        share: Share of the subjects held out, for "hold_out".
        unseen: Also train on all other corpora and test on each, for the column of the gap.
        baseline: Entry that the others are compared with.
        published: Scheme -> published numbers.
    """

    schemes: list[str] = Field(min_length=1)
    counts: dict[str, dict[str, dict[str, int]]] = Field(default_factory=dict)
    protocol: Literal["loso", "kfold", "hold_out", "cross_dataset"] = "loso"
    folds: int = 10
    share: float = Field(default=0.25, gt=0, lt=1)
    unseen: bool = False
    baseline: str
    published: dict[str, list[PublishedScore]] = Field(default_factory=dict)

    @field_validator("schemes", mode="before")
    @classmethod
    def _as_text(cls, values: object) -> object:
        # A bare 3 is a number in YAML.
        return [str(v) for v in values] if isinstance(values, list) else values

    @field_validator("counts", "published", mode="before")
    @classmethod
    def _keys_as_text(cls, values: object) -> object:
        return {str(k): v for k, v in values.items()} if isinstance(values, dict) else values

    def figure_names(self) -> list[str]:
        """See the base."""
        return [name for scheme in self.schemes for name in scheme_figures(scheme, self.entries)]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        names = self.names(self.baseline)
        corpora = self.measured(names)
        mixed = ClipDataset.joined(*(each.clips for each in corpora))
        made, skipped = self._schemes(mixed, corpora)
        simulated = any(each.simulated for each in corpora)
        # A number of real clips beside one of simulated clips would be read as a comparison.
        published = {} if simulated else self.published
        tables = self._tables(made, {n: self.entries[n] for n in names}, published, skipped)
        measured = self.prepare.flow, self.prepare.landmarks
        protocol = Protocol(self.protocol, self.folds, self.share, *measured, self.unseen)
        found = Findings(
            title=listed([each.title for each in corpora]),
            simulated=simulated,
            protocol=protocol.words,
            baseline=self.baseline,
            tables=tables,
            left_out=[clip for each in corpora for clip in each.left_out],
            mended=sum(each.reading.report.count("mended") for each in corpora),
            noted=sum(each.reading.report.count("noted") for each in corpora),
            skipped=skipped,
            paragraph=paragraph(
                protocol, corpora, [(t.made, list(t.results.values())) for t in tables]
            ),
            script=script(f"corpora.{next(iter(self.corpora))}=/elsewhere"),
            settings=self.as_run(names),
        )
        text = write_result_folder(self.output, found)
        values: dict[str, float] = {}
        for table in tables:
            values |= scheme_values(table.made.scheme, table.results, self.bars)
        return self.with_bars(values), text + f"\nwritten to {self.output}\n"

    def _tables(
        self,
        made: Sequence[SchemeClips],
        entries: Mapping[str, ModelEntry],
        published: Mapping[str, Sequence[PublishedScore]],
        skipped: dict[str, str],
    ) -> list[SchemeTable]:
        """Say what all models cost, and run them; what cannot be run is added to ``skipped``."""
        runs = [TableRun(each, entries, self.seeds, self.output / "folds") for each in made]
        across = self._across(made, entries, skipped)
        tell_costs([*runs, *across.values()])
        # Published numbers are of all classes of a scheme: with fewer, the task is an easier one.
        tables = [
            run.finish(published.get(run.made.scheme, []) if run.made.complete else [])
            for run in runs
        ]
        unseen = {scheme: run.results() for scheme, run in across.items()}
        return [replace(table, unseen=unseen.get(table.made.scheme, {})) for table in tables]

    # ---------------------------------------------------------------------------- clips

    def _schemes(
        self, clips: ClipDataset, corpora: Sequence[CorpusClips]
    ) -> tuple[list[SchemeClips], dict[str, str]]:
        """The clips under each scheme, and the schemes that they do not allow."""
        made, skipped = [], dict[str, str]()
        for scheme in self.schemes:
            counts = self._published_counts(scheme, corpora)
            try:
                splits_of = partial(self._splits, clips)
                each = scheme_clips(scheme, clips, splits_of, counts)
                require_trainable(each.splits, each.data)
            except UserError as error:
                if scheme not in facs.SCHEMES:
                    raise
                skipped[scheme] = str(error)
                logger.warning("no table of scheme %s: %s", scheme, error)
                continue
            self.output.mkdir(parents=True, exist_ok=True)
            require_no_leak(each.splits, each.data, self.output / scheme, clips.name)
            made.append(each)
        if not made:
            raise UserError(next(iter(skipped.values())))
        return made, skipped

    def _across(
        self,
        made: Sequence[SchemeClips],
        entries: Mapping[str, ModelEntry],
        skipped: dict[str, str],
    ) -> dict[str, TableRun]:
        """Scheme -> its clips, each corpus tested by models that learned from the others."""
        found = dict[str, TableRun]()
        for each in made if self.unseen else ():
            try:
                splits = protocol_splits("cross_dataset", self._material(each.data), 0, 0.0)
            except UserError as error:
                skipped[f"{each.scheme} on an unseen corpus"] = str(error)
                continue
            audit, folder = self.output / each.scheme / "unseen", self.output / "folds" / "unseen"
            require_no_leak(splits, each.data, audit, each.data.clips.name)
            across = replace(each, splits=splits)
            found[each.scheme] = TableRun(across, entries, self.seeds, folder, "unseen corpus")
        return found

    def _published_counts(self, scheme: str, corpora: Sequence[CorpusClips]) -> Counter[str]:
        """Class -> published number of clips in all corpora; empty if one has none."""
        total = Counter[str]()
        for each in corpora:
            name, known = each.reading.name, each.reading.published.classes
            counts = self.counts.get(scheme, {}).get(name) or known.get(scheme)
            if counts is None or each.simulated:
                return Counter()
            total.update(counts)
        return total

    def _material(self, data: LabelledClips) -> Material:
        return Material(data, _NOBODY, data.clips)

    def _splits(self, measured: ClipDataset, data: LabelledClips) -> list[protocols.Split]:
        if self.protocol == "kfold":
            # The same for all label schemes, and for instruction data (unimer/folds.py).
            people = data.clips.people
            return protocols.subject_kfold(people, self.folds, among=measured.people)
        return make_splits(self.protocol, self._material(data), self.folds, self.share)
