"""Uni-MER from simulated clips: their statements, and the data folder of DEFT-LLM's recipes.

Statements that the exact motion contradicts are not written.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.clip_shards import ALL, Share, records, write_shards
from deft_llm.data.records import ClipRecord
from deft_llm.data.simulated import SimulatedData, head_to_send, measure_simulated, specs
from deft_llm.files import write_lines
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, render_many
from deft_llm.unimer.answer_writer import AnswerWriter, Templates
from deft_llm.unimer.judging import judged
from deft_llm.unimer.rows import conversation_row

logger = logging.getLogger(__name__)
# Minimum probability of a statement. It can be low, because exact motion removes wrong ones.
ACCEPTED = 0.5


def judge_simulated(simulated: SimulatedClip) -> MeasuredClip:
    """Measure a simulated clip and record its accepted statements."""
    clip = measure_simulated(simulated, jitter=True, offset_phase=True)
    if clip.features is None:
        return clip
    return replace(clip, record=judged(clip, least=ACCEPTED, by_truth=True))


def measure_simulated_parts(data: SimulatedData, folder: Path, shard: Share = ALL) -> list[str]:
    """Simulate and measure the parts of a share; after an interruption, call again to resume.

    Returns:
        Names of all parts of the dataset (``data/clip_shards.py``).
    """
    folder.mkdir(parents=True, exist_ok=True)

    def measured(drawn: Iterable[ClipSpec]) -> Iterator[MeasuredClip]:
        return render_many(drawn, judge_simulated, data.workers, head_to_send(data))

    return write_shards("features", list(specs(data)), measured, folder, shard)


def build_simulated(data: SimulatedData, folder: Path, templates: Templates) -> None:
    """Write the data folder of DEFT-LLM's own recipe; after an interruption, call again to resume.

    Args:
        data: What to simulate.
        folder: Output folder; ``data/records.py`` lists its files.
        templates: Wording.
    """
    parts = measure_simulated_parts(data, folder)
    measured = list(records(folder, parts))
    logger.info("%d of %d clips measured", len(measured), data.clips)
    # clips.jsonl comes last: without it, the folder does not open as a dataset.
    write_lines(folder / "train.jsonl", _conversations(measured, data, AnswerWriter(templates)))
    write_lines(folder / "clips.jsonl", (record.to_json() for record in measured))


def _conversations(
    measured: list[ClipRecord], data: SimulatedData, writer: AnswerWriter
) -> Iterator[str]:
    """Every variant of every clip, the variants of one clip far apart."""
    for variant in range(data.variants):
        for record in measured:
            rng = random.Random(f"{data.seed}/{record.clip}/{variant}")
            mirrored = variant % 2 == 1
            facts = record.facts(mirrored)
            turns = writer.conversation(facts, rng, data.turns, record.emotion_known)
            yield json.dumps(conversation_row(f"{record.clip}-{variant}", record, mirrored, turns))
