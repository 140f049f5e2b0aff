"""What the chat says of motion and AUs that are likely but not sure, and where nothing moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deft_llm.deft.inference.claims import check_sentences
from deft_llm.deft.inference.engine import execute
from deft_llm.deft.inference.replies import reply
from deft_llm.deft.inference.sight import Weighed
from deft_llm.deft.inference.time_queries import _together
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import parse_query

from .test_claims import table
from .test_engine import BACK, BROWS, FRAMES, clip, look, reading


def unsure(onset: RegionTable, region: str, px: float, z: float) -> RegionTable:
    """A table in which one region moved up by less than is sure."""
    i = REGION_NAMES.index(region)
    values = {name: getattr(onset, name).copy() for name in ("v", "magnitude", "z", "active")}
    values["v"][i], values["magnitude"][i], values["z"][i] = -px, px, z
    values["active"][i] = False
    return replace(onset, **values)


def test_what_likely_moved_is_told_as_likely_and_nothing_more() -> None:
    measurement = clip(unsure(BROWS, "left cheek", 0.4, 2.4), BACK)
    for line in ("moved? region=cheek", "direction? region=cheek direction=up"):
        found = look(line, measurement)
        assert found.polarity is True and not any(fact.evidence for fact in found.facts)
        answer = reply(found)
        assert answer.startswith("Probably. ") and "0.40 px, z 2.4" in answer
        assert not any(s.verdict == "unsupported" for s in check_sentences(answer, BROWS))
    assert look("moved? region=cheek side=right", measurement).polarity is False
    assert reply(look("moved? not region=cheek", measurement)).startswith("Probably not. ")
    assert "left cheek" in reply(look("moved", measurement))
    assert "0.40 px" in reply(look("magnitude region=cheek", measurement))
    weak = clip(unsure(BROWS, "left cheek", 0.4, 1.4), BACK)
    assert look("moved? region=cheek", weak).polarity is False


def test_a_little_motion_beside_a_large_one_is_hardly_any() -> None:
    beside = clip(table(left_inner_brow=(0.0, -1.5), glabella=(0.0, -0.17)))
    found = look("moved? region=glabella", beside)
    assert found.polarity is False
    assert reply(found).startswith("Hardly. The glabella moves up")
    assert "glabella" not in reply(look("moved", beside))
    alone = clip(table(glabella=(0.0, -0.17)))
    assert look("moved? region=glabella", alone).polarity is True


def lids(*down: float) -> Any:
    """A clip whose lids come down by so many px in its last frames."""
    measurement = clip(BROWS, BACK)
    for side in ("left", "right"):
        lid = REGION_NAMES.index(f"{side} upper lid")
        measurement.trajectory.regions[-len(down) :, lid, 1] = down
    return measurement


def test_a_blink_that_the_end_of_the_clip_cuts_off_is_one() -> None:
    cut = lids(1.0, 2.5, 3.0, 2.5)
    assert look("blink?", cut).polarity is True
    assert look("count of=blinks", cut).facts[0].value == 1
    slow = lids(*np.linspace(0.4, 3.0, 15).tolist())
    slow.aligned.timestamps = np.arange(FRAMES) / 25.0  # 0.6 s to come down: eyes that look down
    assert look("blink?", slow).polarity is False


def test_eyes_that_blink_have_moved() -> None:
    cut = lids(1.0, 2.5, 3.0, 2.5)
    for line in ("moved? region=eye", "moved? region=upper_lid side=left,right"):
        found = look(line, cut)
        assert found.polarity is True and "The eyes blink at" in reply(found)
    assert look("moved? region=lower_lid", cut).polarity is False


def test_the_first_and_the_last_of_many_may_differ_by_more_than_two() -> None:
    assert _together([(0.0, 0.02), (0.019, 0.02)]) and not _together([(0.0, 0.02), (0.03, 0.02)])
    many = [(0.001 * i, 0.02) for i in range(31)]
    assert _together(many)


WEIGHED = Weighed(
    classes={"negative": 0.6, "positive": 0.1, "surprise": 0.1, "others": 0.1, "none": 0.1},
    emotions={"disgust": 0.3, "fear": 0.28, "anger": 0.1, "happiness": 0.05},
    aus={12: (0.4, 0.05), 4: (0.9, 0.9), 15: (0.1, 0.1)},
)


def weigh(line: str, measurement: Any, weighed: Weighed | None = WEIGHED) -> Findings:
    explanation = reading(measurement, label="negative")
    return execute(parse_query(line), measurement, lambda: explanation, lambda: weighed)


def test_the_head_makes_an_au_likely_that_is_not_named() -> None:
    measurement = clip(BROWS, BACK)
    found = weigh("au? au=12", measurement)
    assert found.polarity is True
    assert reply(found).startswith("Possibly. AU12") and "gives it 0.40" in reply(found)
    assert weigh("au? au=12 side=right", measurement).polarity is False
    assert weigh("au? au=15", measurement).polarity is False
    assert weigh("au? au=12", measurement, None).polarity is False


def test_emotions_that_are_hardly_told_apart_are_possible() -> None:
    found = weigh("emotion? class=fear", clip(BROWS, BACK))
    assert found.polarity is True
    assert reply(found).startswith("Possibly. ") and "0.28 and 0.30" in reply(found)
    assert weigh("emotion? class=happiness", clip(BROWS, BACK)).polarity is False


def test_without_motion_nothing_is_named_whatever_the_heads_find() -> None:
    likely = unsure(unsure(table(), "left cheek", 0.25, 2.5), "right cheek", 0.25, 2.5)
    for still in (clip(table()), clip(likely)):
        for line in ("au? au=4", "emotion? class=negative", "moved? region=cheek", "moved?"):
            found = weigh(line, still)
            assert found.polarity is False
            told = reply(found)
            assert told.startswith("No") and ("No region moved" in told or "stay at rest" in told)
        assert reply(weigh("emotion", still)).startswith("No emotion is named.")
