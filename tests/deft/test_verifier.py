"""Each reward on answers whose worth is known, and what would get one without being right."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Evidence
from deft_llm.data.features import REGION_COLUMNS, region_table_of
from deft_llm.deft.inference.said import Said, Seen
from deft_llm.deft.inference.verifier import (
    LENGTH,
    REWARDS,
    WEIGHTS,
    Bounded,
    Verifier,
    agreement,
    asked,
    best_of,
    borne_out,
    founded,
    parses,
    spoken_for,
    strengths,
    told,
    varied,
)
from deft_llm.motion.evidence import measured_evidence
from deft_llm.queries.query import Query

from .test_claims import SMILE, table

STILL = Seen(table())
SEEN = Seen(SMILE)
CORNERS = {"left mouth corner": "up and outward", "right mouth corner": "up and outward"}


def written(
    moved: dict[str, str] = CORNERS,
    aus: tuple[str, ...] = ("12",),
    label: str = "positive",
    strength: str = "moderate",
    rationale: str | None = None,
) -> Said:
    """A structured answer."""
    said = " ".join(f"The {region} moves {way}." for region, way in moved.items())
    named = " ".join(f"AU{code.lstrip('LR')}." for code in aus)
    emotion = {"positive": "happiness", "negative": "disgust"}.get(label, label)
    rows = [{"region": r, "direction": d, "strength": strength} for r, d in moved.items()]
    concluded = f"{said} {named} Together this is read as {emotion}."
    record: dict[str, Any] = {
        **{"class": label, "emotion": emotion, "aus": list(aus), "evidence": rows},
        "rationale": concluded if rationale is None else rationale,
    }
    return Said(json.dumps(record))


RIGHT = written()
WRONG = {"left mouth corner": "down", "right mouth corner": "up and outward"}
SILENT = written({}, (), "none", rationale="Nothing moves.")


@pytest.mark.parametrize("name", REWARDS)
def test_a_right_answer_gets_all_of_every_reward(name: str) -> None:
    assert REWARDS[name](RIGHT, SEEN) == 1.0
    assert REWARDS[name](SILENT, STILL) == 1.0


def test_precision_counts_motion_that_was_not_measured() -> None:
    assert borne_out(written(WRONG), SEEN) == pytest.approx(0.5)
    assert borne_out(RIGHT, STILL) == 0.0
    assert borne_out(SILENT, SEEN) == 1.0  # silence: what recall is for


def test_doubtful_motion_counts_by_its_chance() -> None:
    said = written({"left cheek": "up"})
    chances = [borne_out(said, Seen(table(left_cheek=(0.0, -v)))) for v in (0.02, 0.08, 0.14, 0.3)]
    assert chances == sorted(chances)
    assert chances[0] < 0.1 and 0.4 < chances[1] < 0.7 and 0.9 < chances[2] < 1.0
    # Told from z 1.6 on, although a verdict needs 3.
    doubtful = Seen(table(left_cheek=(0.0, -0.1)))
    assert not doubtful.explained and list(doubtful.likely) == ["left cheek"]
    assert told(SILENT, doubtful) == 0.0 and told(said, doubtful) == 1.0
    assert told(SILENT, Seen(table(left_cheek=(0.0, -0.05)))) == 1.0


def test_recall_counts_moved_regions_that_an_au_explains() -> None:
    assert told(SILENT, SEEN) == 0.0
    assert told(written({"left mouth corner": "up and outward"}), SEEN) == pytest.approx(0.5)
    assert told(written(WRONG), SEEN) == pytest.approx(0.5)
    # A region that moves as no AU moves it need not be told.
    unexplained = table(left_mouth_corner=(0.5, -0.5), left_nostril_wing=(0.0, 0.6))
    assert told(written({"left mouth corner": "up and outward"}), Seen(unexplained)) == 1.0


def test_an_au_needs_motion_that_speaks_for_it() -> None:
    assert spoken_for(written(aus=("12", "4")), SEEN) == 0.5
    assert spoken_for(Said("AU12 is active.", kind="aus"), SEEN) == 1.0
    assert spoken_for(Said("AU12 is active.", kind="aus"), STILL) == 0.0


def test_an_emotion_needs_motion_and_an_au_that_moved() -> None:
    assert founded(RIGHT, STILL) == 0.0
    assert founded(written(aus=()), SEEN) == 0.0
    assert founded(written(aus=("4",)), SEEN) == 0.0
    assert founded(Said("positive", kind="class"), SEEN) == 1.0
    assert founded(Said("positive", kind="class"), STILL) == 0.0
    assert founded(Said("none", kind="class"), STILL) == 1.0


def test_calling_everything_slight_costs() -> None:
    assert strengths(written(strength="slight"), SEEN) == 0.0
    assert strengths(written(strength="moderate"), SEEN) == 1.0


def test_form_is_that_which_was_asked_for() -> None:
    assert parses(Said("{"), SEEN) == 0.0
    assert parses(Said(RIGHT.text, ended=False), SEEN) == 0.0
    assert parses(Said("none", kind="class"), SEEN) == 1.0
    assert parses(Said("happy, I think", kind="class"), SEEN) == 0.0
    assert parses(Said("disgust", kind="emotion"), SEEN) == 1.0
    assert parses(Said(" ", kind="why"), SEEN) == 0.0


@pytest.mark.parametrize(
    "contradiction",
    [
        written(rationale="AU12. Together this is read as disgust."),
        written(rationale="AU4. Together this is read as happiness."),
        written({"chin": "up"}),  # no reason for AU12
        written(label="surprise"),  # which no coding gives to AU12
    ],
)
def test_class_aus_and_reasons_have_to_agree(contradiction: Said) -> None:
    assert agreement(contradiction, SEEN) < 1.0
    assert agreement(Said("no JSON"), SEEN) == 0.0
    assert agreement(Said("no JSON", kind="why"), SEEN) == 1.0


def test_a_call_has_to_ask_what_was_asked() -> None:
    query = Query("moved", regions=("chin",))
    call = json.dumps({"name": "look_at_clip", "arguments": {"kind": "moved", "regions": ["chin"]}})
    assert asked(Said(call, kind="query", query=query), SEEN) == 1.0
    assert asked(Said(call, kind="query", query=Query("moved")), SEEN) == 0.75
    assert asked(Said(call, kind="query", query=Query("blink")), SEEN) == 0.5
    assert asked(Said("The chin moved.", kind="query", query=query), SEEN) == 0.0


def test_repetitions_and_two_directions_of_one_region_cost() -> None:
    assert varied(written(rationale="The chin moves up. " * 8), SEEN) == 0.0
    both = Said("The chin moves up. The chin moves down.", kind="motion")
    assert varied(both, SEEN) == 0.0
    assert varied(Said("Nothing.", kind="motion"), SEEN) == 1.0


def test_length_is_bounded() -> None:
    rewards = [Bounded(100)(Said("", tokens), SEEN) for tokens in (50, 100, 150, 200, 400)]
    assert rewards == [1.0, 1.0, 0.5, 0.0, 0.0]


SPAM = {
    **{row.region: row.direction for row in measured_evidence(SMILE)},
    **dict.fromkeys(("left inner brow", "right inner brow", "left cheek", "right cheek"), "up"),
}


@pytest.mark.parametrize("worse", [SILENT, written(SPAM), written(WRONG), written(aus=("12", "4"))])
def test_neither_silence_nor_spam_pays(worse: Said) -> None:
    verifier = Verifier()
    assert verifier(worse, SEEN) < verifier(RIGHT, SEEN)
    assert verifier(RIGHT, STILL) < verifier(SILENT, STILL)


def test_a_part_without_weight_is_measured_and_not_counted() -> None:
    verifier = Verifier({**dict.fromkeys(WEIGHTS, 0.0), "recall": 1.0})
    parts = verifier.parts(written(WRONG), SEEN)
    assert parts.keys() == {*REWARDS, LENGTH} == WEIGHTS.keys()
    assert verifier.total(parts) == parts["recall"] == 0.5


def test_a_table_is_read_from_features_as_it_was_measured() -> None:
    columns = [np.asarray(getattr(SMILE, name), np.float32) for name in REGION_COLUMNS]
    read = region_table_of(np.stack(columns, axis=1).astype(np.float16))

    def facts(rows: tuple[Evidence, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(row.region, row.direction, row.aus) for row in rows]

    assert facts(measured_evidence(read)) == facts(measured_evidence(SMILE))
    np.testing.assert_array_equal(read.active, SMILE.active)


def test_of_several_answers_the_one_that_was_measured_is_taken() -> None:
    texts = [written(WRONG).text, SILENT.text, RIGHT.text, RIGHT.text, "{"]
    best, rewards = best_of(texts, SEEN)
    assert best == 2  # the first of equals
    assert len(rewards) == len(texts)
    assert max(rewards) == rewards[2] == 1.0
