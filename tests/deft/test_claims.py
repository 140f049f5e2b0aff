"""Sentences held against a region table that is known to the last number."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.answers import Facts, stated_claims
from deft_llm.clip import Evidence
from deft_llm.deft.inference.claims import check_sentences, claim_chance, contradicting, supported
from deft_llm.motion.evidence import moved_aus
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.unimer.answer_writer import AnswerWriter, Templates


def table(**motion: tuple[float, float]) -> RegionTable:
    """Regions at rest but for the named ones (u, v in px); floor 0.05 px."""
    moved = np.zeros((len(REGION_NAMES), 2), np.float32)
    for name, flow in motion.items():
        moved[REGION_NAMES.index(name.replace("_", " "))] = flow
    length = np.hypot(*moved.T)
    noise = np.full_like(length, 0.05)
    z, one = length / noise, np.ones_like(length)
    return RegionTable(
        *(moved[:, 0], moved[:, 1], length, length, one, noise, z),
        *((z >= 3) & (length >= 0.02), one.astype(bool)),
    )


# The subject's left mouth corner is image right: up and outward there is (+u, -v).
SMILE = table(left_mouth_corner=(0.5, -0.5), right_mouth_corner=(-0.5, -0.5), chin=(0.0, 0.04))


@pytest.mark.parametrize(
    ("region", "direction", "right"),
    [
        ("left mouth corner", "up and outward", True),
        ("left mouth corner", "up", True),  # 45 degrees off, the limit
        ("left mouth corner", "up and inward", False),
        ("right mouth corner", "outward", True),
        ("left cheek", "up", False),  # did not move
        ("chin", "down", False),  # below its floor
        ("chin", "outward", False),  # no such direction on the midline
        ("forehead", "up", False),
    ],
)
def test_a_claim_needs_motion_that_goes_its_way(region: str, direction: str, right: bool) -> None:
    assert supported(SMILE, region, direction) is right


def test_the_aus_that_may_be_named_are_those_that_a_moved_region_speaks_for() -> None:
    allowed = moved_aus(SMILE)
    assert {"12", "L12", "R12"} <= allowed
    assert not {"2", "L2", "4", "1"} & allowed
    one_sided = moved_aus(table(left_mouth_corner=(0.5, -0.5)))
    assert {"12", "L12"} <= one_sided and "R12" not in one_sided
    assert moved_aus(table()) == frozenset()


def test_an_au_beside_its_antagonist_is_judged_with_it() -> None:
    """Under AU1 with AU4 the inner brows go up and inward, as neither alone moves them."""
    brows = table(left_inner_brow=(-0.5, -0.5), right_inner_brow=(0.5, -0.5))
    assert {"1", "4"} <= moved_aus(brows)


def test_motion_below_the_least_that_counts_supports_nothing() -> None:
    assert not supported(table(left_cheek=(0.0, -0.14)), "left cheek", "up")  # z 2.8
    assert supported(table(left_cheek=(0.0, -0.16)), "left cheek", "up")


def test_the_chance_of_a_claim_is_what_draws_of_its_noise_give() -> None:
    rng = np.random.default_rng(0)
    for u, v in ((0.0, 0.0), (0.03, -0.06), (-0.05, -0.1), (0.08, 0.08)):
        drawn = rng.normal((u, v), 0.05, (200_000, 2))
        # Within 45 degrees of up: more up than sideways.
        up = float((-drawn[:, 1] >= np.abs(drawn[:, 0])).mean())
        moved = float((np.hypot(*rng.normal(0, 0.05, (200_000, 2)).T) < np.hypot(u, v)).mean())
        chance = claim_chance(table(left_cheek=(u, v)), "left cheek", "up")
        assert chance == pytest.approx(up * moved, abs=0.005)
    assert claim_chance(SMILE, "chin", "outward") == 0.0
    assert claim_chance(SMILE, "forehead", "up") == 0.0


def test_every_sentence_is_judged_by_itself() -> None:
    text = (
        "I see AU12 here. Both mouth corners move up and outward, slight. The left cheek moves "
        "down!\nThe left mouth corner moves down, moderate. This reads as happiness"
    )
    checked = check_sentences(text, SMILE)
    assert [s.verdict for s in checked] == [
        *("no claim", "supported", "unsupported", "unsupported", "no claim")
    ]
    assert all(s.text == text[s.start : s.end] for s in checked)
    assert [len(s.claims) for s in checked] == [0, 2, 1, 1, 0]
    both, cheek, corner = checked[1].claims[0], checked[2].claims[0], checked[3].claims[0]
    assert both.evidence is not None and "12" in both.evidence.aus
    assert both.evidence.direction == "up and outward"
    assert cheek.evidence is None
    assert corner.evidence is not None and corner.evidence.direction == "up and outward"


def facts() -> Facts:
    def row(region: str, direction: str, *aus: str) -> Evidence:
        return Evidence(region, direction, 0.7, 9.0, aus)

    return Facts(
        "happiness",
        ("1", "12"),
        (
            row("left inner brow", "up", "1"),
            row("left mouth corner", "up and outward", "12"),
            row("right mouth corner", "up and outward", "12"),
        ),
    )


@pytest.mark.parametrize("kind", ["motion", "why", "structured_answer"])
def test_sentences_hold_every_claim_of_the_answer(kind: str) -> None:
    text = AnswerWriter(Templates()).turn(kind, facts(), random.Random(0))[1]
    checked = check_sentences(text, SMILE)
    claims = [(c.region, c.direction) for s in checked for c in s.claims]
    assert set(claims) == set(stated_claims(text))
    assert len(claims) >= 3
    ends = [0, *(s.end for s in checked)]
    assert all(a <= s.start for a, s in zip(ends, checked, strict=False))
    between = text[: checked[0].start] + "".join(
        text[a.end : b.start] for a, b in pairwise(checked)
    )
    assert not any(char.isalnum() for char in between.replace("rationale", ""))
    wrong = [s.text for s in checked if s.verdict == "unsupported"]
    assert wrong and all("inner brow" in s for s in wrong)


@pytest.mark.parametrize("kind", ["motion", "why", "structured_answer"])
def test_only_the_last_sentence_of_a_growing_answer_changes(kind: str) -> None:
    text = AnswerWriter(Templates()).turn(kind, facts(), random.Random(0))[1]
    whole = [(s.start, s.end, s.verdict) for s in check_sentences(text, SMILE)]
    for length in range(len(text)):
        part = [(s.start, s.end, s.verdict) for s in check_sentences(text[:length], SMILE)][:-1]
        assert part == whole[: len(part)]


@pytest.mark.parametrize(
    ("text", "label", "bad"),
    [
        ("Both mouth corners move up: AU12. Together this is read as happiness.", "positive", ()),
        ("Together this is read as Disgust.", "positive", ("disgust",)),
        ("Together this is read as disgust.", "negative", ()),
        ("Together this fits none of the basic emotions.", "others", ()),
        ("Together this fits none of the basic emotions.", "surprise", ("others",)),
        ("so the emotion is fear and the class is positive.", "positive", ("fear",)),
        ("surprise", "none", ("surprise",)),
        ("The chin moves up.", "negative", ()),
    ],
)
def test_a_conclusion_on_another_class_is_found(
    text: str, label: str, bad: tuple[str, ...]
) -> None:
    assert contradicting(text, label) == bad


def test_a_broken_structured_answer_is_still_judged() -> None:
    text = '{"class": "positive", "aus": ["12"], "evidence": [{"region": "left cheek", '
    cut = text + '"direction": "down", "strength": "slight"}, {"region": "chin", "dire'
    assert [s.verdict for s in check_sentences(cut, SMILE)] == [
        *("no claim", "unsupported", "no claim")
    ]
    assert check_sentences("", SMILE) == ()


def test_directions_are_those_of_the_side() -> None:
    for side, region in (("left", "left cheek"), ("middle", "chin")):
        named = facs.directions(facs.REGIONS[region].side)
        assert len(set(named)) == 8
        for name in named:
            facs.direction_vector(name, facs.REGIONS[region].side)
        assert ("outward" in named) is (side != "middle")


def test_a_row_of_lists_states_nothing() -> None:
    row = '{"region": ["chin"], "direction": ["up"]}'
    assert [sentence.claims for sentence in check_sentences(row, SMILE)] == [()]
