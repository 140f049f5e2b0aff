"""Queries about the clip as a whole: counts, the quality of the recording, a summary."""

from __future__ import annotations

import numpy as np

from deft_llm.answers import NOTHING, structured_answer
from deft_llm.clip import Explanation
from deft_llm.deft.inference import reading_queries as reading
from deft_llm.deft.inference import time_queries as timing
from deft_llm.deft.inference.motion_queries import STILL
from deft_llm.deft.inference.sight import Sight, moved_fact, places
from deft_llm.motion.remarks import NO_MOTION
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import Bound, Query

_USABLE_PX = 1.0  # a noise floor up to which most micro-expressions stand out
_STEADY = 0.1  # relative change of the light that counts as one; our own choice


def count(query: Query, sight: Sight) -> Findings:
    """How many regions, AUs, movements, frames or blinks, or whether more than some."""
    fact = _counted(query, sight)
    if isinstance(fact, str):
        return Findings(query, untold=fact)
    if not query.polar:
        return Findings(query, facts=(fact,))
    yes = _within(int(fact.value or 0), query.bound or ("more", 0.0))
    return Findings(query, yes != query.negated, (fact,))


def _within(number: float, bound: Bound) -> bool:
    """Whether a number keeps to a limit."""
    kind, limit = bound
    return number > limit if kind == "more" else number < limit


def _counted(query: Query, sight: Sight) -> Fact | str:
    if query.of == "regions":
        rows = tuple(row for row in sight.rows if row.region in places(query))
        beyond = ""
        if query.bound and not query.polar:  # "how many moved more than half a pixel?"
            more, limit = query.bound[0] == "more", query.bound[1]
            rows = tuple(row for row in rows if (row.magnitude > limit) == more)
            beyond = f"{query.bound[0]} than {limit} px"
        return Fact("regions", "number", len(rows), beyond, rows, sight.rise)
    if query.of == "aus":
        reason = reading.unjudged(sight) if sight.rows else ""
        if reason:
            return reason
        named = reading.action_units(Query("au", regions=query.regions, sides=query.sides), sight)
        number = sum(fact.what == "named" for fact in named.facts)
        return Fact("aus", "number", number, evidence=sight.rows)
    if query.of == "frames":
        return Fact("frames", "number", len(sight.times))
    if query.of == "blinks":
        closings = sight.closings
        if closings is None:
            return "the motion was not followed over the clip, so blinks were not counted"
        blinked = [span for span in closings if span[0] == "eyes"]
        return Fact("blinks", "number", len(blinked), frames=tuple(span[1] for span in blinked))
    found = [sight.measurement.interval] if sight.rows else []
    apexes = tuple(sorted(i.apex for i in (*found, *sight.measurement.others)))
    return Fact("movements", "number", len(apexes), frames=apexes)


def quality(query: Query, sight: Sight) -> Findings:
    """What the recording is like, and whether it is good enough to measure."""
    measured = sight.measurement
    seen = int(np.count_nonzero(measured.aligned.present))
    count, floors = len(measured.aligned.present), measured.noise
    steps = np.diff(sight.times)
    rate = round(float(1.0 / np.median(steps)), 2) if steps.size else 0.0
    unplaced = sight.unseen(places(Query("moved")))
    facts = {
        "rate": Fact("clip", "frames per second", rate),
        "face": Fact("clip", "frames with a face", seen, f"of {count}"),
        "noise": Fact("clip", "noise floor", round(float(np.median(floors)), 3), "px"),
        "light": Fact("clip", "change of light", round(float(measured.light), 3)),
    }
    # That nothing moved says something of the face, and nothing of the recording.
    told = [remark for remark in measured.remarks if not remark.startswith(NO_MOTION)]
    remarks = tuple(Fact("clip", "remark", remark) for remark in told)
    if query.of == "people":
        return Findings(query, facts=(facts["face"], *remarks))
    if query.of in facts:
        fact = facts[query.of]
        if query.polar and query.bound:
            within = _within(float(fact.value or 0), query.bound)
            return Findings(query, within != query.negated, (fact,))
        good = {
            "rate": rate >= 25.0,  # frames per second; our choice
            "face": seen == count,
            "noise": float(np.median(floors)) <= _USABLE_PX,
            "light": measured.light < _STEADY,
        }[query.of]
        polarity = good != query.negated if query.polar else None
        return Findings(query, polarity, (fact, *remarks))
    fine = seen == count and not unplaced and measured.light < _STEADY
    fine = fine and not any("not measured" in remark for remark in told)
    polarity = fine != query.negated if query.polar else None
    return Findings(query, polarity, (*facts.values(), *remarks))


def summary(query: Query, sight: Sight) -> Findings:
    """What moved, when, and how it is read; ``of`` "labels" or "json" for those alone."""
    if query.of == "json":
        return Findings(query, facts=(Fact("explanation", "json", structured(sight.explanation)),))
    if not sight.rows:
        return Findings(query, facts=(STILL,))
    found = sight.explanation
    moved = tuple(moved_fact(row, sight.rise) for row in sight.rows)
    when = timing.when(Query("when"), sight).facts
    spans = timing.how_long(Query("how_long"), sight).facts
    # The whole of it, not its phases.
    lasted = tuple(fact for fact in spans if fact.about == "movement")
    reason = reading.unjudged(sight)
    if reason:
        return Findings(query, facts=(*moved, *when, *lasted), untold=reason)
    aus = tuple(reading.au_fact(code, sight) for code in found.aus)
    if query.of == "labels":
        return Findings(query, facts=(reading.reading_fact(sight), *aus))
    return Findings(query, facts=(reading.reading_fact(sight), *aus, *moved, *when, *lasted))


def structured(explanation: Explanation) -> str:
    """The structured answer (class, emotion, AUs, evidence, rationale) as JSON."""
    label, fine = explanation.emotion or NOTHING, explanation.fine_emotion or NOTHING
    return structured_answer(
        label, fine, tuple(explanation.aus), explanation.evidence, explanation.rationale
    )
