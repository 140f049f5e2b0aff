"""Composed questions ask what their queries say, in many phrasings, with as many yes as no."""

from __future__ import annotations

import random

from deft_llm.queries.query import Query
from deft_llm.queries.understand import understand_turns
from deft_llm.unimer.query_questions import Pair, QueryQuestions


def drawn(seed: int, count: int, follow: bool = False) -> list[Pair]:
    maker = QueryQuestions(random.Random(seed))
    return [maker.follow_up() if follow else maker.pair() for _ in range(count)]


def share_understood(pairs: list[Pair]) -> tuple[float, list[str]]:
    """Share whose query is the one that is understood, and the others."""
    wrong = []
    for pair in pairs:
        asked = [pair.before, pair.question] if pair.before else [pair.question]
        found = understand_turns(asked)
        if found != pair.query:
            wrong.append(f"{' / '.join(asked)} | {pair.query} | {found}")
    return 1 - len(wrong) / len(pairs), wrong


def test_questions_ask_what_their_queries_say() -> None:
    # Most patterns were written after the rules, in words that they do not know.
    share, wrong = share_understood(drawn(0, 1000))
    assert share >= 0.9, wrong[:40]


def test_follow_ups_refer_to_the_question_before() -> None:
    share, wrong = share_understood(drawn(1, 400, follow=True))
    assert share >= 0.9, wrong[:40]


def test_phrasings_are_many() -> None:
    pairs = drawn(2, 3000)
    assert len({pair.question.lower() for pair in pairs}) > 1800
    assert len({pair.query.kind for pair in pairs}) >= 17


def test_yes_is_as_frequent_as_no() -> None:
    maker = QueryQuestions(random.Random(0))

    def holds(query: Query) -> bool | None:
        return "mouth corner" in query.regions or query.aus == (12,)

    for yes in (True, False):
        pairs = [maker.polar(yes, holds) for _ in range(100)]
        assert sum(pair is not None and holds(pair.query) is yes for pair in pairs) > 60
