"""Action units on corpora as they were unpacked: CD6ME, and within one corpus.

CD6ME (Varanka et al., arXiv 2211.11425): of six datasets each is tested by models that learned from
the five others; twelve units, epochs fixed in advance. Units are learned one at a time, which is
ours: the published networks learn them together.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import yaml
from pydantic import Field

from deft_llm import protocols
from deft_llm.config import Settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.action_units.models import (
    BASELINES,
    CLASSES,
    AuClips,
    AuRuns,
    au_clips,
    baseline,
)
from deft_llm.evaluation.action_units.scores import AuCounts
from deft_llm.evaluation.action_units.tables import AuTables
from deft_llm.evaluation.corpus_table.corpora import OfCorpora
from deft_llm.evaluation.corpus_table.left_out import LeftOutClip, summary, write_left_out
from deft_llm.evaluation.corpus_table.material import CorpusClips
from deft_llm.evaluation.corpus_table.words import script
from deft_llm.evaluation.recognition.clips import Material, require_no_leak
from deft_llm.evaluation.recognition.folds import make_splits
from deft_llm.evaluation.replaced import replacing_results
from deft_llm.files import write_text
from deft_llm.metrics.figures import Figure
from deft_llm.pace import duration

logger = logging.getLogger(__name__)
_NOBODY = np.empty(0, np.int64)
_WORDS = {
    "cross_dataset": "leave one dataset out",
    "loso": "leave one subject out",
    "kfold": "folds of subjects",
}


class PublishedAus(Settings):
    """Mean F1 from elsewhere.

    Attributes:
        model: Its name.
        mean: Over the datasets.
        datasets: Corpus -> mean over its units.
        source: Where it is published.
    """

    model: str
    mean: float | None = None
    datasets: dict[str, float] = Field(default_factory=dict)
    source: str


class AuBenchmark(OfCorpora):
    """A file of ``eval/benchmarks`` with ``benchmark: action_units``.

    Figures are ``<entry>_f1``, means over units, datasets and seeds.

    Attributes:
        aus: Units that are tested, FACS numbers.
        protocol: "cross_dataset", "loso" or "kfold".
        folds: For "kfold".
        published: Scores from elsewhere.
    """

    told: ClassVar[tuple[str, ...]] = (*OfCorpora.told, "au")

    aus: list[int] = Field(min_length=1)
    protocol: Literal["cross_dataset", "loso", "kfold"] = "cross_dataset"
    folds: int = 10
    published: list[PublishedAus] = Field(default_factory=list)

    def figure_names(self) -> list[str]:
        """See the base."""
        return [f"{name}_f1" for name in (*self.entries, *BASELINES)]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        names = self.names()
        corpora = self.measured(names)
        made = self._made(corpora)
        self.output.mkdir(parents=True, exist_ok=True)
        require_no_leak(made.splits, made.data(made.aus[0]), self.output, made.clips.name)
        results, not_run = self._results(made, names)
        left_out = [clip for each in corpora for clip in each.left_out]
        left_out += self._uncoded(corpora)
        footer = [
            *summary(left_out),
            *(f"AU{number}: {why}" for number, why in made.not_learned.items()),
            *(f"no row of {name} ({why})" for name, why in not_run.items()),
        ]
        notes = {name: (e.selection, e.remark) for name in names for e in [self.entries[name]]}
        simulated = any(each.simulated for each in corpora)
        # A number of real clips beside one of simulated clips would be read as a comparison.
        published = [] if simulated else [p.model_dump() for p in self.published]
        tables = AuTables(made, results, notes, published)
        protocol = _WORDS[self.protocol] + (", simulated clips" if simulated else "")
        settings = yaml.safe_dump(self.as_run(names), sort_keys=False, allow_unicode=True)
        example = f"corpora.{next(iter(self.corpora))}=/elsewhere"
        with replacing_results(self.output, [self.output / "leaks.md"]) as folder:
            text = tables.write(folder, protocol, footer)
            write_text(folder / "benchmark.yaml", settings)
            write_text(folder / "reproduce.sh", script(example))
            write_left_out(folder / "left_out.csv", (("all", clip) for clip in left_out))
        values = {
            f"{name}_f1": float(np.mean([r.mean() for r in runs])) for name, runs in results.items()
        }
        return self.with_bars(values), text + f"\nwritten to {self.output}\n"

    def _made(self, corpora: Sequence[CorpusClips]) -> AuClips:
        mixed = ClipDataset.joined(*(each.clips for each in corpora))
        coded = mixed.subset(i for i, r in enumerate(mixed.records) if r.aus_known)
        if not len(coded):
            raise UserError(f"{mixed.name}: no clip has coded action units")
        labels = LabelledClips(coded, np.zeros(len(coded), np.int64), CLASSES)
        splits = make_splits(self.protocol, Material(labels, _NOBODY, coded), self.folds, 0.0)
        for split in splits:
            protocols.require_disjoint_subjects(split, coded.people)
        return au_clips(coded, self.aus, splits)

    @staticmethod
    def _uncoded(corpora: Sequence[CorpusClips]) -> list[LeftOutClip]:
        why = "no coded action unit"
        return [
            LeftOutClip(r.dataset, r.clip, f"emotion {r.emotion or 'unknown'}", why)
            for each in corpora
            for r in each.clips.records
            if not r.aus_known
        ]

    def _results(
        self, made: AuClips, names: Sequence[str]
    ) -> tuple[dict[str, list[AuCounts]], dict[str, str]]:
        """Model -> counts of each seed, and why others have none."""
        runs, not_run, seconds = dict[str, AuRuns](), dict[str, str](), 0.0
        for name in names:
            try:
                each = AuRuns(name, self.entries[name], made, self.seeds, self.output / "folds")
                seconds += each.tell_cost()
                runs[name] = each
            except UserError as error:
                not_run[name] = str(error)
        logger.info("in all about %s; Ctrl-C stops, the same command goes on", duration(seconds))
        results = {name: baseline(name, made) for name in BASELINES}
        for name, each in runs.items():
            try:
                results[name] = each.finish()
            except UserError as error:
                not_run[name] = str(error)
        for name, why in not_run.items():
            logger.warning("%s is left out: %s", name, why)
        return results, not_run
