"""Findings in words. Every number and every yes or no is one of the findings'."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deft_llm import facs
from deft_llm.answers import PLURALS, au_name
from deft_llm.clip import Evidence
from deft_llm.deft.inference.reading_replies import aus, emotion, reading, why
from deft_llm.deft.inference.sentences import (
    blinks_told,
    capital,
    facts_of,
    likely_told,
    listed,
    motion,
    resting,
    rows_of,
    told,
)
from deft_llm.deft.inference.small_talk import talk
from deft_llm.media.canonical import INTEROCULAR
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import TALK

# Lids that come down a little, or not all the way, look like a shift of the gaze.
_NO_BLINK = "No blink is found; one that closes the eyes only in part may be missed."
_VERBS = {"onset": "starts", "apex": "peaks", "offset": "ends"}
_SPANS = {
    "movement": "It lasts {}",
    "clip": "The clip lasts {}",
    "onset to apex": "It takes {} to the apex",
    "apex to offset": "It takes {} back to rest",
    "plateau": "It stays within a tenth of its peak for {}",
}


def reply(found: Findings, question: str = "") -> str:
    """The answer to a question from what its query found.

    Args:
        found: From ``engine.execute``.
        question: As asked; for what is not understood.
    """
    if found.query.kind in TALK:
        noted = [f"{capital(str(fact.value))}." for fact in found.facts]
        return " ".join([*noted, talk(found.query, question)])
    yes = "" if found.polarity is None else _certainty(found)
    sentences = _WORDS.get(found.query.kind, told)(found)
    untold = f"{capital(found.untold)}." if found.untold else ""
    return (yes + " ".join(filter(None, (untold, *sentences)))).strip()


def _certainty(found: Findings) -> str:
    """Yes or no, as sure as what it rests on."""
    said = {fact.what for fact in found.facts}
    # Of a question for absence, "no" rests on what was found.
    found_it = found.polarity != found.query.negated
    proof = {"named"} if found.query.aus else {"moved", "named"}
    sure = any(fact.what in proof and fact.value for fact in found.facts)
    sure = sure or bool(said & {"blink", "direction"})
    regions = any(fact.what == "likely" and fact.unit for fact in found.facts)
    if found_it and not sure and regions:
        return "Probably. " if found.polarity else "Probably not. "
    # An AU that the head does not rule out, or an emotion that it hardly tells from the likeliest.
    if found_it and not sure and said & {"likely", "about as likely as"}:
        return "Possibly. " if found.polarity else "Not for certain. "
    if "faint" in said and not found.polarity:
        return "Hardly. "
    return "Yes. " if found.polarity else "No. "


def _moved(found: Findings) -> list[str]:
    if found.query.at:
        return _at_time(found)
    if found.query.of == "likely":
        return _nearly(found)
    if {"named", "emotion"} & {fact.what for fact in found.facts}:
        return _absent(found)
    for fact in found.facts:
        if fact.what == "returned":
            share = max(float(fact.value or 0.0), 0.0)
            return [f"By the offset {100 * min(share, 1.0):.0f} % of the motion has come back."]
    return told(found)


def _at_time(found: Findings) -> list[str]:
    if not found.facts:
        return []
    moment, phase, *away = found.facts
    at = f"At {moment.value:.3f} s (frame {moment.frames[0]}, {phase.value})"
    if not away:
        nothing = "nothing that was asked about" if found.query.regions else "no region"
        return [f"{at} {nothing} is away from rest."]
    said = []
    for fact in away:
        way = fact.unit.removeprefix("px ")
        said.append(f"the {fact.about} {fact.value:.2f} px {way}")
    return [f"{at}, away from rest: {listed(said)}."]


def _nearly(found: Findings) -> list[str]:
    if likely := likely_told(found.facts):
        return likely
    rest = [fact for fact in found.facts if fact.unit]
    said = [f"Nearest to it is the {fact.about} ({fact.unit})." for fact in rest]
    return ["No other region comes near the z of 3 from which it counts as moved.", *said]


def _magnitude(found: Findings) -> list[str]:
    if found.query.of in {"z", "noise"}:
        return _in_noise_floors(found.facts)
    scaled = [
        f"The eyes lie about {INTEROCULAR:.0f} px apart: the {fact.about} moves "
        f"{100 * float(fact.value or 0):.0f} % of that."
        for fact in found.facts
        if fact.what.startswith("share of the distance")
    ]
    return [*told(found), *scaled]


def _in_noise_floors(facts: Sequence[Fact]) -> list[str]:
    told: dict[str, dict[str, float]] = {}
    for fact in facts:
        told.setdefault(fact.about, {})[fact.what] = float(fact.value or 0.0)
    return [
        f"The {name}: {of['px']:.2f} px, noise floor {of['noise floor']:.2f} px, z {of['z']:.1f}."
        for name, of in told.items()
    ]


def _side(found: Findings) -> list[str]:
    side = next((fact for fact in found.facts if fact.what == "stronger side"), None)
    if side is None:
        return told(found)
    px = {fact.about: fact.value for fact in found.facts if fact.what == "px"}
    numbers = f"{px['left side']:.2f} px on the left, {px['right side']:.2f} px on the right"
    if side.value == "neither":
        return [f"Left and right move alike: {numbers} on average."]
    return [f"The subject's {side.value} side moves more: {numbers} on average."]


def _compare(found: Findings) -> list[str]:
    query, rows = found.query, rows_of(found.facts)
    if query.than or not rows:
        return told(found)
    most = {"least": "least", "second": "second most"}.get(query.rank, "most")
    what = found.facts[0].about
    return [f"What moves {most} is the {what}.", *motion(rows)]


def _when(found: Findings) -> list[str]:
    if found.query.of == "others":
        return _others(found)
    times = facts_of(found.facts, "time")
    said = [f"{_VERBS[f.about]} at {f.value:.3f} s (frame {f.frames[0]})" for f in times]
    if not said:
        return _absent(found)
    half = facts_of(found.facts, "half of the way")
    rises = [f"the {f.about} at {f.value:.3f} s" for f in half]
    return [f"It {listed(said)}.", *([f"Halfway to the apex: {listed(rises)}."] if rises else [])]


def _absent(found: Findings) -> list[str]:
    """Why there is no time to tell: what is asked about is not there."""
    said = {fact.what for fact in found.facts}
    words = aus if "named" in said else emotion if "emotion" in said else told
    return words(found)


def _others(found: Findings) -> list[str]:
    if not found.facts:
        return []
    said = [
        f"at {fact.value:.3f} s (frames {fact.frames[0]} to {fact.frames[-1]})"
        for fact in found.facts
        if fact.what == "time"
    ]
    if not said:
        return ["No other movement is found."]
    lead = "Another movement peaks" if len(said) == 1 else f"{len(said)} other movements peak"
    return [f"{lead} {listed(said)}.", "What moves is measured for the strongest one alone."]


def _how_long(found: Findings) -> list[str]:
    spans = facts_of(found.facts, "duration")
    speeds = facts_of(found.facts, "speed")
    if not spans:
        return _speeds(speeds) or _absent(found)
    first = _SPANS.get(spans[0].about, "It takes {}").format(f"{spans[0].value:.3f} s")
    if frames := spans[0].frames:
        count = frames[-1] - frames[0]
        first += f" ({count} frame{'s' * (count != 1)})"
    if len(spans) == 3:
        first += f": {spans[1].value:.3f} s to the apex and {spans[2].value:.3f} s after it"
    held = [f"{capital(str(fact.value))}." for fact in found.facts if fact.what == "remark"]
    return [*_speeds(speeds), f"{first}.", *held]


def _speeds(facts: Sequence[Fact]) -> list[str]:
    if not facts:
        return []
    said = [f"the {fact.about} {fact.value:.1f}" for fact in facts]
    return [f"Mean speed from onset to apex: {listed(said)} px per second."]


def _order(found: Findings) -> list[str]:
    timed = facts_of(found.facts, "time")
    together = any(fact.what == "order" for fact in found.facts)
    # Six are as many as one reads in a sentence; our choice.
    said = [f"the {fact.about} at {fact.value:.3f} s" for fact in timed[:6]]
    if not said:
        return resting(found.facts)
    lead = "They move together, as far as it can be told. " if together else ""
    if found.query.rank and not together and not found.query.polar:
        lead = f"{capital(found.query.rank)} is the {timed[0].about}. "
    return [f"{lead}Halfway to the apex: {', '.join(said)}."]


def _head(found: Findings) -> list[str]:
    head = [f"{fact.value:.2f} px" for fact in found.facts if fact.about == "head"]
    if not head:
        return []
    if found.query.of and len(head) > 2:
        across, along = head[-2:]
        return [f"Over the clip the head moves {across} to the sides and {along} up and down."]
    # Each from where it starts, so that either may be the larger one.
    from_onset = f"; during the movement, by up to {head[1]} from the onset" if head[1:] else ""
    removed = "" if found.query.polar else " All of it is removed from the face's motion."
    return [f"The head moves by up to {head[0]} over the clip{from_onset}.{removed}"]


def _blink(found: Findings) -> list[str]:
    times = facts_of(found.facts, "blink")
    if not times:
        return [_NO_BLINK if found.query.of != "wink" else "No wink is seen."]
    if found.query.of != "wink":
        return blinks_told(times)
    said = [f"at {f.value:.3f} s (frames {f.frames[0]} to {f.frames[-1]})" for f in times]
    return [f"The {times[0].about} closes alone {listed(said)}."]


def _count(found: Findings) -> list[str]:
    fact = found.facts[0] if found.facts else None
    if fact is None:
        return []
    names = {"aus": "action unit", "regions": "region", "movements": "movement"}
    name = names.get(fact.about, fact.about.removesuffix("s"))
    number = int(fact.value or 0)
    if fact.about == "blinks" and not number:
        return [_NO_BLINK]
    verb = {"regions": "moved", "aus": "named", "movements": "found"}.get(fact.about, "")
    said = f"{number} {name}{'s' * (number != 1)}"
    if not verb:
        return [f"{said}."]
    be = "" if verb == "moved" else "are " if number != 1 else "is "
    return [f"{said} {be}{verb}{f' {fact.unit}' * bool(fact.unit)}."]


def _quality(found: Findings) -> list[str]:
    said = []
    for fact in found.facts:
        if fact.what == "remark":
            said.append(f"{capital(str(fact.value))}.")
        elif fact.what == "frames with a face":
            said.append(f"The face is seen in {fact.value} frames {fact.unit}.")
        elif fact.what == "change of light":
            said.append(f"The light changes by {100 * float(fact.value or 0):.0f} %.")
        else:
            said.append(f"{capital(fact.what)}: {fact.value}{' px' * (fact.unit == 'px')}.")
    return said


def _summary(found: Findings) -> list[str]:
    facts = found.facts
    if found.query.of == "json":
        return [str(facts[0].value)]
    if found.query.of == "sentence" and (rows := rows_of(facts_of(facts, "moved"))):
        return [_sentence(found, rows)]
    reads = [reading(fact) for fact in facts_of(facts, "emotion")]
    units = [au_name(fact.about) for fact in facts_of(facts, "named")]
    moved = motion(rows_of(facts_of(facts, "moved")))
    said = [f"Action units: {', '.join(units)}."] if units else []
    return [*reads, *said, *moved, *resting(facts), *_when(found)[: bool(moved)], *_length(found)]


def _sentence(found: Findings, rows: Sequence[Evidence]) -> str:
    """The clip in one sentence: how it is read, what moved where to, and when."""
    ways: dict[str, list[Evidence]] = {}
    for row in rows:
        ways.setdefault(row.direction, []).append(row)
    moved = [
        f"the {listed(_places_of(group))} moved {way} by up to "
        f"{max(row.magnitude for row in group):.2f} px"
        for way, group in ways.items()
    ]
    reads = [reading(fact) for fact in facts_of(found.facts, "emotion")]
    read = f"{reads[0].removesuffix('.')}: " if reads else ""
    times = {fact.about: fact.value for fact in found.facts if fact.what == "time"}
    when = f", from {times['onset']:.3f} to {times['offset']:.3f} s" if times else ""
    return capital(f"{read}{listed(moved)}{when}.")


def _places_of(rows: Sequence[Evidence]) -> list[str]:
    """Names of regions, those of both sides as one: "brows"."""
    names = [row.region for row in rows]
    pairs = {n for n in names if facs.mirror_region(n) in names and facs.mirror_region(n) != n}
    parts = (n.partition(" ")[2] for n in names if n in pairs)
    both = [PLURALS.get(part, f"{part}s") for part in dict.fromkeys(parts)]
    return [*both, *(name for name in names if name not in pairs)]


def _length(found: Findings) -> list[str]:
    return _how_long(found) if any(fact.what == "duration" for fact in found.facts) else []


_WORDS: dict[str, Callable[[Findings], list[str]]] = {
    "moved": _moved,
    "magnitude": _magnitude,
    "side_difference": _side,
    "compare": _compare,
    "when": _when,
    "how_long": _how_long,
    "order": _order,
    "head_motion": _head,
    "blink": _blink,
    "count": _count,
    "quality": _quality,
    "au": aus,
    "emotion": emotion,
    "probability": lambda found: aus(found) if found.query.aus else emotion(found),
    "confidence": lambda found: (
        aus(found) if found.query.aus or found.query.of == "aus" else emotion(found)
    ),
    "why": why,
    "why_not": why,
    "summary": _summary,
}
