"""From a corpus folder as it was unpacked to the table of a paper.

The clips are measured once, into a cache. Every model sees the same folds, which are made and
checked as in the recognition benchmark; rows are stored per model, seed and fold, so that an
interrupted run goes on where it was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from deft_llm import facs, protocols
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.corpora import OfCorpora
from deft_llm.evaluation.corpus_table.material import CorpusClips
from deft_llm.evaluation.corpus_table.models import TableRun, tell_costs
from deft_llm.evaluation.corpus_table.result_folder import Findings, write_result_folder
from deft_llm.evaluation.corpus_table.schemes import SchemeClips, scheme_clips
from deft_llm.evaluation.corpus_table.words import Protocol, listed, paragraph, script
from deft_llm.evaluation.recognition.clips import Material, require_no_leak
from deft_llm.evaluation.recognition.folds import make_splits, protocol_splits
from deft_llm.evaluation.recognition.tables import PublishedScore
from deft_llm.metrics.figures import Figure

logger = logging.getLogger(__name__)
_NOBODY = np.empty(0, np.int64)  # no rows are given for the test: the protocol chooses them


class CorpusBenchmark(OfCorpora):
    """A file of ``eval/benchmarks`` with ``benchmark: corpora``.

    Figures are ``<entry>_<scheme>_uf1``, means over seeds.

    Attributes:
        schemes: Label schemes (``facs.SCHEMES``), a table each.
        unmapped: Reader -> emotions that get no class when emotions are merged.
        counts: Scheme -> reader -> class -> published number of clips; those that the reader knows
            by default.
        protocol: "loso" (of all corpora together: the composite), "kfold", "hold_out", or
            "cross_dataset".
        folds: For "kfold".
        share: Share of the subjects held out, for "hold_out".
        baseline: Entry that the others are compared with.
        published: Scheme -> published numbers.
    """

    schemes: list[str] = Field(min_length=1)
    unmapped: dict[str, list[str]] = Field(default_factory=dict)
    counts: dict[str, dict[str, dict[str, int]]] = Field(default_factory=dict)
    protocol: Literal["loso", "kfold", "hold_out", "cross_dataset"] = "loso"
    folds: int = 10
    share: float = Field(default=0.25, gt=0, lt=1)
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
        return [f"{name}_{scheme}_uf1" for scheme in self.schemes for name in self.entries]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        names = self.names(self.baseline)
        corpora = self.measured(names)
        mixed = ClipDataset.joined(*(each.clips for each in corpora))
        made, skipped = self._schemes(mixed, corpora)
        entries = {name: self.entries[name] for name in names}
        runs = [TableRun(each, entries, self.seeds, self.output / "folds") for each in made]
        tell_costs(runs)
        tables = [run.finish(self.published.get(run.made.scheme, [])) for run in runs]
        protocol = Protocol(self.protocol, self.folds, self.share, self.prepare.flow)
        found = Findings(
            title=listed([each.title for each in corpora]),
            protocol=protocol.words,
            baseline=self.baseline,
            tables=tables,
            left_out=[clip for each in corpora for clip in each.left_out],
            mended=sum(each.reading.report.count("mended") for each in corpora),
            skipped=skipped,
            paragraph=paragraph(
                protocol, corpora, [(t.made, list(t.results.values())) for t in tables]
            ),
            script=script(f"corpora.{next(iter(self.corpora))}=/elsewhere"),
            settings=self.as_run(names),
        )
        text = write_result_folder(self.output, found)
        values = {
            f"{name}_{table.made.scheme}_uf1": float(np.mean(result.scores()))
            for table in tables
            for name, result in table.results.items()
        }
        return self.with_bars(values), text + f"\nwritten to {self.output}\n"

    # ---------------------------------------------------------------------------- clips

    def _schemes(
        self, clips: ClipDataset, corpora: Sequence[CorpusClips]
    ) -> tuple[list[SchemeClips], dict[str, str]]:
        """The clips under each scheme, and the schemes that they do not allow."""
        made, skipped = [], dict[str, str]()
        for scheme in self.schemes:
            counts = self._published_counts(scheme, corpora)
            try:
                each = scheme_clips(scheme, clips, self.unmapped, self._splits, counts)
                # Checked once more as every benchmark's folds are, before any model is trained.
                protocol_splits(self.protocol, self._material(each.data), self.folds, self.share)
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

    def _published_counts(self, scheme: str, corpora: Sequence[CorpusClips]) -> Counter[str]:
        """Class -> published number of clips in all corpora; empty if one has none."""
        total = Counter[str]()
        for each in corpora:
            name, known = each.reading.name, each.reading.published.classes
            counts = self.counts.get(scheme, {}).get(name) or known.get(scheme)
            if counts is None:
                return Counter()
            total.update(counts)
        return total

    def _material(self, data: LabelledClips) -> Material:
        return Material(data, _NOBODY, data.clips)

    def _splits(self, data: LabelledClips) -> list[protocols.Split]:
        return make_splits(self.protocol, self._material(data), self.folds, self.share)
