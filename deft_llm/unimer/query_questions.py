"""Question and query pairs: thousands of phrasings, composed from the vocabulary and few patterns.

The patterns are in ``templates/queries.yaml``, the words for regions, actions and emotions are
those by which questions are understood (``queries/vocabulary.py``). Manners, letter case and typing
errors are drawn on top. A yes/no question is drawn until its answer is the one that is wanted, so
that "yes" is right half of the time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.config import read_yaml
from deft_llm.queries import vocabulary
from deft_llm.queries.query import PARTS, Query, expand
from deft_llm.resources import templates

_PERSONS = ("she", "he", "the person", "they")
_OPENINGS = ("", "", "", "please, ", "can you tell me: ", "hi, ", "ok, ", "tell me, ")
_ENDINGS = ("?", "?", "?", "", "??", ", please?")
_VERBS = {"onset": ("start", "begin"), "apex": ("peak",), "offset": ("end", "stop")}
_LABELS = tuple(name for name in facs.EMOTIONS if name not in {"others", "repression"})
# Fields that every question of a kind has here.
_FIXED: dict[str, dict[str, Any]] = {
    "count": {"of": "regions"},
    "compare": {"rank": "most"},
    "order": {"rank": "first"},
}
_SIDED = ("left", "right")
_ERRORS = 0.15  # share of the questions with a typing error
_TRIES = 20


@dataclass(frozen=True)
class Pair:
    """A question, what it asks, and what was asked before it.

    Attributes:
        question: As somebody may type it.
        query: What it asks.
        before: The question before it, to which it refers; empty if it stands alone.
    """

    question: str
    query: Query
    before: str = ""


class QueryQuestions:
    """Draws questions with their queries."""

    def __init__(self, rng: random.Random, folder: Path | None = None) -> None:
        """Read the patterns.

        Args:
            rng: Draws everything.
            folder: Folder of ``queries.yaml``; None for the one in the package.
        """
        self.rng = rng
        path = (folder or templates()) / "queries.yaml"
        self.patterns: dict[str, list[str]] = dict(read_yaml(path))

    def pair(self) -> Pair:
        """A question of any kind."""
        name = self.rng.choice([name for name in self.patterns if not name.startswith("follow")])
        return self._written(name)

    def polar(self, yes: bool, holds: Callable[[Query], bool | None]) -> Pair | None:
        """A yes/no question about a clip with the answer that is wanted.

        Args:
            yes: The answer.
            holds: Whether yes is right for a query about the clip; None if it cannot be told.

        Returns:
            The pair; None if none was found.
        """
        names = [name for name in self.patterns if "?" in name]
        for _ in range(_TRIES):
            pair = self._written(self.rng.choice(names))
            if holds(pair.query) is yes:
                return pair
        return None

    def follow_up(self) -> Pair:
        """A short question that needs the one before it."""
        name = self.rng.choice(("follow_side", "follow_place", "follow_label"))
        if name == "follow_label":
            before = self._written(self.rng.choice(("emotion?", "probability", "why_not")))
            label, words = self._label()
            query = replace(before.query, classes=(label,))
            return Pair(self._fill(name, {"noun": words[1]}), query, before.question)
        before = self._written(self.rng.choice(("moved?_place", "direction?", "magnitude")))
        if name == "follow_place":
            place, fields = self._place()
            query = replace(before.query, **fields)
            return Pair(self._fill(name, {"place": place}), query, before.question)
        side = self.rng.choice(_SIDED)
        before = replace(before, query=replace(before.query, sides=()))
        if not before.query.regions or set(before.query.regions) <= facs.REGIONS.keys():
            return self.follow_up()  # the middle of the face has no sides
        query = replace(before.query, sides=(side,))
        return Pair(self._fill(name, {"side": side}), query, before.question)

    def _written(self, name: str) -> Pair:
        # "moved?_place" is the kind "moved?" with a place; "side_difference" is a kind.
        kind, asks, what = name.partition("?_")
        kind, what = ("moved", "place") if name == "moved_place" else (kind + asks[:1], what)
        query = Query(kind.removesuffix("?"), polar="?" in kind)
        fields: dict[str, str] = {"who": self.rng.choice(_PERSONS)}
        if what == "place" or query.kind in {"direction", "magnitude"}:
            fields["place"], where = self._place()
            query = replace(query, **where)
        if kind == "direction?":
            way = self.rng.choice(("up", "down", "inward", "outward"))
            fields["way"], query = way, replace(query, directions=(way,))
        if query.kind == "when":
            moment = self.rng.choice(list(_VERBS))
            fields["moment"] = self.rng.choice(_VERBS[moment])
            query = replace(query, moments=(moment,))
        if kind in {"emotion?", "probability", "why_not"}:
            label, (fields["label"], fields["noun"]) = self._label()
            query = replace(query, classes=(label,))
        if kind == "au?":
            fields["unit"], aus = self._unit(what == "number")
            query = replace(query, aus=aus)
        query = replace(query, **_FIXED.get(query.kind, {}))
        return Pair(self._fill(name, fields), query)

    def _place(self) -> tuple[str, dict[str, Any]]:
        """Some regions in words, and the fields of a query about them."""
        name = self.rng.choice(list(vocabulary.REGIONS))
        phrase = self.rng.choice(vocabulary.REGIONS[name].split("|")[:2])
        parts = tuple(part for part in PARTS if part in expand((name,)))
        if self.rng.random() < 0.5 or set(parts) & facs.REGIONS.keys() or " of " in phrase:
            return f"the {phrase}", {"regions": parts, "sides": ()}
        side = self.rng.choice(_SIDED)
        return f"the {side} {phrase.removesuffix('s')}", {"regions": parts, "sides": (side,)}

    def _label(self) -> tuple[str, tuple[str, str]]:
        """A label with its adjective and its noun."""
        label = self.rng.choice(_LABELS)
        phrases = vocabulary.CLASSES[label].split("|")
        return label, (phrases[0], label)

    def _unit(self, number: bool) -> tuple[str, tuple[int, ...]]:
        if number:
            unit = self.rng.choice([au for au in facs.ACTION_UNITS.values() if au.movements])
            return self.rng.choice((f"AU{unit.number}", f"AU {unit.number}", f"the {unit.name}")), (
                unit.number,
            )
        aus, said = self.rng.choice([(aus, said) for aus, said in vocabulary.ACTIONS.items()])
        return said.split("|")[0], aus

    def _fill(self, name: str, fields: dict[str, str]) -> str:
        text = self.rng.choice(self.patterns[name])
        text = re.sub(r"\[([^\[\]]*)\]", lambda m: self.rng.choice(m[1].split("|")), text)
        text = " ".join(text.format(**fields).split())
        if self.rng.random() < _ERRORS:
            text = self._misspelt(text)
        text = f"{self.rng.choice(_OPENINGS)}{text}{self.rng.choice(_ENDINGS)}"
        return self.rng.choice((str, str.capitalize, str.capitalize, str.lower, str.upper))(text)

    def _misspelt(self, text: str) -> str:
        """Two neighbouring letters of a longer word exchanged, or one left out."""
        words = text.split(" ")
        long = [i for i, word in enumerate(words) if len(word) > 5 and word.isalpha()]
        if not long:
            return text
        i = self.rng.choice(long)
        word, at = words[i], self.rng.randrange(1, len(words[i]) - 2)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[i] = swapped if self.rng.random() < 0.5 else word[:at] + word[at + 1 :]
        return " ".join(words)
