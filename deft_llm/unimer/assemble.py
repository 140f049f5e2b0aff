"""From measured parts to the finished dataset: conversations in all formats, counts, card.

Clips are read and written one at a time, so memory does not grow with the data. DEFT-LLM trains on
``train.jsonl`` (LLaVA's format); ``messages.jsonl`` and ``parquet/`` hold the same conversations
and those of ``extra.jsonl``, which are about two clips or about a hidden face.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from deft_llm.config import Settings
from deft_llm.data.clip_lines import CLIPS
from deft_llm.data.clip_shards import LeftOut, left_out, records
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import write_lines
from deft_llm.unimer.answer_writer import AnswerWriter, Templates
from deft_llm.unimer.balance import Balances
from deft_llm.unimer.comparison import pairs
from deft_llm.unimer.conversation_sampler import ConversationSampler
from deft_llm.unimer.rows import Row, as_messages, conversation_row, hidden_row, pair_row
from deft_llm.unimer.statistics import Statistics
from deft_llm.unimer.table import TableWriter

logger = logging.getLogger(__name__)


class Assembly(Settings):
    """How conversations are written.

    Attributes:
        seed: Seed of all random choices.
        variants: Conversations per clip; every second one is about the mirrored clip.
        turns: Questions per conversation.
        comparisons: Also write conversations about pairs of clips.
    """

    seed: int = 0
    variants: int = 8
    turns: int = 3
    comparisons: bool = True


class _Files:
    """The open files of a dataset, renamed into place together when all rows are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()
        self.files: dict[str, TextIO] = {}

    def __enter__(self) -> _Files:
        for name in ("train", "extra", "messages"):
            path = self.folder / f"{name}.jsonl.partial"
            self.files[name] = self.stack.enter_context(path.open("w", encoding="utf-8"))
        self.table = self.stack.enter_context(TableWriter(self.folder / "parquet"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Close first: Windows cannot rename an open file.
        self.stack.__exit__(kind, error, trace)
        if kind is None:
            for name in self.files:
                path = self.folder / f"{name}.jsonl"
                os.replace(self.folder / f"{name}.jsonl.partial", path)

    def write(self, name: str, row: Row) -> None:
        """Write a row to ``train`` or ``extra``, and to the other formats."""
        messages = as_messages(row)
        self.files[name].write(json.dumps(row) + "\n")
        self.files["messages"].write(json.dumps(messages) + "\n")
        self.table.write(messages)


def assemble(
    folder: Path,
    parts: Sequence[str],
    settings: Assembly,
    templates: Templates,
    refused: Iterable[LeftOut] = (),
) -> Statistics:
    """Write all conversations of measured parts.

    Args:
        folder: Data folder that holds the parts.
        parts: Their names, in order.
        settings: How to write them.
        templates: Wording.
        refused: Clips that failed before they reached a part.

    Returns:
        The counts, also written to ``statistics.json``, with plots and card beside it.

    Raises:
        UserError: If two parts hold the same clip.
    """
    clips = PartRecords(folder, parts)
    write_lines(folder / CLIPS, (record.to_json() for record in _unique(clips)))
    statistics = Statistics()
    for record in clips:
        statistics.count_clip(record)
    hidden: list[str] = []
    for failed in (*refused, *left_out(folder, parts)):
        statistics.count_left_out(failed.clip, failed.problem)
        if failed.no_face:
            hidden.append(failed.clip)
    total = settings.variants * statistics.clips
    with _Files(folder) as files:
        rows = conversations(clips, settings, templates)
        for row in tqdm(rows, total=total, desc="conversations", unit="row"):
            files.write("train", row)
            statistics.count_row(row)
        for row in _extra(clips, hidden, settings, AnswerWriter(templates)):
            files.write("extra", row)
            statistics.count_row(row)
    statistics.write(folder)
    return statistics


def _unique(clips: Iterable[ClipRecord]) -> Iterator[ClipRecord]:
    seen: set[str] = set()
    for record in clips:
        if record.clip in seen:
            raise UserError(
                f"clip {record.clip!r} comes from two of the corpora; give each once (megc2019 is "
                "made of casme2, smic_hs and samm)"
            )
        seen.add(record.clip)
        yield record


class PartRecords:
    """The records of some parts, read from disk on each iteration."""

    def __init__(self, folder: Path, parts: Sequence[str]) -> None:
        self.folder, self.parts = folder, parts

    def __iter__(self) -> Iterator[ClipRecord]:
        return records(self.folder, self.parts)


def conversations(
    clips: Iterable[ClipRecord], settings: Assembly, templates: Templates
) -> Iterator[Row]:
    """Every variant of every clip, the variants of one clip far apart.

    Args:
        clips: Iterated once for the balance of answers, and once for each variant.
        settings: How to write them.
        templates: Wording.
    """
    balances = Balances.of((record.facts(), record.emotion_known) for record in clips)
    sampler = ConversationSampler(AnswerWriter(templates), balances)
    # Variants in the outer loop: neighbouring rows are about different clips.
    for variant in range(settings.variants):
        mirrored = variant % 2 == 1
        for record in clips:
            # A stream per conversation: adding a clip does not shift the draws of the others.
            rng = random.Random(f"{settings.seed}/{record.clip}/{variant}")
            facts = record.facts(mirrored)
            turns = sampler.conversation(facts, rng, settings.turns, record.emotion_known)
            yield conversation_row(f"{record.clip}-{variant}", record, mirrored, turns)


def _extra(
    clips: Iterable[ClipRecord],
    hidden: Iterable[str],
    settings: Assembly,
    writer: AnswerWriter,
) -> Iterator[Row]:
    """Conversations about two clips, and about clips in which no face was found."""
    if settings.comparisons:
        yield from (pair_row(pair) for pair in pairs(clips, writer, settings.seed) if pair.turns)
    for clip in hidden:
        yield hidden_row(clip, writer, settings.seed)
