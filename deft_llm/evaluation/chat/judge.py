"""Is what an answer says right? Its facts and its yes or no, against the truth about the clip."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from deft_llm import facs
from deft_llm.answers import NOTHING
from deft_llm.evaluation.chat.known import MOVED_PX, REGIONS, Known
from deft_llm.evaluation.chat.polarity import EQUAL, LARGER, largest, polarity, scope
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import TALK, Query

# Of what is listed, the share that must be right, and of what is to be listed, the share that must
# be there: a list of regions or AUs is right with one in four amiss.
_LISTED = 0.75
_ANGLE = np.cos(np.radians(67.5))  # one octant beside the right one
_PX, _PX_SHARE = 0.25, 0.35  # error of a distance: px, or its share if that is more
_SECONDS = {"onset": 0.12, "apex": 0.1, "offset": 0.2}  # s by which a moment may be off
_DURATION, _DURATION_SHARE = 0.1, 0.4  # of a duration: s, or its share if that is more
_OF_CLIP = 0.06  # share
# Kinds of answers that a question of a kind may get.
_SAME: dict[str, Collection[str]] = {
    "unknown": ("unknown", "decline", "help"),
    "summary": ("summary", "moved", "why"),
    "moved": ("moved", "summary", "why"),
    "probability": ("probability", "emotion", "confidence"),
    "confidence": ("confidence", "probability"),
    "emotion": ("emotion", "summary", "probability"),
}
# The same for yes and no: a smile is an AU, and corners of the mouth that go up.
_SAME_MATTER: dict[str, Collection[str]] = {
    "moved": ("moved", "direction"),
    "direction": ("direction", "moved", "au"),
    "au": ("au", "direction", "moved"),
    "emotion": ("emotion", "probability"),
    "blink": ("blink", "count"),
}


def is_claim(found: Findings) -> bool:
    """Whether an answer says anything about the clip."""
    return found.query.kind not in TALK or bool(found.facts) or found.polarity is not None


def judge(asked: Query, found: Findings, known: Known) -> bool | None:
    """Whether an answer is right.

    Args:
        asked: What was asked.
        found: What was answered.
        known: The truth about the clip.

    Returns:
        None if the truth does not decide it, whatever is answered.
    """
    if asked.kind in TALK:
        return _talk(asked, found)
    if asked.kind == "order":
        return _order(asked, found, known)
    if asked.polar:
        return _polar(asked, found, known)
    if asked.kind in _OPEN:
        return _OPEN[asked.kind](asked, found, known)
    return _kind(asked, found) and _precise(found, known)


def _polar(asked: Query, found: Findings, known: Known) -> bool | None:
    right = polarity(replace(asked, negated=False), known)
    if right is None:
        return None
    answer = found.polarity
    if answer is None and found.query.kind == "moved":  # what moved, without a yes or no
        answer = bool(_regions(found) & set(scope(asked.regions, asked.sides)))
    elif answer is not None and found.query.negated:
        # Turned back, as the statement is judged without its "not".
        answer = not answer
    return answer == right and _same_matter(asked, found.query)


def _same_matter(asked: Query, heard: Query) -> bool:
    """Whether a yes or no is about what was asked, and not right by luck."""
    if heard.kind not in _SAME_MATTER.get(asked.kind, (asked.kind,)):
        return False
    if heard.aus and asked.aus:
        return bool(set(heard.aus) & set(asked.aus))
    if {asked.kind, heard.kind} <= {"moved", "direction"}:
        return scope(asked.regions, asked.sides) == scope(heard.regions, heard.sides)
    return not asked.classes or set(asked.classes) == set(heard.classes)


def _talk(asked: Query, found: Findings) -> bool:
    right_topic = asked.topic != "language" or found.query.topic == asked.topic
    return not is_claim(found) and _kind(asked, found) and right_topic


def _kind(asked: Query, found: Findings) -> bool:
    return found.query.kind in _SAME.get(asked.kind, (asked.kind,))


def _told(found: Findings, what: str) -> dict[str, float | int | str | bool]:
    """What the facts say of one property: what they are about -> its value."""
    return {f.about: f.value for f in found.facts if f.what == what and f.value is not None}


def _regions(found: Findings) -> set[str]:
    """Regions that an answer says moved."""
    return {f.about for f in found.facts if f.about in REGIONS and f.value not in (None, False)}


def _precise(found: Findings, known: Known) -> bool:
    told = _regions(found)
    return sum(known.state(r) == "still" for r in told) <= (1 - _LISTED) * len(told)


def _moved(asked: Query, found: Findings, known: Known) -> bool | None:
    regions = scope(asked.regions, asked.sides)
    must = {r for r in regions if known.state(r) == "moved"}
    if not must and any(known.state(r) == "unsure" for r in regions):
        return None
    told = _regions(found)
    if not must:
        return not told & set(regions) and _kind(asked, found)
    return len(told & must) >= _LISTED * len(must) and _precise(found, known)


def _direction(asked: Query, found: Findings, known: Known) -> bool | None:
    regions = scope(asked.regions, asked.sides)
    must = [r for r in regions if known.state(r) == "moved"]
    told = {r: w for r, w in _told(found, "direction").items() if r in regions}
    if not must:
        unsure = any(known.state(r) == "unsure" for r in regions)
        return None if unsure else not told and _kind(asked, found)
    clear = [r for r in must if r in told]
    return bool(clear) and all(_that_way(r, str(told[r]), known) for r in clear)


def _that_way(region: str, name: str, known: Known) -> bool:
    motion = np.array(known.motion[REGIONS.index(region)])
    way = facs.direction_vector(name, facs.REGIONS[region].side)
    return bool(motion @ way >= _ANGLE * np.linalg.norm(motion))


def _magnitude(asked: Query, found: Findings, known: Known) -> bool | None:
    regions = scope(asked.regions, asked.sides)
    if not any(known.state(r) == "moved" for r in regions):
        unsure = any(known.state(r) == "unsure" for r in regions)
        return None if unsure else not _regions(found) & set(regions) and _kind(asked, found)
    told = {r: float(px) for r, px in _told(found, "px").items() if r in regions}
    if not told:
        return False
    most = max(told, key=told.__getitem__)
    return _near(told[most], largest(regions, known), _PX, _PX_SHARE)


def _near(told: float, right: float, error: float, share: float) -> bool:
    return abs(told - right) <= max(error, share * right)


def _compare(asked: Query, found: Findings, known: Known) -> bool | None:
    if asked.than:
        return _winner(asked, found, known)
    regions = scope(asked.regions, asked.sides)
    most = largest(regions, known)
    if most < MOVED_PX:
        return None
    told = [f.about for f in found.facts if f.about in regions]
    # Regions that moved about as far as the one that moved most are as right.
    return bool(told) and known.px(told[0]) >= most / LARGER


def _winner(asked: Query, found: Findings, known: Known) -> bool | None:
    more = polarity(asked, known)
    if more is None:
        return None
    told = {r: float(px) for r, px in _told(found, "px").items() if r in REGIONS}
    winners = scope(asked.regions, asked.sides) if more else scope(asked.than)
    return bool(told) and max(told, key=told.__getitem__) in winners


def _side(asked: Query, found: Findings, known: Known) -> bool | None:
    left, right = (largest(scope(asked.regions, (side,)), known) for side in ("left", "right"))
    most, least = max(left, right), max(min(left, right), 1e-9)
    # In between, nobody could say.
    if most < MOVED_PX or EQUAL < most / least < LARGER:
        return None
    even = most / least <= EQUAL
    wanted = "neither" if even else "left" if left > right else "right"
    return _told(found, "stronger side").get("movement") == wanted


def _when(asked: Query, found: Findings, known: Known) -> bool | None:
    if not known.times:
        return None
    told = _told(found, "time")
    return all(
        name in told and abs(float(told[name]) - known.times[name]) <= _SECONDS[name]
        for name in asked.moments
    )


def _how_long(asked: Query, found: Findings, known: Known) -> bool | None:
    told = {about: float(x) for about, x in _told(found, "duration").items()}
    if asked.of == "clip":
        return "clip" in told and _near(told["clip"], known.seconds(), 0.0, _OF_CLIP)
    if not known.times:
        return None
    first, last = (asked.moments[0], asked.moments[-1]) if asked.moments else ("onset", "offset")
    about = f"{first} to {last}" if asked.moments else "movement"
    right = known.times[last] - known.times[first]
    return about in told and _near(told[about], right, _DURATION, _DURATION_SHARE)


def _order(asked: Query, found: Findings, known: Known) -> bool | None:
    """All regions of an expression move at once: none may be said to come first."""
    regions = scope((*asked.regions, *asked.than))
    moved = [r for r in regions if known.state(r) == "moved"]
    if asked.than and len(moved) < len(regions):
        return None
    if not moved:
        return _kind(asked, found) and not _regions(found)
    together = _told(found, "order").get("movement") == "together"
    return _kind(asked, found) and (together or found.polarity is False)


def _au(asked: Query, found: Findings, known: Known) -> bool | None:
    parts = set(scope(asked.regions, asked.sides))
    right = {facs.au_number(c) for c in known.aus if parts & set(facs.expected_directions(c))}
    told = {facs.au_number(code) for code, named in _told(found, "named").items() if named}
    if not right:
        return not told and _kind(asked, found)
    both = len(told & right)
    return both >= _LISTED * len(right) and both >= _LISTED * len(told)


def _emotion(asked: Query, found: Findings, known: Known) -> bool | None:
    if known.emotion == "others":
        return None
    named = str(_told(found, "emotion").get("reading", ""))
    told = facs.to_three(named) if named in facs.LABELS else named
    # Within a class, emotions share their AUs: told apart are the classes.
    return _kind(asked, found) and told == (facs.to_three(known.emotion) or NOTHING)


def _count(asked: Query, found: Findings, known: Known) -> bool | None:
    told = _told(found, "number").get(asked.of)
    if told is None:
        return False
    if asked.of == "regions":
        states = [known.state(region) for region in REGIONS]
        sure, unsure = states.count("moved"), states.count("unsure")
        # Two regions more or fewer are forgiven; our choice.
        return sure - 2 <= float(told) <= sure + unsure + 2
    right = known.frames if asked.of == "frames" else len({facs.au_number(c) for c in known.aus})
    return abs(float(told) - right) <= 1


def _head(asked: Query, found: Findings, known: Known) -> bool | None:
    told = _told(found, "px").get("head")
    return told is not None and _near(float(told), known.head, 0.5, _PX_SHARE)


def _quality(asked: Query, found: Findings, known: Known) -> bool | None:
    if asked.of != "rate":
        return _kind(asked, found)
    told = _told(found, "frames per second").get("clip")
    return told is not None and _near(float(told), known.fps, 0.0, _OF_CLIP)


_OPEN: dict[str, Callable[[Query, Findings, Known], bool | None]] = {
    "moved": _moved,
    "direction": _direction,
    "magnitude": _magnitude,
    "compare": _compare,
    "side_difference": _side,
    "when": _when,
    "how_long": _how_long,
    "au": _au,
    "emotion": _emotion,
    "count": _count,
    "head_motion": _head,
    "quality": _quality,
}
