"""What a short question leaves out is taken from the query before it.

"And the left one?" keeps the kind and changes the side; "how far?" keeps the region and changes the
kind; "why not?" keeps the class. What is carried on is our own choice.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from deft_llm import facs
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import PARTS, Query
from deft_llm.queries.short_turns import POINTING, REALLY, WHY_NOT

#: Kinds that a follow-up does not refer to.
PASSING = frozenset({"greet", "help", "decline", "unknown"})
_LEAD = re.compile(
    r"^(?:and|or|but|what about|how about|what of|same for|same question for|also|then|now|only|"
    r"just)\b"
)
_RANKED = re.compile(r"^(?:and |but |what about |which )?(first|last|most|least|second)(?: one)?$")
_WHERE = ("regions", "sides", "aus")
_OPEN = ("what", "which", "where", "who")
_MOVEMENT = ("moved", "direction", "magnitude", "side_difference", "compare", "order", "count")
#: Field -> the kinds that can carry it.
_CARRIES: dict[str, tuple[str, ...]] = {
    "regions": (*_MOVEMENT, "why", "why_not", "when", "how_long"),
    "sides": (*_MOVEMENT, "au", "blink", "when", "how_long"),
    "directions": ("direction",),
    "aus": ("au", "side_difference", "magnitude", "direction", "why", "why_not", "confidence",
            "probability", "when", "how_long"),
    "classes": ("emotion", "probability", "why", "why_not", "confidence"),
    "moments": ("when", "how_long", "moved", "direction", "magnitude"),
}  # fmt: skip
_COUNTED = {"regions": "region_word", "aus": "au_word", "blinks": "blink", "frames": "frame_word"}
#: What "how many?" counts after a question of a kind.
_COUNTS = {"au": "aus", "moved": "regions", "direction": "regions", "blink": "blinks"}
_BACK = re.compile(r"^(?:and )?(?:on )?(?:the )?(?:way )?back(?: again| to rest| down| up)?$")
_AFTER = re.compile(r"^(?:and )?(?:what about )?(?:after (?:that|it)|until when)$")
_FIRST = re.compile(
    r"^(?:and |but )?(?:what |which |who )?(?:(?:moved|came|was|is|one) )*(first|last)$"
)
_MOST = re.compile(r"^(?:and |but )?(?:which |what )?(?:(?:moved|one|the) )*(most|least)$")
_MORE = re.compile(r"^(?:and |but )?(?:which|what)(?: (?:one|side))?(?: moved| was)? more$")
_THE_OTHERS = re.compile(r"\b(?:the )?(?:other ones?|others?|second one)$")
_WHY = re.compile(r"^(?:and )?(?:why|how so)$|^(?:and )?why (?:so|is that|that)$")
_THEN = re.compile(r"^(?:and )?(?:then|after that|afterwards?|what then|what happened then)$")
_GO_ON = re.compile(
    r"^(?:tell me )?(?:more(?! than)|more details?|details|go on|continue|elaborate)\b"
)
_ELSE = re.compile(r"^(?:and |but )?(anything|something|nothing|what) else(?: there)?$")
_EVERY = (
    r"\b(?:each|every|all|the)(?: of)?(?: the)? (?:regions?|parts?|areas?|places?)\b|"
    r"\b(?:top|bottom|largest|biggest|strongest)\b.*\b(?:regions|parts|movements)\b"
)
_RELATIVE = re.compile(r"\b(upper|lower|inner|outer) (?:one|ones|part|parts|half|end)\b")
_NUMBER = re.compile(r"^(?:and |or |what about |how about )?([1-9]\d?)(?: as well| too| also)?$")
_WHAT_IS = re.compile(r"^(?:and |but |so )?(?:what|where|which)(?: \w+)? (?:is|was)\b")
_SHORT = 4  # words; a question of so few about no place is about the place before


def complete(asked: Asked, query: Query | None, before: Query | None) -> Query | None:
    """The query of a question in the light of the one before; None if nothing is to be added.

    Args:
        asked: The question.
        query: What it asks by itself, or None.
        before: What was asked before, or None.
    """
    if before is None or before.kind in PASSING:
        return None
    text = " ".join(asked.words)
    if contrast := _compared(asked, text, before):
        return contrast
    if before.kind == "compare" and before.rank and "second" in asked.words:
        return replace(before, polar=False, rank="second")
    if _stands_alone(query, text):
        return None
    if later := _later(text, before):
        return later
    if _is_other_side(asked, text, before):
        return swapped(before)
    if _about_blinks(asked, query, before):
        return Query("blink")
    if (
        before.at
        and query is not None
        and query.at
        and not asked.parts
        and asked.first not in _OPEN
    ):
        return replace(before, at=query.at, directions=query.directions or before.directions)
    if (query is None or not asked.regions) and (turn := _turned(text, before)):
        return turn
    if before.kind in _MOVEMENT and (rest := _ELSE.search(text)):
        return Query("moved", polar=rest[1] != "what", negated=rest[1] == "nothing")
    if asked.says(r"\b(?:else|alternatives?)\b"):
        return None  # "what else could it be?" is not about what was asked before
    if query is not None and query.kind == "count" and not asked.has(*_COUNTED.values()):
        if asked.negated and (before.kind == "moved" or before.of == "regions"):
            return Query("moved", negated=True, regions=before.regions, sides=before.sides)
        return replace(query, of=_COUNTS.get(before.kind, query.of))
    if asks := _set_phrase(asked, text, before) or _ranked(asked, text, before):
        return asks
    return _beside(text, before) or _about_the_same(asked, query, before)


def _about_blinks(asked: Asked, query: Query | None, before: Query) -> bool:
    """Whether a time or a doubt is that of the blinks asked about before."""
    if before.kind != "blink" and (before.kind, before.of) != ("count", "blinks"):
        return False
    names = asked.regions or asked.aus or asked.has("class", "moment", "movement_word", "feel")
    return query is not None and query.kind in {"when", "how_long", "confidence"} and not names


def _stands_alone(query: Query | None, text: str) -> bool:
    """Whether a question is not about what was asked before, whatever it leaves out."""
    if query is not None and query.rank == "second":
        return True  # "and what is second?" is not about the class that was named
    if query is not None and query.kind == "help" and query != Query("help"):
        return True  # "what does apex mean?"
    # Of the whole face; "and what moved there?" is about a part.
    return bool(
        re.search(r"^(?:and |so |but )?what (?:has |all )?(?:moved?|moves|is moving)$", text)
    )


def _later(text: str, before: Query) -> Query | None:
    """What "until when?" and "the others?" ask after a time or a number of movements."""
    if _AFTER.search(text) and before.moments and before.kind in {"when", "how_long"}:
        later = ("offset",) if before.kind == "when" else ("apex", "offset")
        return replace(before, polar=False, bound=None, moments=later)
    if before.kind == "count" and before.of == "movements" and _THE_OTHERS.search(text):
        return Query("when", of="others")
    return None


def _is_other_side(asked: Asked, text: str, before: Query) -> bool:
    other = asked.has("other_turn") or "other" in asked.values("side")
    # "And the other brow?" of the same part; "the other parts" are not meant.
    paired = asked.says(r"\bother\b") and asked.parts == before.regions != ()
    return other or text.endswith("the other") or (paired and bool(before.sides))


def _set_phrase(asked: Asked, text: str, before: Query) -> Query | None:
    """What "why?", "really?", "and then?" and "go on" ask."""
    if _WHY.search(text):
        return _why(before)
    if WHY_NOT.search(text):
        return Query("why_not", classes=before.classes, aus=before.aus)
    if REALLY.search(text):
        return Query("confidence", classes=before.classes, aus=before.aus)
    if _THEN.search(text):
        return Query("moved", moments=("offset",))
    if _GO_ON.search(text) and not (asked.sides or asked.regions):
        return Query("why") if before.kind in {"emotion", "probability", "au"} else Query("summary")
    return None


def _ranked(asked: Asked, text: str, before: Query) -> Query | None:
    """What "and which one last?", "the most?" and "which one more?" ask."""
    if before.rank and (rank := _RANKED.search(text)):
        return replace(before, rank=rank[1])
    if before.kind not in _MOVEMENT:
        return None
    if rank := _FIRST.search(text):
        return Query("order", rank=rank[1])
    if rank := _MOST.search(text):
        return Query("compare", rank=rank[1])
    if not before.regions or not _MORE.search(text) or "side" in asked.words:
        return None
    # Of a part that both sides have, "one" is a side; of the chin, another part.
    if not has_sides(before.regions):
        return Query("compare", rank="most")
    return Query("side_difference", regions=before.regions)


def _about_the_same(asked: Asked, query: Query | None, before: Query) -> Query | None:
    """The query before of what is named now, or what is asked now of what was named before."""
    text, new = " ".join(asked.words), named(asked)
    led = bool(_LEAD.search(text))
    compared = before.kind in {"compare", "order"} and bool(before.than)
    short = led or (len(asked.words) <= _SHORT and not asked.has("whole"))
    if new and short and not _own_kind(asked, query, compared):
        changed = replaced(before, new, query)
        if changed != query:
            return changed
    if query is None or any(new.get(name) for name in (*_WHERE, "classes")):
        return None
    points = led or bool(POINTING.search(text)) or len(asked.words) <= _SHORT
    whole = asked.has("whole", "clip_word", "expression") or asked.says(_EVERY)
    whole = whole or asked.says(r"\bany\b.*\b(?:motion|movement)\b")
    whole = whole or (query.kind == "probability" and asked.has("feel"))
    return inherited(before, query) if points and not whole else None


def _turned(text: str, before: Query) -> Query | None:
    """What "and back?" asks after a question."""
    if _BACK.search(text) and before.kind == "how_long":
        return Query("how_long", moments=("apex", "offset"))
    if _BACK.search(text) and before.kind == "direction" and before.polar:
        # Whether it came back, and not whether it went the same way after the apex.
        return Query("moved", True, regions=before.regions, sides=before.sides, moments=("offset",))
    if _BACK.search(text) and before.kind in _CARRIES["moments"]:
        return replace(before, moments=("offset",))
    return None


def _compared(asked: Asked, text: str, before: Query) -> Query | None:
    """What "more than the brows?" compares with the place before."""
    led = re.search(r"^(?:and |but )?(?:more|further|stronger|less|weaker) than\b", text)
    if not led or not before.regions or not asked.parts or before.kind not in _MOVEMENT:
        return None
    one, two = before.regions, asked.parts
    if asked.has("less_than"):
        one, two = two, one
    return Query("compare", True, regions=one, than=two)


def _beside(text: str, before: Query) -> Query | None:
    """The query before about a neighbour of its part: "the lower one?" of the upper lip."""
    found = _RELATIVE.search(text)
    if found is None or not before.regions:
        return None
    kinds = {part.split()[-1] for part in before.regions}
    parts = [part for part in PARTS if part.split()[0] == found[1] and part.split()[-1] in kinds]
    return replace(before, regions=tuple(parts)) if parts else None


def named(asked: Asked) -> dict[str, Any]:
    """The fields that a question fills."""
    numbers = _NUMBER.findall(" ".join(asked.words))
    found: dict[str, Any] = {
        "regions": asked.parts,
        "sides": asked.sides,
        "directions": asked.values("way"),
        "aus": asked.aus or tuple(map(int, numbers)),
        "classes": asked.values("class"),
        "moments": asked.values("moment"),
    }
    return {name: value for name, value in found.items() if value}


def _own_kind(asked: Asked, query: Query | None, compared: bool) -> bool:
    """Whether a question says itself what it asks for, beyond naming something.

    Args:
        asked: The question.
        query: What it asks by itself, or None.
        compared: Whether two things were compared before, so that "than the chin?" says nothing.
    """
    named = {"region", "side", "way", "au", "class", "moment", "pair", "region_word", "whole"}
    loose = named | {"move", "meaning", "visible", "expression", "movement_word", "strong", "even"}
    if query is not None and query.kind in {"why_not", "why", "confidence", "probability"}:
        return True
    if query is not None and query.polar and query.kind in {"au", "emotion"} and asked.whether:
        return True  # "is AU4 there?", "is she happy?"
    if asked.first == "about":
        return True  # "tell me about the chin"
    if query is not None and query == Query("moved", True, **asked.where) and asked.whether:
        # "Is the chin involved?" says all of it, "and the chin?" or "did the chin too?" do not.
        return asked.says(r"\b(?:involved|active|mov\w+)$")
    if query is not None and query.kind == "when" and _WHAT_IS.search(" ".join(asked.words)):
        return True  # "what is the offset?", where "and the offset?" asks for the phase
    return bool(asked.cues - loose - ({"than", "first", "final"} if compared else set()))


def replaced(before: Query, new: dict[str, Any], own: Query | None) -> Query | None:
    """The query before with some fields changed; what it asks by itself, if they do not fit."""
    if not all(_carries(before, name) for name in new):
        return own
    if before.kind == "side_difference" and {"regions", "sides"} <= new.keys():
        return own  # "left brow?" is no question about both sides
    # Motion is measured on its way to the apex and back from it, not at a moment.
    if before.kind in _MOVEMENT and not {"onset", "apex"}.isdisjoint(new.get("moments", ())):
        return own
    changed = dict(new)
    if "regions" in new and "sides" not in new:
        changed["sides"] = ()  # "did the left brow move?" "and the mouth?"
    if before.kind == "side_difference" and "sides" in new and before.regions:
        changed = new
    if {"regions", "aus"} & new.keys():
        changed |= {"regions": new.get("regions", ()), "aus": new.get("aus", ())}
    if before.kind in {"compare", "order"} and before.than and "regions" in new:
        return replace(before, than=new["regions"])
    polar = before.polar or (
        before.kind in {"emotion", "au"} and bool({"classes", "aus"} & new.keys())
    )
    # "So it is not happiness?" keeps its own "not".
    denied = bool(own and own.polar and own.negated) or (before.negated and before.polar)
    return replace(before, polar=polar, negated=denied and polar, **changed)


def inherited(before: Query, query: Query) -> Query | None:
    """A query about the place, AU or class of the one before."""
    kept = {
        name: getattr(before, name)
        for name in (*_WHERE, "classes")
        if getattr(before, name) and _carries(query, name) and not getattr(query, name)
    }
    if query.kind == "side_difference":
        kept.pop("sides", None)  # "is it lopsided?" is of both
        if not has_sides(kept.get("regions", ())):
            kept.pop("regions", None)
    if query.kind in {"emotion", "au", "compare", "order", "count"} or not kept:
        return None
    return replace(query, **kept)


def _carries(query: Query, field: str) -> bool:
    if query.of in {"clip", "others"}:
        return field == "moments"
    return query.kind in _CARRIES[field]


def has_sides(parts: tuple[str, ...]) -> bool:
    """Whether one of some parts is there on the left and on the right, as the chin is not."""
    return any(part not in facs.REGIONS for part in parts)


def swapped(before: Query) -> Query | None:
    """A query about the other side; None if the one before has no side."""
    flip = {("left",): ("right",), ("right",): ("left",)}
    return replace(before, sides=flip[before.sides]) if before.sides in flip else None


def _why(before: Query) -> Query:
    if before.kind in {"au", "emotion", "probability", "confidence", "why_not"}:
        return Query("why", classes=before.classes, aus=before.aus)
    return Query("why", regions=before.regions, sides=before.sides, aus=before.aus)
