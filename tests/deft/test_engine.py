"""Queries on clips that are known to the last number: facts, yes and no, and their wording."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, coarse_label
from deft_llm.clip import Explanation
from deft_llm.deft.inference import wording
from deft_llm.deft.inference.answer import Answer, markdown
from deft_llm.deft.inference.claims import check_sentences
from deft_llm.deft.inference.engine import execute
from deft_llm.deft.inference.replies import reply
from deft_llm.deft.inference.suggestions import suggestions
from deft_llm.deft.inference.tools import called, tool
from deft_llm.evaluation.robustness.agreement import contradictions
from deft_llm.motion.evidence import measured_evidence, moved_aus
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.motion.remarks import NO_MOTION
from deft_llm.queries import calls
from deft_llm.queries import query as grammar
from deft_llm.queries.findings import Findings
from deft_llm.queries.phrasing import ask
from deft_llm.queries.query import Query, parse_query
from deft_llm.queries.understand import understand

from .known_clips import BACK, BROWS, FRAMES, clip, given, look, reading
from .test_claims import table


@pytest.mark.parametrize(
    ("line", "yes"),
    [
        ("moved?", True),
        ("moved? region=brow", True),
        ("moved? region=cheek", False),
        ("moved? not region=cheek", True),
        ("moved? region=mouth side=left", True),
        ("moved? region=mouth side=right", False),
        ("moved? region=mouth side=left,right", False),
        ("moved? region=brow side=left,right", True),
        ("moved? region=inner_brow of=all", True),
        ("moved? region=brow of=all", False),
        ("moved? of=all", False),
        ("moved? region=mouth of=only", False),
        ("moved? region=inner_brow,mouth,chin of=only", True),
        ("moved? region=cheek of=only", False),
        ("moved? moment=offset", True),
        ("moved? region=mouth moment=offset", False),
        ("direction? region=brow direction=up", True),
        ("direction? region=brow direction=down", False),
        ("direction? not region=brow direction=down", True),
        ("direction? region=mouth_corner direction=outward", True),
        ("direction? region=mouth_corner direction=left", True),
        ("direction? region=mouth_corner direction=right", False),
        ("magnitude? region=brow more=1", True),
        ("magnitude? region=mouth_corner more=1", False),
        ("magnitude? region=chin less=0.4", True),
        ("magnitude? region=cheek less=0.4", False),
        ("side_difference? region=brow", False),
        ("side_difference? not region=brow", True),
        ("side_difference? region=mouth side=left", True),
        ("side_difference? region=mouth side=right", False),
        ("compare? region=brow than=mouth", True),
        ("compare? region=mouth than=brow", False),
        ("compare? not region=mouth than=brow", True),
        ("compare? not region=brow rank=most", False),
        ("compare? region=brow rank=most", True),
        ("compare? region=chin rank=most", False),
        ("count? of=regions more=3", True),
        ("count? of=regions more=4", False),
        ("count? of=blinks less=2", True),
        ("how_long? less=0.5", True),
        ("how_long? more=0.5", False),
        ("when? moment=apex less=0.2", True),
        ("when? moment=onset more=0.2", False),
        ("head_motion?", True),
        ("blink?", False),
        ("quality?", True),
        ("emotion? class=surprise", True),
        ("emotion? class=fear", False),
        ("emotion? not class=fear", True),
        ("emotion?", True),
        ("au? au=1", True),
        ("au? au=1 side=left", True),
        ("au? au=4", False),
        ("au? not au=4", True),
        ("probability? class=surprise than=sadness", True),
        ("probability? not class=surprise than=sadness", False),
    ],
)
def test_yes_and_no(line: str, yes: bool) -> None:
    measurement = clip(BROWS, BACK)
    found = look(line, measurement, reading(measurement, aus=("1",)))
    assert found.polarity is yes
    assert reply(found).startswith("Yes." if yes else "No.")


@pytest.mark.parametrize(
    ("line", "yes"),
    [
        ("how_long? more=0.5", False),
        ("how_long? not more=0.5", True),
        ("when? moment=apex less=0.2", False),
        ("when? not moment=apex less=0.2", True),
        ("order? region=brow than=mouth", False),
        ("order? not region=brow than=mouth", True),
        ("order? not", False),  # whether all moved together
    ],
)
def test_of_what_did_not_move_a_denial_is_true(line: str, yes: bool) -> None:
    assert look(line, clip(table())).polarity is yes


def test_of_a_smile_that_is_not_there_none_is_held_and_none_comes_back() -> None:
    held = clip(BROWS, table(), returned=0.1)
    brows = reading(held, aus=("1",))
    assert look("moved? not au=1 moment=offset", held, brows).polarity is True
    for line in ("moved? not au=12 moment=offset", "moved? au=12 moment=offset"):
        found = look(line, held, brows)
        assert found.polarity is False
        assert reply(found).startswith("No. AU12 lip corner puller is not named")
    found = look("moved? not class=sadness moment=offset", held, brows)
    assert found.polarity is False and "read as surprise" in reply(found)


def test_what_never_moved_is_not_still_moving_at_the_end() -> None:
    still, cheek = "moved? not moment=offset", "moved? not region=cheek moment=offset"
    for found in (look(still, clip(table())), look(cheek, clip(BROWS, BACK))):
        assert found.polarity is None and not reply(found).startswith(("Yes", "No."))


def test_something_goes_up_whatever_else_falls_further() -> None:
    mixed = clip(table(left_inner_brow=(0.0, 1.5), chin=(0.0, -0.6)))
    assert look("direction? direction=up", mixed).polarity is True
    assert look("direction? not direction=up", mixed).polarity is False
    assert look("direction? direction=down", mixed).polarity is True


def test_what_rests_moves_neither_together_nor_in_turn() -> None:
    moving = clip(BROWS, BACK)
    assert look("order? not region=cheek", moving).polarity is False
    assert look("order? region=cheek", moving).polarity is False
    assert "stay at rest" in reply(look("order? region=cheek", moving))


def test_the_head_may_go_further_from_the_onset_than_from_the_first_frame() -> None:
    told = reply(look("head_motion?", clip(BROWS, BACK, head_motion=2.5, head_shift=3.5)))
    assert "2.50 px over the clip; during the movement, by up to 3.50 px from the onset" in told


def test_a_denied_rank_is_the_opposite() -> None:
    late = clip(BROWS, BACK, late=("left mouth corner",))
    assert look("order? region=mouth rank=last", late).polarity is True
    assert look("order? not region=mouth rank=last", late).polarity is False


def test_numbers_and_times_are_the_measurements() -> None:
    measurement = clip(BROWS, BACK)
    rows = {fact.about: fact.value for fact in look("magnitude region=brow", measurement).facts}
    assert rows == {"left inner brow": 1.5, "right inner brow": 1.4}
    when = {fact.about: (fact.value, fact.frames) for fact in look("when", measurement).facts}
    assert when == {"onset": (0.05, (5,)), "apex": (0.15, (15,)), "offset": (0.3, (30,))}
    lasted = look("how_long", measurement).facts
    assert [fact.value for fact in lasted] == [0.25, 0.1, 0.15]
    assert look("how_long of=clip", measurement).facts[0].value == 0.4
    assert look("count of=frames", measurement).facts[0].value == FRAMES
    assert look("compare rank=most", measurement).facts[0].about == "left inner brow"
    assert look("quality of=rate", measurement).facts[0].value == 100.0


def test_labels_of_one_class_are_not_given_a_probability_of_their_own() -> None:
    measurement = clip(BROWS, BACK)
    found = look("emotion class=disgust,sadness", measurement, reading(measurement, "negative"))
    text = reply(found)
    assert "Disgust and sadness are of the same class as anger" in text
    assert text.count("probability 0.") == 1


def test_without_motion_nothing_is_said_to_fit_or_not() -> None:
    still = clip(table())
    for line in (
        "au? au=12",
        "why_not au=12",
        "side_difference au=12",
        "au",
        "emotion? class=fear",
    ):
        text = reply(look(line, still))
        assert "No region moved above the noise floor." in text and "fit" not in text, line


@pytest.mark.parametrize("line", ["side_difference region=chin", "side_difference? not"])
def test_what_lies_in_the_middle_has_no_sides_to_compare(line: str) -> None:
    found = look(line, clip(table(chin=(0.0, 0.5))))
    assert found.polarity is None
    assert reply(found).startswith("The chin lies in the middle of the face")
    beside = look("side_difference region=chin,mouth", clip(BROWS))
    assert beside.facts[0].value == "left" and not beside.untold


def test_what_rises_later_moves_after() -> None:
    late = clip(BROWS, BACK, late=("left mouth corner",))
    assert look("order? region=brow than=mouth", late).polarity is True
    assert look("order? region=mouth than=brow", late).polarity is False
    assert look("order? not", late).polarity is False
    assert look("order rank=first", late).facts[0].about != "left mouth corner"
    assert look("order rank=last", late).facts[0].about == "left mouth corner"
    together = clip(BROWS, BACK)
    assert look("order? region=brow than=mouth", together).polarity is False
    assert "together" in reply(look("order rank=first", together))
    unfollowed = clip(BROWS, BACK, trajectory=None)
    assert look("order rank=first", unfollowed).untold and look("blink?", unfollowed).untold


def test_lids_that_close_and_open_are_a_blink() -> None:
    measurement = clip(BROWS, BACK)
    both = [REGION_NAMES.index(f"{side} upper lid") for side in ("left", "right")]
    measurement.trajectory.regions[20:26, both, 1] = 3.0
    assert look("blink?", measurement).polarity is True
    assert look("blink? of=wink", measurement).polarity is False
    assert look("count of=blinks", measurement).facts[0].value == 1
    measurement.trajectory.regions[:, both[0], 1] = 0.0
    assert look("blink?", measurement).polarity is False
    assert look("blink? of=wink", measurement).polarity is True
    assert "right eye closes alone" in reply(look("blink? of=wink", measurement))


def test_a_region_that_cannot_be_placed_is_neither_moved_nor_still() -> None:
    unplaced = table()
    unplaced.placed[:] = False
    found = look("moved? region=mouth", clip(unplaced))
    assert found.polarity is None and "too uncertain" in reply(found)


def test_of_a_region_that_cannot_be_measured_nobody_says_that_it_rests() -> None:
    cheek = REGION_NAMES.index("left cheek")
    for seen in (
        replace(BROWS, placed=np.arange(len(REGION_NAMES)) != cheek),
        replace(BROWS, noise=np.where(np.arange(len(REGION_NAMES)) == cheek, 0.5, BROWS.noise)),
    ):
        told = reply(look("moved not", clip(seen, BACK)))
        assert told.startswith("Nothing can be told of the left cheek. "), told
        assert told.count("left cheek") == 1 and "stay at rest" in told
    everywhere = replace(BROWS, z=np.full_like(BROWS.z, 9.0), active=np.ones_like(BROWS.active))
    assert reply(look("moved not", clip(everywhere))) == "No region is known to stay at rest."


def test_of_a_held_movement_it_is_said_that_it_may_last_longer() -> None:
    held = clip(BROWS, table(), returned=0.1)
    for line in ("how_long", "how_long? more=0.5", "summary", "how_long moment=offset"):
        told = reply(look(line, held))
        assert told.endswith("The movement did not return before the clip ends."), line
        assert "did not return" not in reply(look(line, clip(BROWS, BACK))), line
    assert "did not return" not in reply(look("how_long moment=onset", held))
    # 0.25 s, and more.
    limits = {"more=0.5": None, "less=0.5": None, "more=0.2": True, "less=0.2": False}
    assert {line: look(f"how_long? {line}", held).polarity for line in limits} == limits


def test_the_model_is_asked_only_for_its_verdicts() -> None:
    def refuse() -> Explanation:
        raise AssertionError("the model was asked")

    measurement = clip(BROWS, BACK)
    for line in (
        "moved",
        "direction region=brow",
        "when",
        "how_long",
        "order",
        "blink?",
        "quality",
    ):
        execute(parse_query(line), measurement, refuse)
    with pytest.raises(AssertionError, match="asked"):
        execute(parse_query("emotion"), measurement, refuse)


# ------------------------------------------------------------------------ many clips and queries


def random_clip(seed: int) -> tuple[Any, Explanation]:
    """Some regions, or none, moving anywhere; any class, and any AUs that the motion allows."""
    rng = random.Random(seed)
    count = rng.choice((0, 1, 2, 4, 8, 15))
    names = rng.sample(list(REGION_NAMES), count)

    def motion() -> tuple[float, float]:
        return rng.gauss(0, 0.8), rng.gauss(0, 0.8)

    onset = table(**{name.replace(" ", "_"): motion() for name in names})
    offset = table(**{name.replace(" ", "_"): motion() for name in names[: count // 2]})
    measurement = clip(onset, offset, late=names[:1])
    evidence = measured_evidence(onset)
    if not evidence:
        return measurement, Explanation(None, {}, {}, (), remarks=(NO_MOTION,))
    if rng.random() < 0.1:
        reason = ("described, not judged: the head moved by 9.0 px meanwhile",)
        words = wording.description(evidence)
        return measurement, Explanation(None, {}, {}, evidence, rationale=words, remarks=reason)
    weights = [rng.random() for _ in COARSE_LABELS]
    shares = dict(zip(COARSE_LABELS, (w / sum(weights) for w in weights), strict=True))
    best = max(shares, key=shares.__getitem__)
    emotions = [e for e in facs.EMOTIONS if coarse_label(e) == best] or [NOTHING]
    allowed = sorted(moved_aus(onset))
    codes = rng.sample(allowed, min(rng.randint(0, 4), len(allowed)))
    aus = {facs.au_number(code): code for code in codes}.values()
    named = {code: rng.random() for code in facs.sort_aus(aus)}
    return measurement, wording.explained(evidence, shares, rng.choice(emotions), named)


@pytest.mark.parametrize("part", range(8))
def test_nothing_that_is_said_about_a_clip_contradicts_itself(part: int) -> None:
    """In a thousand clips; in parts, which several processes share."""
    for seed in range(125 * part, 125 * (part + 1)):
        assert contradictions(*random_clip(seed)) == [], seed


def random_query(rng: random.Random) -> Query:
    def some(known: tuple[str, ...], most: int = 2) -> tuple[str, ...]:
        return tuple(rng.sample(known, rng.choice((0, 0, 1, most))))

    return Query(
        rng.choice(grammar.KINDS),
        rng.random() < 0.5,
        rng.random() < 0.2,
        regions=some(grammar.PARTS, 3),
        sides=some(grammar.SIDES),
        directions=some(grammar.WAYS),
        aus=tuple(rng.sample(range(1, 70), rng.choice((0, 0, 1, 2)))),
        classes=some(grammar.CLASSES),
        moments=some(grammar.MOMENTS),
        than=some(grammar.PARTS) if rng.random() < 0.3 else (),
        of=rng.choice(("", "", *grammar.OBJECTS)),
        rank=rng.choice(("", "", *grammar.RANKS)),
        bound=rng.choice((None, ("more", 0.3), ("less", 2.0))),
        topic=rng.choice(("", *grammar.TOPICS)),
    )


def stated(found: Findings) -> set[str]:
    """Every number of some findings, as answers may print it."""
    values = [fact.value for fact in found.facts]
    rows = [row for fact in found.facts for row in fact.evidence]
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    numbers += [number for row in rows for number in (row.magnitude, row.z)]
    printed = {f"{n:.{digits}f}" for n in numbers for digits in (1, 2, 3)}
    written = json.dumps([found.untold, *(f"{f.value} {f.unit} {f.what}" for f in found.facts)])
    return printed | set(re.findall(r"\d+\.\d+", written))


def test_answers_hold_no_number_and_no_motion_beyond_what_was_found() -> None:
    """Over random queries, most of which nobody would ask: none may fail either."""
    rng = random.Random(0)
    for seed in range(300):
        measurement, explanation = random_clip(seed)
        for _ in range(6):
            query = random_query(rng)
            found = execute(query, measurement, given(explanation))
            text = reply(found, "what?")
            assert text, query
            assert found.polarity is None or query.polar, query
            assert set(re.findall(r"\d+\.\d+", text)) <= stated(found), (str(query), text)
            if query.kind in {"summary", "why", "why_not"} and query.of == "json":
                continue
            verdicts = {s.verdict for s in check_sentences(text, measurement.table_apex)}
            assert "unsupported" not in verdicts, (str(query), text)
            assert json.loads(json.dumps(Answer(text, found).record()))["query"] == str(found.query)
            assert 'value": true' in json.dumps(tool()) or called(text) is None


def test_suggested_questions_are_understood_and_answered() -> None:
    for seed in range(60):
        measurement, explanation = random_clip(seed)
        for question in suggestions(explanation):
            query = understand(question)
            assert query.kind not in grammar.TALK, question
            assert reply(execute(query, measurement, given(explanation)))


def test_a_chat_is_copied_with_its_evidence() -> None:
    measurement = clip(BROWS, BACK)
    found = look("moved? region=brow", measurement)
    text = markdown([("Did <b>they</b>\nmove?", Answer(reply(found), found))])
    assert "**Did <b>they</b> move?**" in text and "- query: `moved? region=brow`" in text
    assert "- left inner brow: up, 1.50 px, z 30.0, frames 5 to 15" in text
    # A class, its action units and its regions rest on the same motion.
    again = replace(found, facts=(replace(found.facts[0], frames=()), *found.facts * 2))
    assert markdown([("Why?", Answer("", again))]).count("- left inner brow: up") == 1


# ---------------------------------------------------------------------------------------- tools


def test_a_tool_call_is_a_query() -> None:
    call = {"kind": "direction", "polar": True, "regions": ["brow"], "directions": ["up"]}
    for text in (
        f'<tool_call>\n{{"name": "look_at_clip", "arguments": {json.dumps(call)}}}\n</tool_call>',
        f'<|python_tag|>{{"name": "look_at_clip", "parameters": {json.dumps(call)}}}',
        f"Sure! {json.dumps(call)}",
        json.dumps({"name": "look_at_clip", "arguments": json.dumps(call)}),
    ):
        query = called(text)
        assert query is not None and str(query) == "direction? region=brow direction=up"
    for nonsense in ("", "He lies.", "{", '{"kind": "dance"}', '{"arguments": 3}', "{}" * 5):
        assert called(nonsense) is None


def test_the_schema_names_the_whole_grammar() -> None:
    properties = tool()["function"]["parameters"]["properties"]
    assert set(properties["kind"]["enum"]) == set(grammar.KINDS)
    fields = set(Query.__dataclass_fields__)
    assert set(properties) == fields - {"bound"} | set(calls.LIMITS)


# -------------------------------------------------------------------------------- asking it back


@pytest.mark.parametrize(
    "line",
    [
        *("moved", "moved?", "moved? region=brow side=left", "moved? not region=mouth", "when"),
        *("direction region=chin", "direction? region=mouth_corner direction=up", "how_long"),
        *("magnitude region=cheek side=right", "side_difference", "when moment=apex", "au"),
        *("order? region=brow than=mouth", "order rank=first", "au? au=12", "emotion", "why"),
        *("emotion? class=fear", "probability class=fear", "why_not class=fear", "why au=4"),
        *("confidence", "count of=aus", "compare rank=most", "compare? region=mouth than=brow"),
        *("head_motion?", "head_motion", "blink?", "blink? of=wink", "quality?", "quality"),
        *("summary", "help", "count of=regions", "side_difference? side=left"),
    ],
)
def test_the_library_understands_its_own_questions(line: str) -> None:
    query = parse_query(line)
    assert understand(ask(query)) == query
