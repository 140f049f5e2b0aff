"""The query grammar: what a question about a clip asks, in one line.

A query is a kind, whether it is asked as a yes/no question, and what it is about::

    moved                                        what moved?
    moved? region=brow side=left                 did the left eyebrow move?
    direction? region=mouth_corner direction=up  did the mouth corners go up?
    moved region=mouth at=20f                    what does the mouth do at frame 20?
    compare? region=mouth than=brow              did the mouth move more than the brows?
    au? au=1,2                                   is AU1 or AU2 there?
    how_long moment=onset,apex                   how long did it take to peak?
    how_long? less=0.5                           was it shorter than half a second?
    why_not class=fear                           why not fear?
    decline topic=lying                          is he lying?

Kind first, "?" for yes/no, then "not" if stillness or absence is asked for, then the fields in the
order of ``Query``. The same grammar serves instruction data, language models and the engine
(``deft/inference/engine.py``), so that nothing is said about a clip that is not the result of a
query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from deft_llm import facs
from deft_llm.answers import NOTHING
from deft_llm.errors import UserError

#: A question may have so many.
MOST_CHARACTERS = 500
#: What a query asks for.
#:
#: moved            which regions moved, or whether these did, ``all`` of them, or ``only`` they;
#:                  ``of=likely`` which nearly reached what counts as moved; ``at`` one frame,
#:                  how far they are from rest
#: direction        where to, or whether in this direction
#: magnitude        how far, in pixels, or which went beyond a limit; ``of=z`` in noise floors,
#:                  ``of=mm`` in units of length; ``of=noise`` with the largest floors instead
#: side_difference  which side moved more, or whether this one did; of an AU: which side it is on
#: when             the time of the moments, or those ``of=others``, the other movements
#: how_long         duration of the movement, or between two moments, or ``of=clip``; ``of=speed``
#:                  with how fast that is; ``of=plateau`` close to the apex
#: order            what moved first or last, or whether ``region`` moved before ``than``, or
#:                  one ``side`` before the other
#: au               which AUs are named, or whether one of these is, or ``all`` of them
#: emotion          which emotion or class is named, or whether it is this one, or which of these
#: probability      how likely the classes are
#: why, why_not     the reasons for the reading or AU; the reasons against another
#: confidence       how sure the reading is; ``of=aus`` each AU that is named
#: count            how many ``of`` regions, aus, movements, frames or blinks
#: compare          which region moved most or least, or whether ``region`` moved more than ``than``
#: head_motion      how far the head moved, or whether it did; ``of`` nod or shake: in that way
#: blink, quality of the recording (``of`` what), summary (``of=sentence``: in one)
#: greet            hello, thanks or goodbye (``topic``)
#: help             what can be asked; with an AU, a moment or ``of``: what that is
#: decline          asks what a face cannot tell (``topic``)
#: unknown          not understood; ``topic=language`` if it is not English
KINDS: tuple[str, ...] = (
    *("moved", "direction", "magnitude", "side_difference", "when", "how_long", "order"),
    *("au", "emotion", "probability", "why", "why_not", "confidence", "count", "compare"),
    *("head_motion", "blink", "quality", "summary", "greet", "help", "decline", "unknown"),
)
#: Kinds that are answered without looking at the clip.
TALK: frozenset[str] = frozenset({"greet", "help", "decline", "unknown"})
#: The parts of the face: regions without their side, from the top of the face down.
PARTS: tuple[str, ...] = (
    *("outer brow", "inner brow", "glabella", "upper lid", "lower lid", "cheek", "nostril wing"),
    *("upper lip", "mouth corner", "lower lip", "chin"),
)
#: Names for several parts. Printed instead of them, the largest first; parsed as well.
GROUPS: dict[str, tuple[str, ...]] = {
    "upper face": ("outer brow", "inner brow", "glabella", "upper lid", "lower lid"),
    "lower face": ("nostril wing", "upper lip", "mouth corner", "lower lip", "chin"),
    "forehead": ("outer brow", "inner brow", "glabella"),
    "mouth": ("upper lip", "mouth corner", "lower lip"),
    "brow": ("outer brow", "inner brow"),
    "eye": ("upper lid", "lower lid"),
    "lip": ("upper lip", "lower lip"),
}
SIDES: tuple[str, ...] = ("left", "right")
#: Simple directions; "up" also covers "up and outward". Left and right are the subject's.
WAYS: tuple[str, ...] = ("up", "down", "inward", "outward", "left", "right")
CLASSES: tuple[str, ...] = (*facs.LABELS, NOTHING)
MOMENTS: tuple[str, ...] = ("onset", "apex", "offset")
#: What is counted, measured or explained.
OBJECTS: tuple[str, ...] = (
    *("regions", "aus", "movements", "frames", "blinks", "wink", "clip", "rate", "noise", "light"),
    *(
        "plateau",
        "face",
        "labels",
        "json",
        "method",
        "self",
        "all",
        "only",
        "z",
        "speed",
        "mm",
        "others",
    ),
    *("nod", "shake", "people", "sentence", "likely", "strength", "files", "accuracy", "privacy"),
)
# Objects of queries that only the rules make: no frame of the networks names them.
_RULED = frozenset(
    {"z", "speed", "mm", "others", "nod", "shake", "people", "sentence", "likely", "plateau"}
)
_RULED_OF_KIND = frozenset({("confidence", "aus"), ("magnitude", "noise"), ("au", "all")})
RANKS: tuple[str, ...] = ("most", "second", "least", "first", "last")
TOPICS: tuple[str, ...] = (
    # What a face cannot tell.
    *("lying", "guilt", "hiring", "health", "age", "sex", "identity", "origin", "sincerity"),
    *("thoughts", "character", "intelligence", "attraction", "relationship", "belief"),
    *("danger", "cause", "future", "advice", "feeling"),
    # What is not measured in the clip.
    *("appearance", "speech", "gaze", "surroundings"),
    # Of "unknown" and "greet".
    *("language", "hello", "thanks", "goodbye"),
)
Bound = tuple[Literal["more", "less"], float]
_AT = re.compile(r"\d+f|\d+(?:\.\d+)?s")


@dataclass(frozen=True)
class Query:
    """A question about a clip.

    Attributes:
        kind: One of ``KINDS``.
        polar: Asked as a yes/no question.
        negated: Asks for stillness or absence: "did the mouth stay still?".
        regions: Some of ``PARTS``; empty for all.
        sides: Of the subject; empty for either, both if both are required.
        directions: Some of ``WAYS``.
        aus: FACS numbers, whether FACS has them or not.
        classes: Some of ``CLASSES``.
        moments: Some of ``MOMENTS``. For "moved", "direction" and "magnitude", "offset" stands
            for the phase from apex to offset.
        than: Some of ``PARTS`` or ``CLASSES`` that the others are compared with.
        of: One of ``OBJECTS``, or empty.
        rank: One of ``RANKS``, or empty.
        bound: A limit asked for, such as ("more", 0.5); seconds, pixels, 0 to 1 or a number, as
            the kind measures.
        topic: One of ``TOPICS``, or empty.
        at: The one frame that "moved" is asked of: "20f", counted from 0, or "0.2s"; or empty.

    Raises:
        UserError: If a value is not known.
    """

    kind: str
    polar: bool = False
    negated: bool = False
    regions: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    aus: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    than: tuple[str, ...] = ()
    of: str = ""
    rank: str = ""
    bound: Bound | None = None
    topic: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        _check("kind", (self.kind,), KINDS)
        for name, known in _KNOWN.items():
            value = getattr(self, name)
            if isinstance(value, str):
                _check(name, (value,) if value else (), known)
            else:  # one order, each once, so that equal queries are equal
                _check(_KEYS[name], value, known)
                object.__setattr__(self, name, tuple(each for each in known if each in value))
        if any(not 0 < number < 1000 for number in self.aus):
            raise UserError(f"query: AU {self.aus}: expected numbers of 1 to 999")
        object.__setattr__(self, "aus", tuple(sorted(set(self.aus))))
        if self.at and not _AT.fullmatch(self.at):
            raise UserError(f"query: at {self.at!r}; expected a frame or seconds, as 20f or 0.2s")

    @property
    def ruled(self) -> bool:
        """Whether only the rules make such a query: no frame of the networks gives it."""
        placed = self.regions or self.sides or self.aus or self.classes
        timed = bool(self.at) or (self.kind in {"when", "how_long"} and bool(placed))
        limited = self.kind == "magnitude" and self.bound is not None and not self.polar
        limited = limited or (self.kind == "quality" and self.bound is not None)
        return timed or limited or self.of in _RULED or (self.kind, self.of) in _RULED_OF_KIND

    def __str__(self) -> str:
        words = [self.kind + "?" * self.polar, *["not"] * self.negated]
        for name, key in _KEYS.items():
            value = getattr(self, name)
            if name in {"regions", "than"}:
                value = grouped(value)
            listed = [value] if isinstance(value, str) else list(map(str, value))
            if listed != [""] and listed:
                words.append(f"{key}={','.join(listed).replace(' ', '_')}")
        if self.bound:
            words.append(f"{self.bound[0]}={self.bound[1]:g}")
        return " ".join(words)


_KNOWN: dict[str, tuple[str, ...]] = {
    "regions": PARTS,
    "sides": SIDES,
    "directions": WAYS,
    "classes": CLASSES,
    "moments": MOMENTS,
    "than": (*PARTS, *CLASSES),
    "of": OBJECTS,
    "rank": RANKS,
    "topic": TOPICS,
}
#: Field -> its name in the text, in the order of printing.
_KEYS = {
    **{"regions": "region", "sides": "side", "directions": "direction", "aus": "au"},
    **{"classes": "class", "moments": "moment", "than": "than"},
    **{"of": "of", "rank": "rank", "topic": "topic", "at": "at"},
}
_FIELDS = {key: name for name, key in _KEYS.items()}
assert {f.name for f in fields(Query)} == {*_KEYS, "kind", "polar", "negated", "bound"}


def parse_query(text: str) -> Query:
    """Read a query from its line; the inverse of ``str``.

    Raises:
        UserError: If it is none; says what is wrong with it.
    """
    kind, *words = text.split() or [""]
    values: dict[str, object] = {}
    for word in words:
        if word == "not":
            values["negated"] = True
            continue
        key, equals, value = word.partition("=")
        if not (equals and value) or key not in {*_FIELDS, "more", "less"}:
            known = ", ".join((*_FIELDS, "more", "less"))
            raise UserError(f"query {text!r}: {word!r}; expected FIELD=VALUE, FIELD one of {known}")
        values.update(_field(text, key, value))
    return Query(kind.removesuffix("?"), polar=kind.endswith("?"), **values)  # type: ignore[arg-type]


def _field(text: str, key: str, value: str) -> dict[str, object]:
    parts = value.replace("_", " ").split(",")
    try:
        if key in {"more", "less"}:
            return {"bound": (key, float(value))}
        if key == "au":
            return {"aus": tuple(map(int, parts))}
    except ValueError:
        raise UserError(f"query {text!r}: {key}={value}; expected a number") from None
    name = _FIELDS[key]
    if name in {"of", "rank", "topic", "at"}:
        return {name: parts[0]}
    return {name: expand(parts) if name in {"regions", "than"} else tuple(parts)}


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """The parts of the face behind names of parts and groups; other names stay as they are."""
    return tuple(part for name in names for part in GROUPS.get(name, (name,)))


def grouped(names: tuple[str, ...]) -> list[str]:
    """Names with each complete group in place of its parts."""
    left, found = list(names), list[str]()
    for group, parts in GROUPS.items():
        if set(parts) <= set(left):
            found.append(group)
            left = [name for name in left if name not in parts]
    return [*found, *left]


def _check(field: str, values: Iterable[str], known: Iterable[str]) -> None:
    for value in values:
        if value not in known:
            raise UserError(f"query: {field} {value!r}; expected one of {', '.join(known)}")
