"""What composed questions speak of: places, directions, AUs, emotions, limits, in words and fields.

A slot gives the words for its sentences ("her left eyebrow") and the fields of the query that it
stands for. The words are those by which questions are understood (``queries/vocabulary.py``), and
the forms of verbs are in ``templates/queries/words.yaml``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deft_llm import facs
from deft_llm.queries import vocabulary
from deft_llm.queries.query import Bound, expand

_SIDES = ("left", "right")
# Who types fast leaves out the article.
_OWNERS = (*("the",) * 6, *("her", "his", "their") * 3, "", "")
_BLINK = 45
_LABELS = tuple(name for name in facs.LABELS if name not in {"others", "repression"})
_MIDDLE = (
    *("between", "around", "under", "below", "above", "beside", "frown", "root", "nasal", "corner"),
)
_NOUNS = {"positive": "a positive emotion", "negative": "a negative emotion"}
_SECONDS = {
    **{"half a second": 0.5, "a second": 1.0, "300 ms": 0.3, "0.4 seconds": 0.4},
    **{"a quarter of a second": 0.25, "two seconds": 2.0, "1.5 s": 1.5, "200 milliseconds": 0.2},
    **{"one second": 1.0, "0.8 s": 0.8, "600 ms": 0.6, "three seconds": 3.0},
}
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "2": 2, "3": 3, "6": 6}
_MORE = ("more than", "over", "longer than", "at least")
_LESS = ("less than", "under", "shorter than", "at most", "no longer than")


@dataclass(frozen=True)
class Said:
    """What a slot says.

    Attributes:
        words: Name in the sentences -> words.
        fields: Fields of the query.
    """

    words: dict[str, str]
    fields: dict[str, Any] = field(default_factory=dict)


class Slots:
    """Draws what questions speak of."""

    def __init__(self, rng: random.Random, words: dict[str, Any]) -> None:
        """Take the lists of words.

        Args:
            rng: Draws everything.
            words: ``words.yaml``.
        """
        self.rng, self.words = rng, words
        self._draws: dict[str, Callable[[], Said]] = {
            **{"place": self._place, "pair": self._pair, "other": self._other},
            **{"whole": self._whole},
            **{"second": self._second, "way": self._way, "two_ways": self._two_ways},
            **{"side": self._side, "act": self._act, "choice_act": self._choice_act},
            **{"pair_act": self._pair_act, "unit": self._unit, "units": self._units},
            **{"bare_unit": self._bare_unit, "label": self._label, "moment": self._moment},
            **{"other_label": self._other_label, "two_labels": self._two_labels},
            **{"instead": self._instead, "moment_term": self._moment_term},
            **{"time_bound": self._time_bound, "seconds": self._seconds, "px": self._px},
            **{"less_time": self._less_time, "number": self._number, "percent": self._percent},
        }

    def draw(self, name: str) -> Said:
        """Words and fields of a slot."""
        return self._draws[name]()

    def _place(self) -> Said:
        """Regions, on both sides or one."""
        name, phrase = self._region()
        parts = expand((name,))
        sided = not set(parts) & facs.REGIONS.keys() and " of " not in phrase
        owner = self.rng.choice(_OWNERS)
        if not sided or self.rng.random() < 0.55:
            return Said({"place": f"{owner} {phrase}".strip()}, {"regions": parts, "sides": ()})
        side, one = self.rng.choice(_SIDES), phrase.removesuffix("s")
        if self.rng.random() < 0.12:
            both = self.rng.choice((f"both {phrase}", f"both of {owner or 'the'} {phrase}"))
            return Said({"place": both}, {"regions": parts, "sides": _SIDES})
        said = self.rng.choice((f"{owner} {side} {one}",) * 4 + (f"{owner} {one} on the {side}",))
        return Said({"place": said.strip()}, {"regions": parts, "sides": (side,)})

    def _region(self) -> tuple[str, str]:
        while True:
            name = self.rng.choice(list(vocabulary.REGIONS))
            listed = vocabulary.REGIONS[name].split("|")
            phrase = listed[0] if self.rng.random() < 0.5 else self.rng.choice(listed)
            if not phrase.startswith(_MIDDLE):
                return name, phrase

    def _pair(self) -> Said:
        while True:
            name, phrase = self._region()
            parts = expand((name,))
            if not set(parts) & facs.REGIONS.keys() and " of " not in phrase:
                return Said({"pair": phrase}, {"regions": parts})

    def _whole(self) -> Said:
        """Regions without a side."""
        said = self._place()
        while said.fields["sides"]:
            said = self._place()
        return said

    def _other(self) -> Said:
        said = self._whole()
        return Said({"other": said.words["place"]}, {"than": said.fields["regions"]})

    def _second(self) -> Said:
        said = self._other()
        return Said({"second": said.words["other"]}, {"more": said.fields["than"]})

    def _way(self) -> Said:
        way = self.rng.choice(list(self.words["ways"]))
        forms = self.rng.choice(self.words["ways"][way]).split("; ")
        names = ("way", "goes", "going", "gone", "went", "makes")
        return Said(dict(zip(names, forms, strict=True)), {"directions": (way,)})

    def _two_ways(self) -> Said:
        ways, said = self._either("two_ways")
        return Said({"two_ways": said}, {"directions": tuple(ways.split(","))})

    def _either(self, name: str) -> tuple[str, str]:
        value = self.rng.choice(list(self.words[name]))
        return value, self.rng.choice(self.words[name][value])

    def _side(self) -> Said:
        one, other = self.rng.sample(_SIDES, 2)
        return Said({"side": one, "opposite": other}, {"sides": (one,)})

    def _act(self) -> Said:
        aus, forms = self._either("acts")
        words = dict(zip(("act", "acting", "acted", "action"), forms.split(", "), strict=True))
        return Said(words, {"aus": _numbers(aus)})

    def _choice_act(self) -> Said:
        one, two = self._act(), self._act()
        said = f"a {one.words['action']} or a {two.words['action']}"
        return Said({"choice_act": said}, {"aus": (*one.fields["aus"], *two.fields["aus"])})

    def _pair_act(self) -> Said:
        aus, forms = self._either("pair_acts")
        act, state = forms.split("; ")
        return Said({"pair_act": act, "pair_state": state}, {"aus": _numbers(aus)})

    def _au(self) -> int:
        moving = (au.number for au in facs.ACTION_UNITS.values() if au.movements)
        return self.rng.choice([number for number in moving if number != _BLINK])

    def _bare_unit(self) -> Said:
        number = self._au()
        said = self.rng.choice(("AU {}", "AU{}", "action unit {}", "au {}")).format(number)
        return Said({"bare_unit": said}, {"aus": (number,)})

    def _unit(self) -> Said:
        said = self._bare_unit()
        words = said.words["bare_unit"]
        if self.rng.random() < 0.25:
            words = f"the {facs.ACTION_UNITS[said.fields['aus'][0]].name}"
        return Said({"unit": words}, said.fields)

    def _units(self) -> Said:
        one, two = self._au(), self._au()
        said = self.rng.choice(("AU{} or AU{}", "AU {} and AU {}", "AUs {} and {}", "AU{}+AU{}"))
        return Said({"units": said.format(one, two)}, {"aus": (one, two)})

    def _class(self) -> tuple[str, str, str]:
        """A class with an adjective and a noun for it."""
        label = self.rng.choice(_LABELS) if self.rng.random() < 0.85 else ""
        label = label or self.rng.choice(("positive", "negative", "none"))
        if label == "none":
            return label, self.rng.choice(("neutral", "expressionless")), "no emotion"
        listed = [word for word in vocabulary.CLASSES[label].split("|") if " " not in word]
        adjective = listed[0] if self.rng.random() < 0.4 else self.rng.choice(listed)
        return label, adjective, _NOUNS.get(label, label)

    def _label(self) -> Said:
        label, adjective, noun = self._class()
        either = self.rng.choice((adjective, noun))
        words = {"label": adjective, "noun": noun, "noun_or_label": either}
        return Said(words, {"classes": (label,)})

    def _other_label(self) -> Said:
        label, _, noun = self._class()
        return Said({"other_noun": noun}, {"than": (label,)})

    def _two_labels(self) -> Said:
        one = two = self._class()
        while two[0] == one[0]:
            two = self._class()
        words = {
            **{"two_labels": f"{one[1]} or {two[1]}", "two_nouns": f"{one[2]} or {two[2]}"},
            **{"label_a": one[1], "label_b": two[1], "noun_a": one[2], "noun_b": two[2]},
        }
        return Said(words, {"classes": (one[0], two[0])})

    def _instead(self) -> Said:
        return Said({"instead": self._class()[2]})

    def _moment(self) -> Said:
        moment, forms = self._either("moments")
        noun, verb = forms.split("; ")
        return Said({"moment": noun, "begins": verb}, {"moments": (moment,)})

    def _moment_term(self) -> Said:
        moment = self.rng.choice(("onset", "apex", "offset"))
        return Said({"term": self.rng.choice((moment, f"the {moment}"))}, {"moments": (moment,)})

    def _bound(self, unit: Callable[[], tuple[str, float]], more: bool | None = None) -> Said:
        more = self.rng.random() < 0.5 if more is None else more
        # The others speak of time, or include the bound.
        lead = self.rng.choice(_MORE[:2] if more else _LESS[:2])
        said, value = unit()
        bound: Bound = ("more" if more else "less", value)
        return Said({"bound": f"{lead} {said}"}, {"bound": bound})

    def _time(self) -> tuple[str, float]:
        return self.rng.choice(list(_SECONDS.items()))

    def _seconds(self) -> Said:
        more = self.rng.random() < 0.5
        said, value = self._time()
        lead = self.rng.choice(_MORE if more else _LESS)
        bound: Bound = ("more" if more else "less", value)
        return Said({"seconds": f"{lead} {said}"}, {"bound": bound})

    def _less_time(self) -> Said:
        said, value = self._time()
        return Said({"less_time": said}, {"bound": ("less", value)})

    def _time_bound(self) -> Said:
        more, (said, value) = self.rng.random() < 0.5, self._time()
        lead = ("after", "later than") if more else ("before", "within", "earlier than")
        words = {"time_bound": f"{self.rng.choice(lead)} {said}"}
        return Said(words, {"bound": ("more" if more else "less", value)})

    def _px(self) -> Said:
        value = self.rng.choice((0.5, 1.0, 2.0, 3.0))
        number = f"{value:g} {self.rng.choice(('px', 'pixels'))}"
        said = self._bound(lambda: (number, value))
        return Said({"px": said.words["bound"]}, said.fields)

    def _percent(self) -> Said:
        value = self.rng.choice((20, 30, 50, 75))
        number = f"{value} {self.rng.choice(('%', 'percent'))}"
        lead, more = self.rng.choice((("above", True), ("more than", True), ("below", False)))
        return Said(
            {"percent": f"{lead} {number}"}, {"bound": ("more" if more else "less", value / 100)}
        )

    def _number(self) -> Said:
        word = self.rng.choice(list(_NUMBERS))
        value = float(_NUMBERS[word])
        # Of whole numbers: "at least two" is more than one.
        lead, kind, step = self.rng.choice(
            (
                *(("more than", "more", 0), ("over", "more", 0), ("at least", "more", -1)),
                *(("fewer than", "less", 0), ("less than", "less", 0), ("at most", "less", 1)),
            )
        )
        return Said({"number": f"{lead} {word}"}, {"bound": (kind, value + step)})


def _numbers(value: str) -> tuple[int, ...]:
    return tuple(map(int, value.split(",")))
