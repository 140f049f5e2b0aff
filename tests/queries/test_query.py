"""The query grammar: printing and parsing are each other's inverse; wrong lines are explained."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_llm.errors import UserError
from deft_llm.queries import query as grammar
from deft_llm.queries.query import Query, parse_query


def some(known: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(known), max_size=4).map(tuple)


def one(known: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(("", *known))


QUERIES = st.builds(
    Query,
    kind=st.sampled_from(grammar.KINDS),
    polar=st.booleans(),
    negated=st.booleans(),
    regions=some((*grammar.PARTS, *grammar.PARTS)),
    sides=some(grammar.SIDES),
    directions=some(grammar.WAYS),
    aus=st.lists(st.integers(1, 999), max_size=3).map(tuple),
    classes=some(grammar.CLASSES),
    moments=some(grammar.MOMENTS),
    than=some((*grammar.PARTS, *grammar.CLASSES)),
    of=one(grammar.OBJECTS),
    rank=one(grammar.RANKS),
    bound=st.none()
    | st.tuples(st.sampled_from(("more", "less")), st.integers(0, 9999).map(lambda n: n / 100)),
    topic=one(grammar.TOPICS),
)


@given(QUERIES)
@settings(max_examples=200, deadline=None)
def test_a_query_survives_its_line(query: Query) -> None:
    line = str(query)
    assert parse_query(line) == query
    assert str(parse_query(line)) == line
    assert "\n" not in line


def test_groups_stand_for_their_parts() -> None:
    query = parse_query("moved? region=brow,mouth side=left")
    assert query.regions == ("outer brow", "inner brow", "upper lip", "mouth corner", "lower lip")
    assert str(query) == "moved? region=mouth,brow side=left"


def test_order_and_repetition_do_not_matter() -> None:
    assert Query("au", aus=(12, 6, 12)) == Query("au", aus=(6, 12))
    assert parse_query("when moment=offset,onset") == parse_query("when moment=onset,offset")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "expected one of moved"),
        ("dance", "kind 'dance'"),
        ("moved region=tail", "region 'tail'"),
        ("moved left", "expected FIELD=VALUE"),
        ("moved colour=red", "expected FIELD=VALUE"),
        ("au au=twelve", "expected a number"),
        ("how_long more=long", "expected a number"),
        ("au? au=0", "1 to 999"),
    ],
)
def test_a_wrong_line_is_explained(line: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        parse_query(line)
