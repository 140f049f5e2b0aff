"""Links the sentences of an answer to the measurements they refer to."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from deft_llm.answers import NOTHING
from deft_llm.deft.inference.answer import Answer
from deft_llm.deft.inference.claims import check_sentences, contradicting
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.service.clip_service import ClipResult
from deft_llm.viz.cards import Sentence
from deft_llm.viz.stage import region_numbers


def link_sentences(text: str, seen: ClipResult) -> tuple[Sentence, ...]:
    """Split an answer; each statement of motion gets its regions, measurements and a verdict.

    A sentence that concludes on a class other than the one found is marked.

    Args:
        text: A model's answer.
        seen: The clip it is about.

    Returns:
        Sentences that make up the text again when joined.
    """
    rows, found = seen.explanation.evidence, seen.explanation.emotion or NOTHING
    checked = check_sentences(text, seen.measurement.table_apex)
    if not checked:
        return (Sentence(text),)
    # Each piece runs up to the next sentence, so that white space is kept and the pieces join to
    # the text.
    borders = [0, *(sentence.start for sentence in checked[1:]), len(text)]
    linked = []
    for sentence, (start, end) in zip(checked, pairwise(borders), strict=True):
        # Each region once, in the order of the sentence; a claim may name one that is not measured.
        named = (claim.region for claim in sentence.claims)
        regions = tuple(dict.fromkeys(name for name in named if name in REGION_NAMES))
        numbers = "\n".join(region_numbers(seen.measurement, name, rows) for name in regions)
        borne_out = sentence.verdict != "unsupported"
        # A sentence on another class may well be true of the motion: two different marks.
        other = contradicting(text[start:end], found)
        linked.append(Sentence(text[start:end], regions, borne_out, numbers, found * bool(other)))
    return tuple(linked)


def answer_record(answer: Answer, seen: ClipResult) -> dict[str, Any]:
    """An answer with its evidence, JSON-ready: ``Answer.record``, and one row per sentence."""
    return {**answer.record(), "sentences": sentence_rows(answer.text, seen)}


def sentence_rows(text: str, seen: ClipResult) -> list[dict[str, Any]]:
    """The sentences of an answer with the measurements that they rest on, JSON-ready."""
    return [
        {
            "text": sentence.text.strip(),
            "regions": list(sentence.regions),
            # A sentence without claims about motion was not checked: null, not true.
            "supported": sentence.supported if sentence.regions else None,
            "contradicts": sentence.contradicts or None,
            "measured": sentence.numbers,
        }
        for sentence in link_sentences(text, seen)
    ]
