"""What the words of a question name: cues of its kind, and the values of a query's fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from deft_llm.queries import spelling, vocabulary
from deft_llm.queries.lexicon import Mark, lexicon
from deft_llm.queries.query import GROUPS, Bound, expand

_AUXILIARIES = frozenset(
    "is are was were do does did has have had can could would will should may might am any".split()  # noqa: SIM905
)
_OPEN = frozenset(
    """what which when where why who how whose list name describe give show tell summarize summarise
    explain report code enumerate mark find compare rank point go state classify sort label put
    measure output return produce write fill justify argue spell walk follow count print answer
    identify detail outline select choose pick determine get interpret read decide guess""".split()  # noqa: SIM905
)
_NUMBERS = {"half": 0.5, "a": 1, "an": 1, **spelling.SHARES, **spelling.SPELT}
_NUMBER = (
    r"(\d+(?:\.\d+)?|half|third|quarter|fifth|tenth|one|two|three|four|five|six|seven|eight|nine|"
    r"ten|an?)"
)
_MORE = (
    r"more than|longer than|over|above|at least|exceed(?:s|ed|ing)?|greater than|larger than|"
    r"bigger than|further than|farther than|after|later than|slower than|beyond|past|higher than"
)
_LESS = (
    r"less than|shorter than|under|below|within|at most|smaller than|fewer than|before|"
    r"earlier than|faster than|quicker than|up to|lower than|in less than"
)
_BOUND = re.compile(
    rf"\b(?:(?P<more>{_MORE})|(?:{_LESS})) (?:the (?:first )?)?(?:about )?"
    rf"(?:a (?=third|quarter|fifth|tenth))?{_NUMBER}"
    r"(?: (?:of )?a)? ?(?P<unit>ms|s|second|px|pixel|%|percent|region|au|action|part|movement|"
    r"expression|microexpression|frame|time|muscle|blink)?(?:s?\b|(?<=%))"
)
_UNIT = r"(?:ms|s|seconds?|px|pixels?|%|percent)"
# "Between 0.2 and 0.5 s", "from half a pixel to one".
_RANGED = re.compile(
    rf"\b(?:between|from) (?:about )?{_NUMBER}(?: (?:of )?an?)? ?(?P<first>{_UNIT})? "
    rf"(?:and|to|until|till) (?:about )?{_NUMBER}(?: (?:of )?an?)? ?(?P<last>{_UNIT})?(?!\w)"
)
#: Seconds are told to a thousandth: at least 0.2 s is more than half a step below.
_LEAST_STEP = 0.0005
_DENIES = (
    r"\b(?:never|nobody|(?<!\w or )no|neither|(?<!or )none|nothing|(?<!or )absent|(?<!or )missing|"
    r"inactive|anything but)\b"
)
# "AU 1 2 and 5", but not the time or the distance of "AU 12 0.5 s".
_AUS = re.compile(
    r"\b(?:au|action units?|units?)(?: numbers?)? ((?:\d+(?!\d|\.\d| ?(?:ms|s|px|%)\b)"
    r"(?: ?(?:,|and|or|\+|/|&) ?| (?=\d))?(?:au )?)+)"
)
_CODED = re.compile(r"\b([lr])(\d{1,2})\b")
_SUMMED = re.compile(r"(?<![\d.])\d{1,2}(?: ?\+ ?\d{1,2})+(?![\d.])")  # "the 1+2+5 combination"
# "12 or 14?", "did you code a 4?": numbers that can only be AUs.
_BARE = re.compile(
    r"^(?:and |or )?((?:\d{1,2} ?(?:,|and|or) ?)+\d{1,2})\W*$|"
    r"\bcoded? (?:an? |for )?(\d{1,2})\b"
)


@dataclass(frozen=True)
class Asked:
    """A question with its marks.

    Attributes:
        text: As ``spelling.normal`` writes it, without manners.
        words: Its words, mended.
        marks: What they name.
        guessed: Whether it is one word, which was misspelt.
    """

    text: str
    words: tuple[str, ...]
    marks: tuple[Mark, ...]
    guessed: bool = False

    @classmethod
    def of(cls, text: str) -> Asked:
        """Look at a normal text without manners."""
        book = lexicon()
        typed = spelling.split(text)
        words = [book.mend(word) for word in typed]
        guessed = len(words) == 1 and words != typed
        return cls(text, tuple(words), _compared(book.marks(words), words), guessed)

    @cached_property
    def cues(self) -> frozenset[str]:
        """Concepts that are marked."""
        return frozenset(mark.concept for mark in self.marks)

    def has(self, *cues: str) -> bool:
        """Whether one of some cues is marked."""
        return not self.cues.isdisjoint(cues)

    def says(self, pattern: str) -> bool:
        """Whether the mended words match a pattern."""
        return re.search(pattern, " ".join(self.words)) is not None

    def values(self, concept: str, at: int = 0, to: int = 9999) -> tuple[str, ...]:
        """Values of a concept, in order, of the marks between two words."""
        found = (m.value for m in self.marks if m.concept == concept and at <= m.at < to)
        return tuple(dict.fromkeys(found))

    @cached_property
    def first(self) -> str:
        """The first word."""
        return self.words[0] if self.words else ""

    @cached_property
    def polar(self) -> bool:
        """Whether yes or no answers the question."""
        if self.first in _AUXILIARIES:
            return not self.says(
                r"^(?:is|are|was|were|do|did|does)\b.*\b(?:how|which|when|why|and (?:what|where))\b"
            )
        if self.first in {"if", "whether"} or self.says(r"\byes or no\b|\bwhether\b"):
            return True
        asks = self.says(r"\b(?:what|which|when|where|why|how)\b|^about\b")
        return self.first not in _OPEN and not asks

    @cached_property
    def negated(self) -> bool:
        """Whether stillness or absence is asked for; "didn't it move?" asks for movement."""
        if self.says(r"\band what not$|^i (?:can|could|do|did) not see\b"):
            return False  # "I can't see it move, can you?" asks whether it moved
        return (self.denied or re.search(_DENIES, self._unnamed) is not None) != self.stays

    @property
    def denied(self) -> bool:
        """Whether there is a "not" that is no part of "didn't it ...?"."""
        leading = self.first in _AUXILIARIES and self.words[1:2] == ("not",)
        return "not" in self.words[2 if leading else 0 :]

    @property
    def _unnamed(self) -> str:
        """The words without those that name a class: "no emotion" denies nothing."""
        named = {i for m in self.marks if m.concept == "class" for i in range(m.at, m.to)}
        return " ".join(word for i, word in enumerate(self.words) if i not in named)

    @cached_property
    def stays(self) -> bool:
        """Whether stillness is spoken of; "is it still moving?" does not."""
        held = r"\b(?:keep|keeps|kept|hold|holds|held) (?:\w+ ){1,3}still\b"
        return self.has("still") or self.says(rf"\bstill$|{held}")

    @property
    def whether(self) -> bool:
        """Whether the question begins as one that yes or no answers; fragments do not."""
        return self.first in _AUXILIARIES or self.first in {"if", "whether"}

    @property
    def where(self) -> dict[str, Any]:
        """The fields of a query about the regions and sides."""
        return {"regions": self.parts, "sides": self.sides}

    @cached_property
    def paired(self) -> tuple[Mark, tuple[int, ...]] | None:
        """A region with what it does, if together they name AUs: its mark, and the AUs."""
        for mark in self.marks:
            # "which part of the lips" does not say that they part
            if mark.concept != "pair" or (self.words[mark.at] in {"part", "parts"} and self._named):
                continue
            if self._measures(mark):
                continue
            aus = _numbers(mark.value)
            parts = vocabulary.PAIRS[aus][0]
            for region in self.marks:
                if region.concept == "region" and region.value in parts:
                    return region, aus
        return None

    def _measures(self, mark: Mark) -> bool:
        """Whether a word compares two parts by size: "which is bigger, brow or lid?"."""
        several = len({each.value for each in self.marks if each.concept == "region"}) > 1
        return several and self.words[mark.at] in {"bigger", "smaller", "wider", "narrower"}

    @property
    def _named(self) -> bool:
        return self.says(r"\bparts? of\b|\b(?:which|what|any|every|each|some|other|the) parts?\b")

    @property
    def aus(self) -> tuple[int, ...]:
        """AU numbers, by number, by FACS's name or by an everyday word."""
        return tuple(dict.fromkeys(number for aus in self.mentions for number in aus))

    @cached_property
    def mentions(self) -> tuple[tuple[int, ...], ...]:
        """The AUs of each mention; one word may stand for several, such as "smirk"."""
        coded = [int(n) for match in _AUS.findall(self.text) for n in re.findall(r"\d+", match)]
        coded += [int(number) for _, number in _CODED.findall(self.text)]
        if self.says(r"\b(?:combination|coded|present)\b"):  # "2+2?" is none
            coded += [int(n) for sum_ in _SUMMED.findall(self.text) for n in sum_.split("+")]
        bare = " ".join(part for found in _BARE.findall(self.text) for part in found)
        coded += [int(n) for n in re.findall(r"\d+", bare)]
        named = [_numbers(value) for value in self.values("au")]
        pair = [self.paired[1]] if self.paired and not named else []
        return tuple(dict.fromkeys((*((number,) for number in coded), *named, *pair)))

    @cached_property
    def regions(self) -> tuple[Mark, ...]:
        """Marks of regions that are not part of an action ("wrinkled her nose")."""
        if self.paired and not self.values("au"):
            return tuple(
                m for m in self._regions if m.value not in vocabulary.PAIRS[self.paired[1]][0]
            )
        return self._regions

    @cached_property
    def _regions(self) -> tuple[Mark, ...]:
        found = tuple(mark for mark in self.marks if mark.concept == "region")
        # "The lower lid of the right eye" is not the whole eye.
        wholes = {
            b
            for a, b in pairwise(found)
            if "of" in self.words[a.to : b.at] and a.value in GROUPS.get(b.value, ())
        }
        return tuple(mark for mark in found if mark not in wholes)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Parts of the face."""
        return expand(mark.value for mark in self.regions)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """Sides; both if both are required."""
        found = set(self.values("side")) - {"other"}
        if self.says(
            r"\b(?:who|which one|which of us|that|it) (?:is|was) right\b|\bi (?:am )?right\b"
        ):
            found.discard("right")
        found |= {"left" if letter == "l" else "right" for letter, _ in _CODED.findall(self.text)}
        # "AU 6 and 12, both?" asks for two AUs, not for two sides.
        units = len(self.aus) > 1 and not self.regions
        both = "both" in found and not units and not self._both_parts
        both = both or (found >= {"left", "right"} and not self.says(r"\bor\b"))
        return ("left", "right") if both else tuple(found - {"both"}) if len(found) == 1 else ()

    @property
    def _both_parts(self) -> bool:
        """Whether "both" is of two parts: "both the mouth and the brows", but not "both brows"."""
        several = len({mark.value for mark in self.regions}) > 1
        return several and not any(
            a.value == "both" and b.concept == "region" and a.to == b.at
            for a, b in pairwise(self.marks)
        )

    @cached_property
    def ranged(self) -> bool:
        """Whether two limits are named, of which a query has only one: "between 1 and 2 px"."""
        text = " ".join(self.words)
        if (found := _RANGED.search(text)) and (found["first"] or found["last"]):
            return True
        limits = list(_BOUND.finditer(text))
        united = any(each["unit"] for each in limits)
        return united and len({bool(each["more"]) for each in limits}) > 1

    @cached_property
    def bound(self) -> Bound | None:
        """A limit such as "more than half a second"; seconds, px, or a number."""
        if self.ranged:
            return None
        match = _BOUND.search(" ".join(self.words)) or _BOUND.search(self.text)
        if match is None or (match[2] in {"a", "an"} and not match["unit"]):
            return None
        number = float(_NUMBERS.get(match[2], match[2]))
        unit = match["unit"] or ""
        number /= {"ms": 1000.0, "%": 100.0, "percent": 100.0}.get(unit, 1.0)
        if match[0].startswith("at least") and unit in {"ms", "s", "second"}:
            number = round(number - _LEAST_STEP, 6)
        return ("more" if match["more"] else "less", number)

    @cached_property
    def limited(self) -> str:
        """What the limit measures by its unit: "s", "px", "%" or, if it has none, nothing."""
        match = _BOUND.search(" ".join(self.words)) or _BOUND.search(self.text)
        unit = match["unit"] if match else None
        return {"ms": "s", "second": "s", "percent": "%", "pixel": "px"}.get(unit or "", unit or "")

    @cached_property
    def counted(self) -> Bound | None:
        """The limit of a whole number: at least two is more than one."""
        if self.bound is None:
            return None
        kind, limit = self.bound
        return kind, limit + self.says(r"\bat most\b") - self.says(r"\bat least\b")

    @cached_property
    def share(self) -> Bound | None:
        """The limit of a probability, 0 to 1, also where "percent" was left out."""
        if self.bound is None:
            return None
        kind, limit = self.bound
        return kind, limit / 100 if limit > 1 else limit

    def choice(self, concept: str) -> bool:
        """Whether two values of a concept are joined by "or"."""
        found = [mark for mark in self.marks if mark.concept == concept]
        pairs = pairwise(found)
        return any("or" in self.words[a.to : b.at] and a.value != b.value for a, b in pairs)


# "Right after the peak", "what is left out": no sides.
_RIGHT_THERE = frozenset("after before now away when then there as until".split())  # noqa: SIM905
_LEFT_OUT = frozenset({"out", "over"})
_REMAINS = frozenset({"movement", "motion", "anything", "nothing", "smile", "trace"})


def _compared(marks: Iterable[Mark], words: Sequence[str]) -> tuple[Mark, ...]:
    """The marks; "over" between two classes compares them, as in "why anger over disgust?"."""
    # "Apart from the mouth" names no direction.
    apart = [i for i, pair in enumerate(pairwise(words)) if pair == ("apart", "from")]
    found = [
        _apart(mark, words) for mark in marks if mark.at not in apart and not _idle(mark, words)
    ]
    classes = [mark for mark in found if mark.concept == "class"]
    for a, b in pairwise(classes):
        if a.value != b.value and "over" in words[a.to : b.at]:
            at = words.index("over", a.to)
            # As an end, it would name the offset.
            found = [mark for mark in found if not mark.at <= at < mark.to]
            found.append(Mark("than", "", at, at + 1))
    return tuple(sorted(found, key=lambda mark: mark.at))


def _idle(mark: Mark, words: Sequence[str]) -> bool:
    """Whether "right" and "left" name no side here."""
    if mark.concept != "side" or mark.to - mark.at > 1:
        return False
    before = words[mark.at - 1] if mark.at else ""
    after = words[mark.to] if mark.to < len(words) else ""
    if mark.value == "left" and before in _REMAINS and after in {"at", "in", "after"}:
        return True  # "any movement left at the end?"
    named = before in {"the", "his", "her", "their", "its"}
    return not named and after in {"right": _RIGHT_THERE, "left": _LEFT_OUT}.get(mark.value, ())


def _apart(mark: Mark, words: Sequence[str]) -> Mark:
    """The first of two parts, as in "between the brows and the lids", and not the glabella."""
    if (
        mark.value != "glabella"
        or words[mark.at] != "between"
        or words[mark.to : mark.to + 1] != ["and"]
    ):
        return mark
    return Mark("region", "brow" if "brow" in words[mark.to - 1] else "eye", mark.at, mark.to)


def _numbers(value: str) -> tuple[int, ...]:
    return tuple(map(int, value.split(",")))
