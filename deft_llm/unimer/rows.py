"""Conversations as rows of ``train.jsonl``, ``extra.jsonl`` and ``messages.jsonl``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from deft_llm.clip import Evidence
from deft_llm.data.records import ClipRecord
from deft_llm.unimer.answer_writer import AnswerWriter, Turn
from deft_llm.unimer.comparison import ClipPair

ROLES = {"human": "user", "gpt": "assistant"}
Row = dict[str, Any]


def _evidence(clip: str, rows: Sequence[Evidence]) -> list[Row]:
    return [{"clip": clip, **asdict(row)} for row in rows]


def _row(identity: str, clips: Sequence[ClipRecord], turns: Sequence[Turn]) -> Row:
    """The fields that all kinds of rows share."""
    values: list[dict[str, str]] = []
    for number, turn in enumerate(turns):
        # One <clip> marker per clip, in the first question only.
        mark = "" if number else "<clip>" * len(clips)
        values.append({"from": "human", "value": mark + turn.question})
        values.append({"from": "gpt", "value": turn.answer})
    return {
        "id": identity,
        "clip": clips[0].clip,
        "clips": [record.clip for record in clips],
        "subject": clips[0].subject,
        "subjects": sorted({record.subject for record in clips}),
        "dataset": clips[0].dataset,
        "mirrored": False,
        "agreement": clips[0].agreement,
        "score": round(clips[0].score, 4),
        "conversations": values,
        "kinds": [turn.kind for turn in turns],
        "stated": [list(turn.evidence) for turn in turns],
        "evidence": [],
    }


def conversation_row(
    identity: str, record: ClipRecord, mirrored: bool, turns: Sequence[Turn]
) -> Row:
    """A conversation about one clip.

    Returns:
        The row; ``stated`` lists for each question the indices of the evidence that its answer
        states.
    """
    facts = record.facts(mirrored)
    row = _row(identity, (record,), turns)
    # The order of evidence and returns is that of Turn.evidence, whose indices `stated` holds.
    evidence = _evidence(record.clip, (*facts.evidence, *facts.returns))
    return {**row, "mirrored": mirrored, "evidence": evidence}


def pair_row(pair: ClipPair) -> Row:
    """A conversation about two clips, with the evidence of both."""
    clips = (pair.first, pair.second)
    row = _row(f"{pair.first.clip}+{pair.second.clip}", clips, pair.turns)
    evidence = [e for r in clips for e in _evidence(r.clip, r.facts().evidence)]
    # Only the comparison of strength rests on motion; the others compare labels.
    stated = [list(range(len(evidence))) if k == "compare_strength" else [] for k in row["kinds"]]
    return {**row, "evidence": evidence, "stated": stated}


def hidden_row(clip: str, writer: AnswerWriter, seed: int) -> Row:
    """A question about a clip without a face, and the refusal to answer it."""
    question = random.Random(f"{seed}/{clip}/hidden").choice(writer.templates.questions["hidden"])
    record = ClipRecord(clip, "", None, True, (), (), "", 0, "", dataset="")
    return _row(f"{clip}-hidden", (record,), [Turn("hidden", question, writer.text("hidden"))])


def as_messages(row: Row) -> Row:
    """A row in the ``messages`` format."""
    kept = {name: value for name, value in row.items() if name != "conversations"}
    messages = [
        {"role": ROLES[turn["from"]], "content": turn["value"]} for turn in row["conversations"]
    ]
    return {**kept, "messages": messages}
