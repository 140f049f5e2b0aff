"""Frames: what a question asks, without the words that fill it in.

"Did her left eyebrow go up?" and "did the chin drop" have one frame, ``direction?``. The regions,
sides, directions, AUs and labels are the ones that the question's own words name, so a query that
is read from a frame cannot speak of anything that was not asked about. A frame is written as the
query without them; where they are not simply all that is named, it says how they are chosen
(``sides:first``). A follow-up's frame says what becomes of the query before it: ``same`` (what is
named replaces what was), ``other`` (the other side) or ``+`` (what was asked about is kept).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Any

from deft_llm.errors import UserError
from deft_llm.queries import followup
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import TALK, Query, expand, parse_query

SAME, OTHER, KEEPS = "same", "other", "+"
_SPLITS = frozenset({"than", "first", "final", "against"})
#: Kind -> the fields that its questions fill in.
_FILLED: dict[str, tuple[str, ...]] = {
    "moved": ("regions", "sides"),
    "direction": ("regions", "sides", "directions", "aus"),
    "magnitude": ("regions", "sides", "aus", "bound"),
    "side_difference": ("regions", "sides", "aus"),
    "compare": ("regions", "than", "sides"),
    "when": ("moments", "bound"),
    "how_long": ("moments", "bound"),
    "order": ("regions", "than", "sides"),
    "au": ("aus", "regions", "sides"),
    "emotion": ("classes",),
    "probability": ("classes", "than", "bound", "aus"),
    "why": ("classes", "aus", "regions", "sides"),
    "why_not": ("classes", "aus"),
    "confidence": ("classes", "aus"),
    "count": ("bound",),
    "head_motion": ("bound",),
    "blink": ("sides",),
    "help": ("moments", "aus"),
}
#: Without one of these fields, a question of this kind asks nothing.
_NEEDS: dict[str, tuple[str, ...]] = {
    "direction?": ("directions",),
    "magnitude?": ("bound",),
    "count": ("of",),
    "count?": ("of",),
    "compare": ("rank", "than"),
    "compare?": ("rank", "than"),
    "decline": ("topic",),
    "greet": ("topic",),
}
Choose = Callable[[Asked, str], Any]


def _splits_at(asked: Asked) -> int:
    """The word at which a comparison changes from one thing to the other."""
    return next((mark.at for mark in asked.marks if mark.concept in _SPLITS), 9999)


def _named(asked: Asked, field: str) -> Any:
    return {
        "regions": asked.parts,
        "sides": asked.sides,
        "directions": asked.values("way"),
        "aus": asked.aus,
        "classes": asked.values("class"),
        "moments": asked.values("moment"),
        "bound": asked.bound,
        "than": (),
    }[field]


def _side(ahead: bool) -> Choose:
    def choose(asked: Asked, _: str) -> tuple[str, ...]:
        sides = [side for side in asked.values("side") if side in {"left", "right"}]
        return (sides[0 if ahead else -1],) if sides else ()

    return choose


def _part(ahead: bool) -> Choose:
    def choose(asked: Asked, field: str) -> tuple[str, ...]:
        at = _splits_at(asked)
        if field == "classes" or (field == "than" and not asked.regions):
            return asked.values("class", *((0, at) if ahead else (at, 9999)))
        return expand(mark.value for mark in asked.regions if (mark.at < at) == ahead)

    return choose


def _none(_: Asked, field: str) -> Any:
    return None if field == "bound" else ()


#: How a field is filled in; of these, the first that gives what a query has names the frame.
_CHOICES: dict[str, Choose] = {
    "": _named,
    "none": _none,
    "first": _side(True),
    "last": _side(False),
    "ahead": _part(True),
    "behind": _part(False),
    "counted": lambda asked, _: asked.counted,
    "share": lambda asked, _: asked.share,
}
_OF_FIELD: dict[str, tuple[str, ...]] = {
    "regions": ("", "ahead", "behind", "none"),
    "sides": ("", "first", "last", "none"),
    "classes": ("", "ahead", "behind", "none"),
    "than": ("", "behind", "ahead"),
    "bound": ("", "none", "counted", "share"),
}
_PLAIN = ("", "none")


def fill(frame: str, asked: Asked, before: Query | None = None) -> Query | None:
    """The query of a question of a frame; None if the question has not the words for it.

    Args:
        frame: The frame.
        asked: The question.
        before: The query before it, for follow-ups.
    """
    if frame == SAME:
        new = followup.named(asked)
        return followup.replaced(before, new, None) if before and new else None
    if frame == OTHER:
        return followup.swapped(before) if before else None
    query = _filled(frame.removeprefix(KEEPS), asked)
    if query is None or not frame.startswith(KEEPS):
        return query
    return followup.inherited(before, query) if before else None


def _filled(frame: str, asked: Asked) -> Query | None:
    words = frame.split()
    chosen = dict(word.split(":") for word in words if ":" in word)
    query = parse_query(" ".join(word for word in words if ":" not in word))
    values = {
        field: _CHOICES[chosen.get(field, "")](asked, field)
        for field in _FILLED.get(query.kind, ())
        if not getattr(query, field)
    }
    try:
        query = replace(query, **values)
    except UserError:
        return None
    return query if _makes_sense(query) else None


def _makes_sense(query: Query) -> bool:
    needs = _NEEDS.get(query.kind + "?" * query.polar, ())
    compared = query.kind not in {"compare", "order"} or not query.than or bool(query.regions)
    return compared and (not needs or any(getattr(query, name) for name in needs))


def frame_of(query: Query, asked: Asked, before: Query | None = None) -> str | None:
    """The frame that gives this query for a question; None if none does.

    Args:
        query: What the question asks.
        asked: The question.
        before: What was asked before, if it is a follow-up.
    """
    if before is not None:
        for frame in (SAME, OTHER):
            if fill(frame, asked, before) == query:
                return frame
    for lead, frame in product((KEEPS, "") if before is not None else ("",), _frames(query)):
        if fill(lead + frame, asked, before) == query:
            return lead + frame
    return None


def _frames(query: Query) -> Iterable[str]:
    """Frames of a query's kind, the plainest first."""
    fields = _FILLED.get(query.kind, ())
    fixed = [name for name in ("moments", "bound") if name in fields and getattr(query, name)]
    for kept in ((), *((name,) for name in fixed)):
        empty: dict[str, Any] = {
            name: None if name == "bound" else () for name in fields if name not in kept
        }
        line = str(replace(query, **empty))
        free = [name for name in fields if name not in kept]
        ways = sorted(
            product(*(_OF_FIELD.get(name, _PLAIN) for name in free)),
            key=lambda way: sum(map(bool, way)),
        )
        for way in ways:
            modes = [f"{name}:{mode}" for name, mode in zip(free, way, strict=True) if mode]
            yield " ".join([line, *modes])


def is_claim(frame: str) -> bool:
    """Whether an answer to a question of this frame says something about the clip."""
    return frame.removeprefix(KEEPS).split()[0] not in TALK
