"""Yes or no: the right answer to a question about a clip whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from deft_llm import facs
from deft_llm.answers import NOTHING
from deft_llm.evaluation.chat.known import MOVED_PX, REGIONS, Known
from deft_llm.queries.query import Query

#: One motion is larger than another when it is so by this factor, and equal below the second.
LARGER, EQUAL = 1.4, 1.12
#: Head motion in px that anybody sees, and that nobody does.
_HEAD_MOVED, _HEAD_STILL = 1.5, 0.5
# Cosine of the angle to a direction within which a motion goes that way, and beyond which not.
_THERE, _ELSEWHERE = 0.64, 0.17  # of 50 and 80 degrees
# (right, down) in the image; left is the subject's.
_WAYS = {"up": (0.0, -1.0), "down": (0.0, 1.0), "left": (1.0, 0.0), "right": (-1.0, 0.0)}


def scope(parts: Iterable[str], sides: Iterable[str] = ()) -> list[str]:
    """Regions of some parts of the face and sides; of all without any."""
    parts, sides = tuple(parts), tuple(sides)
    return [
        name
        for name, region in facs.REGIONS.items()
        if (not parts or name.removeprefix(f"{region.side} ") in parts)
        and (not sides or region.side in sides)
    ]


def largest(regions: Iterable[str], known: Known) -> float:
    """Largest motion of some regions, px."""
    return max(map(known.px, regions), default=0.0)


def larger(a: float, b: float) -> bool | None:
    """Whether one motion is larger than another; None if nobody could say."""
    if max(a, b) < MOVED_PX or 1 / LARGER < a / max(b, 1e-9) < LARGER:
        return None
    return a > b


def polarity(query: Query, known: Known) -> bool | None:
    """The right yes or no; None if the truth does not decide it."""
    answer = _POLARITY[query.kind](query, known) if query.kind in _POLARITY else None
    return not answer if query.negated and answer is not None else answer


def _moved(query: Query, known: Known) -> bool | None:
    sides: list[tuple[str, ...]] = [(side,) for side in query.sides] or [()]
    if query.of == "all":
        return _all([_state(r, known) for r in scope(query.regions, query.sides)])
    # Both sides: on both of them.
    there = _all([_on(scope(query.regions, side), query, known) for side in sides])
    if query.of != "only":
        return there
    others = set(REGIONS) - set(scope(query.regions, query.sides))
    moved = _any([_state(r, known) for r in others])
    return _all([there, None if moved is None else not moved])


def _on(regions: list[str], query: Query, known: Known) -> bool | None:
    ways = query.directions
    return _any([_all([_there(r, ways, known), _state(r, known)]) for r in regions])


def _state(region: str, known: Known) -> bool | None:
    return {"moved": True, "still": False, "unsure": None}[known.state(region)]


def _there(region: str, ways: tuple[str, ...], known: Known) -> bool | None:
    if not ways:
        return True
    u, v = known.motion[REGIONS.index(region)]
    far = max(float(np.hypot(u, v)), 1e-9)
    shares = [np.dot((u, v), _way(name, region)) / far for name in ways]
    best = max(shares)
    return True if best >= _THERE else False if best <= _ELSEWHERE else None


def _way(name: str, region: str) -> tuple[float, float]:
    side = facs.REGIONS[region].side
    if name in _WAYS:
        return _WAYS[name]
    # A region on the midline goes neither outwards nor inwards.
    return (0.0, 0.0) if side == "middle" else facs.direction_vector(name, side)


def _any(answers: list[bool | None]) -> bool | None:
    return True if True in answers else None if None in answers else False


def _all(answers: list[bool | None]) -> bool | None:
    return False if False in answers else None if None in answers else True


def _compare(query: Query, known: Known) -> bool | None:
    others = largest(scope(query.than), known)
    return larger(largest(scope(query.regions, query.sides), known), others)


def _au(query: Query, known: Known) -> bool | None:
    there = {
        number
        for code in known.aus
        if (number := facs.au_number(code)) in query.aus
        and (not query.sides or set(query.sides) <= set(facs.au_sides(code)))
    }
    return bool(there) if query.aus else bool(known.aus)


def _emotion(query: Query, known: Known) -> bool | None:
    if not query.classes:
        return known.emotion is not None
    if known.emotion == "others":
        return None
    names = {known.emotion, facs.to_three(known.emotion)} if known.emotion else {NOTHING}
    return bool(names & set(query.classes))


def _head(query: Query, known: Known) -> bool | None:
    if known.head >= _HEAD_MOVED:
        return True
    return False if known.head <= _HEAD_STILL else None


def _blink(query: Query, known: Known) -> bool | None:
    return known.blink


_POLARITY: dict[str, Callable[[Query, Known], bool | None]] = {
    "moved": _moved,
    "direction": _moved,
    "compare": _compare,
    "au": _au,
    "emotion": _emotion,
    "head_motion": _head,
    "blink": _blink,
}
