"""Everyday questions that no pattern was written after: what is understood, and what is refused.

The files of ``questions/`` were written before the parser was trained. Every second line of a group
was looked at while the rules were mended; the others were only counted, and are what is held here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from deft_llm.queries.query import TALK, Query, parse_query
from deft_llm.queries.understand import understand, understand_turns

FOLDER = Path(__file__).parent / "questions"
ASIDE = {"unknown", "decline", "help"}


def lines(name: str, every: bool = False) -> Iterator[tuple[str, str]]:
    """Text and right answer of the lines that were only counted, or of every line."""
    seen: dict[str, int] = defaultdict(int)
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        group, text, *right = line.split(" | ")
        seen[group] += 1
        if every or seen[group] % 2 == 0:
            yield text, right[0] if right else ""


def holds(found: Query, right: str) -> bool:
    wanted = right.split(" || ")
    if found.kind in ASIDE and "unknown" in wanted:
        return True
    if found.kind == "decline" and "decline" in wanted:
        return True
    return any(found == parse_query(line) for line in wanted if line != "decline")


def rate(results: Iterator[bool]) -> float:
    told = list(results)
    assert len(told) >= 30
    return sum(told) / len(told)


def test_questions_about_the_clip_are_understood() -> None:
    asked = list(lines("alone"))
    assert rate(holds(understand(text), right) for text, right in asked) >= 0.8
    refused = rate(understand(text).kind in {"unknown", "decline"} for text, _ in asked)
    assert refused <= 0.06


def test_follow_ups_are_understood_in_a_conversation() -> None:
    turns = lines("dialogues")
    assert rate(holds(understand_turns(t.split(" / ")), right) for t, right in turns) >= 0.82


def test_questions_of_every_kind_are_understood_alone_and_in_conversations() -> None:
    turns = lines("everyday")
    assert rate(holds(understand_turns(t.split(" / ")), right) for t, right in turns) >= 0.8


def test_nothing_is_claimed_about_the_person_in_whatever_words() -> None:
    found = {text: understand_turns(text.split(" / ")) for text, _ in lines("beyond", every=True)}
    assert len(found) >= 150
    assert not {text: str(query) for text, query in found.items() if query.kind not in TALK}


def test_what_is_only_near_a_question_about_the_face_is_asked_back() -> None:
    found = {text: understand_turns(text.split(" / ")) for text, _ in lines("nearby", every=True)}
    claims = {text: str(query) for text, query in found.items() if query.kind not in TALK}
    assert len(claims) <= 0.05 * len(found), claims


def test_what_makes_no_sense_is_never_answered_with_a_claim() -> None:
    listed = (FOLDER / "senseless.txt").read_text(encoding="utf-8").splitlines()[1:]
    found = {text: understand(text) for text in listed}
    assert len(found) >= 50
    assert not {text: str(query) for text, query in found.items() if query.kind not in TALK}


def test_harmless_words_do_not_make_a_question_declined() -> None:
    found = {text: understand(text) for text, _ in lines("harmless", every=True)}
    refused = {text: str(query) for text, query in found.items() if query.kind in ASIDE}
    assert len(refused) <= 0.1 * len(found), refused


@pytest.mark.parametrize(("name", "most"), [("declined", 0.02), ("unclear", 0.06)])
def test_nothing_is_claimed_where_nothing_can_be_told(name: str, most: float) -> None:
    claims = {text: str(q) for text, _ in lines(name) if (q := understand(text)).kind not in TALK}
    assert len(claims) <= most * len(list(lines(name))), claims


def test_what_a_face_cannot_tell_is_mostly_declined_and_not_just_unknown() -> None:
    assert rate(understand(text).kind == "decline" for text, _ in lines("declined")) >= 0.9
