"""A query as a question in plain words; the questions nearest to one that is not understood."""

from __future__ import annotations

from collections.abc import Sequence

from deft_llm import facs
from deft_llm.queries import spelling, vocabulary
from deft_llm.queries.cues import without_manners
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import GROUPS, Query, grouped

_SINGLE = {"brow": "eyebrow", "lip": "half of the lips", "nostril wing": "nostril"}
_STARTS = {"onset": "start", "apex": "peak", "offset": "end"}
_WAY = {"left": "to the left", "right": "to the right"}


def place(query: Query) -> str:
    """The regions and sides of a query in words: "left eyebrow", "corners of the mouth"."""
    names = grouped(query.regions)
    if not names:
        return f"{query.sides[0]} side" if len(query.sides) == 1 else "face"
    if len(query.sides) == 1:
        named = [_SINGLE.get(name, name) for name in names]
        return f"{query.sides[0]} {' and '.join(named)}"
    both = "both " if len(query.sides) == 2 else ""
    return both + " and ".join(vocabulary.spoken(vocabulary.REGIONS, name) for name in names)


def ask(query: Query) -> str:
    """The question that a query answers, as the library itself words it."""
    where, yes = place(query), query.polar
    units = " or ".join(f"AU{number}" for number in query.aus)
    labels = " or ".join(query.classes)
    than = " and ".join(
        vocabulary.spoken(vocabulary.REGIONS, n) if n in (*GROUPS, *vocabulary.REGIONS) else n
        for n in grouped(query.than)
    )
    thing = f"the {where}" if query.regions or query.sides else "anything"
    written = {
        "moved": _moved(query, thing)
        if yes
        else (f"What did the {where} do?" if query.regions else "What moved?"),
        "direction": f"Did the {where} go {_ways(query)}?"
        if yes
        else f"Which way did the {where} go?",
        "magnitude": f"Did the {where} move a lot?" if yes else f"How far did the {where} move?",
        "side_difference": f"Did the {query.sides[0]} side move more?"
        if query.sides
        else ("Was it symmetrical?" if yes else "Which side moved more?"),
        "when": f"When did it {_STARTS[query.moments[0]]}?"
        if query.moments
        else "When did it happen?",
        "how_long": "Was it brief?" if yes else "How long did it last?",
        "order": f"Did the {where} move before the {than}?" if query.than else "What moved first?",
        "au": (f"Is {units} there?" if query.aus else "Which action units are there?"),
        "emotion": f"Is it {labels}?" if query.classes else "Which emotion is it?",
        "probability": f"How likely is {labels}?" if labels else "What is the second most likely?",
        "why": f"What speaks for {labels or units}?" if labels or units else "Why?",
        "why_not": f"Why not {labels or units}?",
        "confidence": "How sure are you?",
        "count": f"How many {_COUNTED.get(query.of, query.of)} are there?",
        "compare": f"Did the {where} move more than the {than}?"
        if query.than
        else "What moved most?",
        "head_motion": "Did the head move?" if yes else "How far did the head move?",
        "blink": "Did one eye wink?" if query.of == "wink" else "Was there a blink?",
        "quality": "Is the recording good enough?" if yes else "How good is the recording?",
        "summary": "Summarise it.",
        "help": "What can I ask?",
    }
    return written.get(query.kind, "What moved?")


def _moved(query: Query, thing: str) -> str:
    if query.of == "all":
        return f"Did all of {thing if query.regions else 'the face'} move?"
    only = "only " * (query.of == "only")
    return f"Did {only}{thing} {'stay still' if query.negated else 'move'}?"


_COUNTED = {"aus": "action units", "": "movements"}


def _ways(query: Query) -> str:
    return " or ".join(_WAY.get(way, way) for way in query.directions) or "up"


def nearest(question: str, count: int = 3) -> tuple[Query, ...]:
    """Queries about what a question names, for one that is not understood as a whole."""
    asked = Asked.of(without_manners(spelling.normal(question)))
    parts, sides = asked.parts, asked.sides
    found: list[Query] = []
    if classes := asked.values("class")[:1]:
        found += [Query("emotion", True, classes=classes), Query("probability", classes=classes)]
        found += [Query("why_not", classes=classes)]
    if aus := tuple(number for number in asked.aus if number in facs.ACTION_UNITS):
        found += [Query("au", True, aus=aus), Query("why", aus=aus)]
    if parts:
        where = {"regions": parts, "sides": sides}
        found += [Query("moved", True, **where), Query("direction", **where)]  # type: ignore[arg-type]
        found += [Query("magnitude", **where)]  # type: ignore[arg-type]
    for cue, query in _BY_CUE.items():
        if asked.has(cue):
            found.append(query)
    return tuple(dict.fromkeys((*found, *USUAL)))[:count]


#: Questions to start with.
USUAL: tuple[Query, ...] = (Query("moved"), Query("au"), Query("emotion"), Query("why"))
_BY_CUE = {
    "when": Query("when"),
    "how_long": Query("how_long"),
    "feel": Query("emotion"),
    "au_word": Query("au"),
    "which_side": Query("side_difference"),
    "sure": Query("confidence"),
    "head": Query("head_motion", True),
    "blink": Query("blink", True),
    "quality": Query("quality", True),
    "most": Query("compare", rank="most"),
    "first": Query("order", rank="first"),
    "move": Query("moved"),
}


def questions(queries: Sequence[Query]) -> str:
    """Some queries as questions in one line."""
    return " ".join(map(ask, queries))
