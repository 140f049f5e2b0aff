"""Right and wrong answers about a clip whose truth is made up here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft_llm import facs
from deft_llm.evaluation.chat.judge import is_claim, judge
from deft_llm.evaluation.chat.known import REGIONS, Known
from deft_llm.evaluation.chat.polarity import polarity
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import parse_query

MOTION = {
    "left inner brow": (0.0, -1.0),
    "right inner brow": (0.0, -0.95),
    "left mouth corner": (0.3, -0.3),  # outwards and up
    "right upper lip": (0.0, 0.15),  # neither moved nor still
}
CLIP = Known(
    clip="made up",
    motion=tuple(MOTION.get(region, (0.0, 0.0)) for region in REGIONS),
    aus=("1", "L12"),
    emotion="surprise",
    times={"onset": 0.1, "apex": 0.2, "offset": 0.4},
    blink=False,
    head=2.0,
    fps=50.0,
    frames=40,
)
CALM = replace(CLIP, motion=((0.0, 0.0),) * len(REGIONS), aus=(), emotion=None, times={})


@pytest.mark.parametrize(
    ("query", "yes"),
    [
        ("moved?", True),
        ("moved? region=brow", True),
        ("moved? not region=brow", False),
        ("moved? region=cheek", False),
        ("moved? region=mouth_corner side=left", True),
        ("moved? region=mouth_corner side=right", False),
        ("moved? region=mouth_corner side=left,right", False),
        ("moved? region=upper_lip", None),
        ("moved? region=brow of=only", False),
        ("moved? region=inner_brow,mouth of=only", True),
        ("moved? region=inner_brow of=all", True),
        ("moved? region=brow of=all", False),
        ("moved? of=all", False),
        ("direction? region=inner_brow direction=up", True),
        ("direction? region=inner_brow direction=down", False),
        ("direction? region=mouth_corner direction=up", True),
        ("direction? region=mouth_corner direction=outward", True),
        ("direction? region=mouth_corner direction=inward", False),
        ("compare? region=brow than=mouth", True),
        ("compare? region=mouth than=brow", False),
        ("compare? region=nostril_wing than=chin", None),
        ("au? au=1", True),
        ("au? au=12 side=left", True),
        ("au? au=12 side=right", False),
        ("au? au=4,12", True),
        ("au? au=4", False),
        ("emotion? class=surprise", True),
        ("emotion? class=negative", False),
        ("blink?", False),
        ("head_motion?", True),
    ],
)
def test_yes_and_no(query: str, yes: bool | None) -> None:
    asked = parse_query(query)
    assert polarity(asked, CLIP) is yes
    if yes is None:
        assert judge(asked, Findings(asked, True), CLIP) is None
    else:
        assert judge(asked, Findings(asked, yes), CLIP)
        assert not judge(asked, Findings(asked, not yes), CLIP)


def test_a_yes_to_another_question_is_not_right() -> None:
    asked = parse_query("moved? region=brow side=left")
    for other in ("moved? region=mouth", "au? au=1", "moved? region=brow", "quality?"):
        assert not judge(asked, Findings(parse_query(other), True), CLIP)
    still = parse_query("moved? not region=brow side=left")
    assert judge(asked, Findings(still, False), CLIP)  # no, it did not stay still


def found(query: str, *facts: tuple[str, str, object]) -> Findings:
    told = tuple(Fact(about, what, value) for about, what, value in facts)  # type: ignore[arg-type]
    return Findings(parse_query(query), facts=told)


MOVED = (("left inner brow", "moved", True), ("right inner brow", "moved", True))


@pytest.mark.parametrize(
    ("query", "facts", "right"),
    [
        ("moved region=brow", MOVED, True),
        ("moved region=brow", MOVED[:1], False),
        ("moved region=cheek", (("left cheek", "moved", False),), True),
        ("moved region=cheek", (("left cheek", "moved", True),), False),
        ("direction region=inner_brow", (("left inner brow", "direction", "up"),), True),
        ("direction region=inner_brow", (("left inner brow", "direction", "down"),), False),
        ("direction region=inner_brow", (), False),
        ("magnitude region=brow", (("left inner brow", "px", 0.9),), True),
        ("magnitude region=brow", (("left inner brow", "px", 0.2),), False),
        ("compare rank=most", (("right inner brow", "px", 0.9),), True),
        ("compare rank=most", (("left mouth corner", "px", 0.4),), False),
        ("side_difference region=brow", (("movement", "stronger side", "neither"),), True),
        ("side_difference region=mouth", (("movement", "stronger side", "left"),), True),
        ("side_difference region=mouth", (("movement", "stronger side", "right"),), False),
        ("when moment=apex", (("apex", "time", 0.22),), True),
        ("when moment=apex", (("apex", "time", 0.4),), False),
        ("how_long", (("movement", "duration", 0.33),), True),
        ("how_long moment=onset,apex", (("onset to apex", "duration", 0.12),), True),
        ("how_long moment=onset,apex", (("movement", "duration", 0.12),), False),
        ("how_long of=clip", (("clip", "duration", 0.8),), True),
        ("au", (("1", "named", True), ("12", "named", True)), True),
        ("au", (("4", "named", True),), False),
        ("au region=brow", (("1", "named", True),), True),
        ("emotion", (("reading", "emotion", "surprise"),), True),
        ("emotion", (("reading", "emotion", "fear"),), False),
        ("count of=regions", (("regions", "number", 3),), True),
        ("count of=regions", (("regions", "number", 12),), False),
        ("count of=aus", (("aus", "number", 2),), True),
        ("count of=frames", (("frames", "number", 40),), True),
        ("head_motion", (("head", "px", 1.8),), True),
        ("quality of=rate", (("clip", "frames per second", 50.0),), True),
        ("order", (("movement", "order", "together"),), True),
        ("order", (("left inner brow", "time", 0.1),), False),
        ("summary", MOVED, True),
        ("summary", (("left cheek", "moved", True),), False),
    ],
)
def test_facts(query: str, facts: tuple[tuple[str, str, object], ...], right: bool) -> None:
    assert judge(parse_query(query), found(query, *facts), CLIP) is right


def test_where_nothing_moved_nothing_may_be_told() -> None:
    for query in ("moved", "direction region=brow", "magnitude region=mouth", "au", "emotion"):
        nothing = (("movement", "moved", False), ("reading", "emotion", "none"))
        assert judge(parse_query(query), found(query, *nothing), CALM)
    told = found("moved", *MOVED)
    assert not judge(told.query, told, CALM)


def test_small_talk_says_nothing_of_the_clip() -> None:
    declined, greeted = (Findings(parse_query(kind)) for kind in ("decline topic=lying", "greet"))
    assert judge(parse_query("decline"), declined, CLIP) and not is_claim(declined)
    assert not judge(parse_query("decline"), greeted, CLIP)
    claim = Findings(parse_query("emotion? class=fear"), True)
    assert is_claim(claim) and not judge(parse_query("unknown"), claim, CLIP)
    # What is not measured may be declined as well as not understood.
    assert judge(parse_query("unknown"), declined, CLIP)


def test_lids_are_unsure_while_the_eyes_blink() -> None:
    lid = next(name for name in facs.REGIONS if name.endswith("lid"))
    assert CLIP.state(lid) == "still" and replace(CLIP, blink=True).state(lid) == "unsure"
    assert Known.from_json(CLIP.to_json()) == CLIP
