"""Questions about two clips of different people: class, strength, shared action units."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deft_llm.answers import Facts, au_name
from deft_llm.data.records import ClipRecord
from deft_llm.unimer.answer_writer import AnswerWriter
from deft_llm.unimer.conversation_sampler import Turn

COMPARISON_KINDS = ("compare_class", "compare_strength", "compare_aus")
_WINDOW = 64  # previous clips among which a partner is chosen; bounds the memory
_CLEARLY = 1.25  # minimum ratio of motion for one clip to count as stronger


@dataclass(frozen=True)
class ClipPair:
    """Two clips and the conversation about them."""

    first: ClipRecord
    second: ClipRecord
    turns: tuple[Turn, ...]


def pairs(records: Iterable[ClipRecord], writer: AnswerWriter, seed: int) -> Iterator[ClipPair]:
    """Pair every second clip with one of the clips shortly before it.

    Half of the pairs are drawn from the same class, half from different classes.
    """
    window: deque[ClipRecord] = deque(maxlen=_WINDOW)
    for number, record in enumerate(records):
        rng = random.Random(f"{seed}/{record.clip}/pair")
        # Without AU coding there is nothing to compare but the class.
        if record.emotion_known and record.aus_known:
            others = [r for r in window if r.subject != record.subject]
            # Otherwise most pairs would differ in class, and "different" would be a safe answer.
            wanted = rng.random() < 0.5
            alike = [r for r in others if (_coarse(r) == _coarse(record)) == wanted]
            if number % 2 and alike:
                partner = rng.choice(alike)
                turns = _turns(partner.facts(), record.facts(), writer, rng)
                yield ClipPair(partner, record, turns)
            window.append(record)


def _coarse(record: ClipRecord) -> str:
    return record.facts().coarse


def _turns(
    first: Facts, second: Facts, writer: AnswerWriter, rng: random.Random
) -> tuple[Turn, ...]:
    turns = []
    for kind in rng.sample(COMPARISON_KINDS, 2):
        question = rng.choice(writer.templates.questions[kind])
        answer = _answer(kind, first, second, writer)
        if answer is not None:
            turns.append(Turn(kind, question, answer))
    return tuple(turns)


def _answer(kind: str, first: Facts, second: Facts, writer: AnswerWriter) -> str | None:
    """The answer; None if the two clips are too similar to be ranked."""
    if kind == "compare_class":
        if first.coarse == second.coarse:
            return writer.text("same_class", label=first.coarse)
        return writer.text("other_class", label=first.coarse, other=second.coarse)
    if kind == "compare_strength":
        a, b = _largest(first), _largest(second)
        # The second test covers two clips without motion, for which the first is 0 < 0.
        if max(a, b) < _CLEARLY * min(a, b) or a == b:
            return None
        name = "stronger_first" if a > b else "stronger_second"
        return writer.text(name, first=f"{a:.1f}", second=f"{b:.1f}")
    shared = [code for code in first.aus if code in second.aus]
    return writer.text(
        "shared_aus",
        shared=_au_list(shared),
        first=_au_list([code for code in first.aus if code not in shared]),
        second=_au_list([code for code in second.aus if code not in shared]),
    )


def _largest(facts: Facts) -> float:
    return max((row.magnitude for row in facts.evidence), default=0.0)


def _au_list(codes: list[str]) -> str:
    return ", ".join(map(au_name, codes)) or "none"
