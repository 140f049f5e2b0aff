"""Whatever is written of a clip is read back as it was meant, and no text breaks the reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deft_llm import facs
from deft_llm.answers import (
    COARSE_LABELS,
    Facts,
    coarse_label,
    parse_structured_answer,
    stated_aus,
    stated_claims,
    stated_labels,
    strength,
)
from deft_llm.clip import Evidence
from deft_llm.deft.inference.grammar import END, START, TEXT, advance, options
from deft_llm.unimer.answer_writer import AnswerWriter, Templates

# Nothing here depends on chance or on how fast the machine is.
EXAMPLES = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
WRITER = AnswerWriter(Templates())
LABELS = {*facs.EMOTIONS, *COARSE_LABELS}
REGIONS = list(facs.REGIONS)


@st.composite
def some_aus(draw: st.DrawFn) -> tuple[str, ...]:
    """Each number at most once, as corpora code them and the grammar writes them."""
    numbers = draw(st.lists(st.sampled_from(list(facs.ACTION_UNITS)), unique=True, max_size=5))
    return facs.sort_aus(draw(st.sampled_from(["", "L", "R"])) + str(n) for n in numbers)


@st.composite
def some_facts(draw: st.DrawFn) -> Facts:
    """Any motion of any region, explained by some of the AUs; none without AUs."""
    aus, rows = draw(some_aus()), []
    emotion = draw(st.sampled_from([*facs.EMOTIONS, *facs.THREE_CLASSES, None]))
    moved = draw(st.sets(st.sampled_from(REGIONS), max_size=8)) if aus else set()
    for name in sorted(moved, key=REGIONS.index):
        way = draw(st.sampled_from(facs.directions(facs.REGIONS[name].side)))
        causes = draw(st.lists(st.sampled_from(aus), min_size=1, unique=True))
        rows.append(Evidence(name, way, draw(st.floats(0.02, 3)), 5.0, facs.sort_aus(causes)))
    return Facts(emotion, aus, tuple(rows))


def claims_of(facts: Facts) -> list[tuple[str, str]]:
    return [(row.region, row.direction) for row in facts.evidence]


@EXAMPLES
@given(some_facts())
def test_a_written_answer_reads_back(facts: Facts) -> None:
    record = parse_structured_answer(WRITER.answer("structured_answer", facts))
    assert record is not None
    assert (record["class"], record["emotion"]) == (facts.coarse, facts.emotion or "none")
    assert tuple(record["aus"]) == facts.aus
    assert record["evidence"] == [
        {"region": row.region, "direction": row.direction, "strength": strength(row.magnitude)}
        for row in facts.evidence
    ]


@EXAMPLES
@given(some_facts())
def test_sentences_state_the_evidence_and_nothing_else(facts: Facts) -> None:
    kinds = (
        ("motion", "structured_answer")
        if facts.emotion is None
        else ("motion", "structured_answer", "why")
    )
    for kind in kinds:
        claims = stated_claims(WRITER.answer(kind, facts))
        assert sorted(claims) == sorted(claims_of(facts)), kind


@EXAMPLES
@given(some_facts())
def test_the_reasons_name_the_emotion_and_coded_units_alone(facts: Facts) -> None:
    text = WRITER.rationale(facts)
    assert stated_labels(text) == ((facts.emotion,) if facts.emotion else ())
    assert stated_aus(text) <= {facs.au_number(code) for code in facts.aus}
    assert stated_aus(WRITER.answer("aus", facts)) == {facs.au_number(c) for c in facts.aus}
    assert set(stated_labels(WRITER.answer("class", facts))) == {facts.coarse}


@EXAMPLES
@given(some_facts(), st.data())
def test_the_grammar_allows_every_written_answer_in_any_pieces(facts: Facts, data: Any) -> None:
    text = WRITER.answer("structured_answer", facts).encode()
    cuts = data.draw(st.sets(st.integers(1, len(text) - 1), max_size=12))
    state = START
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True):
        after = advance(state, text[begin:end])
        assert after is not None, text[:end]
        state = after
    assert state.stage == END
    assert advance(state, b" ") is None


@EXAMPLES
@given(st.data(), st.text(st.characters(codec="utf-8"), max_size=60))
def test_every_answer_of_the_grammar_reads(data: Any, rationale: str) -> None:
    """A random walk, which also goes where no writer would."""
    stage, text = START.stage, b""
    while stage != TEXT:
        ways = options(stage)
        written = data.draw(st.sampled_from(sorted(ways)))
        stage, text = ways[written], text + written
    text += json.dumps(rationale, ensure_ascii=data.draw(st.booleans()))[1:].encode() + b"}"
    state = advance(START, text)
    assert state is not None and state.stage == END
    record = parse_structured_answer(text.decode())
    assert record is not None and record["rationale"] == rationale
    assert coarse_label(record["emotion"]) == record["class"]
    numbers = [facs.au_number(code) for code in record["aus"]]
    stated = [(row["region"], row["direction"]) for row in record["evidence"]]
    assert len(set(numbers)) == len(numbers)
    assert list(stated_claims(text.decode()))[: len(stated)] == stated


# ------------------------------------------------------------------------------------- any text

# Pieces of answers in any order beside other text: what a model in training, or cut short, writes.
pieces = st.sampled_from(
    [
        *(text.decode() for text in options(START.stage)),
        *('"aus": [', '"L12", ', '], "evidence": [', '{"region": "chin", ', '"direction": "up"}'),
        *('"rationale": "', '"}', "}", "]", "[", "{", "null", "\\ud800", "\\", "AU12 ", "AU"),
        *("The chin moves up. ", "Both cheeks move ", "up and outward", "read as disgust", "None"),
    ]
)
any_text = st.lists(pieces | st.text(max_size=8), max_size=12).map("".join) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.sampled_from(REGIONS),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(), inside, max_size=2),
    max_leaves=4,
)
records = st.fixed_dictionaries(
    {
        "class": st.sampled_from(COARSE_LABELS) | values,
        "aus": st.lists(st.sampled_from(["12", "L1", "99", "L", ""]) | values) | values,
        "evidence": st.lists(
            st.dictionaries(
                st.sampled_from(["region", "direction"]),
                st.sampled_from([*REGIONS, *facs.DIRECTIONS]) | values,
            )
            | values
        )
        | values,
        "rationale": st.text() | values,
    },
    optional={"emotion": values},
)


@EXAMPLES
@given(any_text | values.map(json.dumps))
def test_no_text_breaks_the_readers(text: str) -> None:
    check_readers(text)


@EXAMPLES
@given(records.map(json.dumps))
def test_no_record_breaks_the_readers(text: str) -> None:
    check_readers(text)


def check_readers(text: str) -> None:
    """Whatever is read is known; what is not is left out."""
    record = parse_structured_answer(text)
    if record is not None:
        assert record["class"] in COARSE_LABELS
        assert {facs.au_number(code) for code in record["aus"]} <= set(facs.ACTION_UNITS)
        for row in record["evidence"]:
            assert row["direction"] in facs.directions(facs.REGIONS[row["region"]].side)
    claims = stated_claims(text)
    assert len(set(claims)) == len(claims)
    assert {region for region, _ in claims} <= set(REGIONS)
    assert {direction for _, direction in claims} <= set(facs.DIRECTIONS)
    assert set(stated_labels(text)) <= LABELS
    assert all(0 <= number < 100 for number in stated_aus(text))


@EXAMPLES
@given(some_facts(), st.binary(max_size=12), st.integers(0), st.integers(0))
def test_bytes_are_allowed_or_not_however_they_are_cut(
    facts: Facts, noise: bytes, where: int, cut: int
) -> None:
    text = WRITER.answer("structured_answer", facts).encode()
    text = text[: where % len(text)] + noise
    cut %= len(text) + 1
    first = advance(START, text[:cut])
    assert (advance(first, text[cut:]) if first else None) == advance(START, text)


def test_deep_brackets_are_no_answer() -> None:
    """JSON nested past the interpreter's depth is text like any other."""
    deep = "[" * 100_000
    assert parse_structured_answer(deep) is None
    assert stated_claims(deep) == ()


def test_letters_that_look_alike_are_others() -> None:
    """``ſ`` and the Kelvin sign fold to s and k, and would pass for them."""
    assert stated_labels("This is read as \u017furprise.") == ()
    assert stated_aus("AU\uff11\uff12") == frozenset()


@pytest.mark.parametrize("code", ["LR12", "1_2", "\uff11\uff12", " 12", "A12"])
def test_an_au_code_is_digits_after_one_side(code: str) -> None:
    record = {"aus": [code], "evidence": [], "class": "others", "rationale": "So it is."}
    assert parse_structured_answer(json.dumps(record)) is None
    assert parse_structured_answer(json.dumps({**record, "aus": ["L12"]})) is not None
