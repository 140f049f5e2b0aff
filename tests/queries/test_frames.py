"""A frame and the words of its question give the query back; the network names nothing else."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_llm.queries import frames, parser
from deft_llm.queries.calls import arguments, from_arguments
from deft_llm.queries.cues import without_manners
from deft_llm.queries.marks import Asked
from deft_llm.queries.network import load_parser
from deft_llm.queries.query import Query, parse_query
from deft_llm.queries.scope import strangers
from deft_llm.queries.spelling import normal
from deft_llm.queries.tokens import LENGTH, encode, tags, tokens
from deft_llm.unimer.query_questions import QueryQuestions


def asked(text: str) -> Asked:
    return Asked.of(without_manners(normal(text)))


@pytest.mark.parametrize(
    ("text", "frame", "query"),
    [
        ("did the left brow go up?", "direction?",
         "direction? region=brow side=left direction=up"),
        ("did the mouth move more than the brows", "compare? regions:ahead than:behind",
         "compare? region=mouth than=brow"),
        ("were the brows less active than the lips", "compare? regions:behind than:ahead",
         "compare? region=lip than=brow"),
        ("did the left move more than the right", "side_difference? sides:first",
         "side_difference? side=left"),
        ("was it quick?", "how_long? less=0.5", "how_long? less=0.5"),
        ("were at least two AUs active", "count? of=aus bound:counted", "count? of=aus more=1"),
    ],
)  # fmt: skip
def test_a_frame_is_filled_in_by_the_words_of_the_question(
    text: str, frame: str, query: str
) -> None:
    assert str(frames.fill(frame, asked(text))) == query
    assert frames.fill(frames.frame_of(parse_query(query), asked(text)) or "", asked(text)) == (
        parse_query(query)
    )


def test_a_frame_without_its_words_is_no_query() -> None:
    assert frames.fill("direction?", asked("did it move")) is None
    assert frames.fill("compare? than:behind", asked("more than that")) is None
    assert frames.fill("same", asked("and then"), Query("moved")) is None
    assert frames.fill("other", asked("the other"), Query("moved")) is None


def test_composed_questions_have_frames() -> None:
    maker = QueryQuestions(random.Random(4))
    pairs = [draw() for _ in range(60) for draw in (maker.pair, maker.follow_up, maker.beyond)]
    found = [frames.frame_of(pair.query, asked(pair.question), pair.earlier) for pair in pairs]
    assert sum(frame is None for frame in found) <= 0.03 * len(found)
    for pair, frame in zip(pairs, found, strict=True):
        assert frame is None or frames.fill(frame, asked(pair.question), pair.earlier) == pair.query


@given(st.text(max_size=60))
@settings(max_examples=40, deadline=None)
def test_the_network_gives_valid_queries_of_any_text(text: str) -> None:
    reading = parser.read(asked(text), Query("moved", True, regions=("chin",)))
    assert 0 <= reading.claim <= 1.0001
    for query in filter(None, (reading.query, reading.aside)):
        assert parse_query(str(query)) == query


def test_the_network_names_nothing_that_was_not_asked_about() -> None:
    maker = QueryQuestions(random.Random(5))
    for pair in (maker.pair() for _ in range(150)):
        question = asked(pair.question)
        query = parser.read(question, None).query
        if query is not None:
            assert set(query.regions) <= set(question.parts)
            assert set(query.aus) <= set(question.aus)
            assert set(query.classes) <= set(question.values("class"))


def test_the_committed_network_is_small_and_knows_its_words() -> None:
    network = load_parser()
    size = sum(x.numel() * x.element_size() for x in network.state_dict().values())
    assert size < 2.5e6  # in float32 here; on disk it is half of that
    assert {"eyebrow", "smile", "lying"} <= network.vocabulary.keys()
    assert network.folded().vectors().shape == (network.config.words, network.config.width)


def test_tokens_say_what_words_name_and_what_was_asked_before() -> None:
    question = asked("and the left eyebrow?")
    first, *words = tokens(question, Query("moved", True, regions=("chin",)))
    assert set(first[1]) == {"before:moved", "before:polar", "before:regions"}
    named = dict(words)
    assert "side" in named["left"] and "region" in named["eyebrow"] and not named["and"]
    numbers, tagged = encode([[first, *words]], {"left": 7})
    assert numbers.shape == (1, LENGTH) and tagged.max() <= len(tags())
    assert 7 in numbers and numbers[0, 0] == 0


def test_the_padding_of_a_batch_changes_nothing() -> None:
    network = load_parser()
    questions = [tokens(asked(text), None) for text in ("when?", "did the left brow go up a lot?")]
    words, named = map(torch.from_numpy, encode(questions, network.vocabulary))
    with torch.inference_mode():
        both = network(words, named)
        one = network(words[:1, :4], named[:1, :4])
    torch.testing.assert_close(both[:1], one)


def test_words_that_nothing_accounts_for_are_told() -> None:
    assert strangers(asked("did the stock price go up?")) == ("stock", "price")
    assert strangers(asked("could you tell me which way her left mouth corner went?")) == ()


def test_a_query_survives_its_tool_call() -> None:
    made = QueryQuestions(random.Random(5))
    for query in [made.pair().query for _ in range(200)]:
        assert from_arguments(arguments(query)) == query
    for line in ("moved? not region=mouth at=20f", "moved at=0.2s", "au? au=1,12 of=all"):
        assert from_arguments(arguments(parse_query(line))) == parse_query(line)
    assert from_arguments({"kind": "moved", "at": "noon"}) is None
