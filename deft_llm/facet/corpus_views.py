"""Views of a dataset of scans, rendered once; a scan that cannot be read is told and left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from deft_llm.corpora.scan_base import ScanEntry
from deft_llm.corpora.scans import load_scan_corpus
from deft_llm.data.shards import Arrays, Shards, claim_set
from deft_llm.errors import UserError
from deft_llm.facet.au_text import EMOTION_AUS
from deft_llm.facet.sequences import scan_views, sequence_views
from deft_llm.facet.view_store import ViewSet, row
from deft_llm.parallel import parallel_map
from deft_llm.scans.reading import read_scan, read_sequence
from deft_llm.simulator.scan_sets import FIVE, SIX

logger = logging.getLogger(__name__)
SCANS_PER_SHARD = 50
_MULTI = "four_dme_4d"


class CorpusViews(ViewSet):
    """Settings of the views of a dataset; see `ViewSet` for the others.

    Attributes:
        corpus: One of ``corpora.scans.SCAN_CORPORA``.
        folder: Where it lies.
    """

    corpus: str
    folder: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """See the base."""
        return FIVE if self.multi_label else SIX

    @property
    def multi_label(self) -> bool:
        """See the base."""
        return self.corpus == _MULTI

    @property
    def title(self) -> str:
        """See the base."""
        return self.corpus

    def entries(self) -> list[ScanEntry]:
        """Its scans that show one of the classes; neutral faces are left out.

        Raises:
            UserError: If the dataset is unknown, missing or empty.
        """
        listing = load_scan_corpus(self.corpus, self.folder).read()
        return [e for e in listing.entries if set(e.expressions) <= set(self.classes)]

    def shards(self, folder: Path) -> list[Shards]:
        """See the base."""
        return [Shards(folder, self.corpus, len(self.entries()), SCANS_PER_SHARD)]

    def build(self, folder: Path) -> None:
        """See the base."""
        claim_set(folder, "views", self)
        (shards,) = self.shards(folder)
        shards.render(self.entries(), partial(_render, self), f"scans of {self.corpus}")


def _render(data: CorpusViews, entries: Sequence[ScanEntry]) -> Iterator[Arrays]:
    return parallel_map(partial(_drawn, data), entries, data.workers)


def _drawn(data: CorpusViews, entry: ScanEntry) -> Arrays:
    """One row; empty, without a subject, for a scan that cannot be read."""
    label = [name in entry.expressions for name in data.classes]
    try:
        if entry.path.is_dir():
            views = sequence_views(
                *(read_sequence(entry.path).scans, entry.name, data.channels, data.frames),
                *(data.yaws, data.side, data.pooled),
            ).views
        else:
            scan = read_scan(entry.path)
            views = scan_views(scan, entry.name, data.channels, data.yaws, data.side)[1]
    except UserError as error:
        logger.warning("%s is left out: %s", entry.name, error)
        return row(data.empty(entry.path.is_dir()), [False] * len(label), {}, 0, "")
    # The datasets code no units: those of the emotion's word stand for them.
    aus = {au: 1.0 for name in entry.expressions for au in EMOTION_AUS.get(name, ())}
    return row(views, label, aus, entry.level, entry.subject)
