"""Question and query pairs: many thousands of phrasings, composed from patterns and a vocabulary.

The patterns are in ``templates/queries/``, what they speak of is in ``query_slots.py``. Manners,
letter case and typing errors are drawn on top. Beside questions about a clip there are follow-ups,
questions that no face can answer, and text that asks nothing about a clip. A yes/no question is
drawn until its answer is the one that is wanted, so that "yes" is right half of the time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.config import read_yaml
from deft_llm.queries import followup
from deft_llm.queries.query import TALK, Query, parse_query
from deft_llm.resources import templates
from deft_llm.unimer.query_slots import Said, Slots

_ALONE = ("motion", "time", "reading")
_PERSONS = ("she", "she", "he", "he", "they", "the person", "the woman", "the man", "this person")
_STRANGERS = (
    *("this person", "this guy", "the subject", "that woman", "the girl", "the patient", "my boss"),
    *("my wife", "the suspect", "somebody", "the applicant", "this man", "my son", "the witness"),
)
_OWNERS = ("her", "his", "their", "the", "the person's")
_MOVEMENTS = ("it", "it", "it", "the expression", "the movement", "this", "that", "the motion")
_OPENINGS = (
    *("", "", "", "", "", "", "", "please, ", "can you tell me ", "hi, ", "ok, ", "so, ", "and "),
    *("tell me, ", "could you tell me ", "i would like to know ", "do you know ", "well, ", "hm, "),
    *("quick question: ", "sorry, ", "just tell me ", "i wonder, ", "in the clip, ", "now "),
    *("just checking, ", "out of curiosity, ", "one more: ", "next: ", "honestly, ", "be honest, "),
    *("hey, ", "pls ", "as far as you can see, ", "in your opinion, ", "once more, ", "question: "),
)
_POLAR_ENDINGS = (
    *(" or not?", ", yes or no?", ", right?", ", or?", ", true?", ", or no?", " or what?", ", eh?"),
    *(
        ", agree?",
        ", am i right?",
        ", you think?",
        " by any chance?",
        " maybe?",
        ", would you say?",
    ),
)
_ENDINGS = (
    *(*("?",) * 8, "", "", "", "??", ", please?", " please", " in this clip?", " here?", ".", "!"),
    *("...", " ?", " then?", " there?", " in this one?", " for me?"),
)
_AHEAD = re.compile(r"^(?:did|does|do|is|was|are|were|has|have)(?: there)? ")
_SUBJECT = {"him": "he", "her": "she", "them": "they"}
_OBJECT = {"he": "him", "she": "her", "they": "them"}
_AUXILIARIES = frozenset(
    "is was does did has will would can could should are were do have if that when because".split()  # noqa: SIM905
)
_ERRORS = 0.15  # share of the questions with a typing error
_DOUBTED = 0.12  # share of the yes/no questions that end in "or not?" or the like
_CLIPPED = 0.1  # share of them that leave out the verb at their head: "the left brow moving?"
_TRIES = 30
_LONG = 6  # words of a question that is taken to stand for itself
_SIDED = ("moved?", "direction?", "magnitude", "direction", "moved", "au?")


@dataclass(frozen=True)
class Pair:
    """A question, what it asks, and what was asked before it.

    Attributes:
        question: As somebody may type it.
        query: What it asks.
        before: The question before it, to which it refers; empty if it stands alone.
        earlier: What the question before it asks; None if it stands alone.
    """

    question: str
    query: Query
    before: str = ""
    earlier: Query | None = None


class QueryQuestions:
    """Draws questions with their queries."""

    def __init__(self, rng: random.Random, folder: Path | None = None) -> None:
        """Read the patterns.

        Args:
            rng: Draws everything.
            folder: Folder of ``queries/``; None for the one in the package.
        """
        self.rng = rng
        path = (folder or templates()) / "queries"
        self.words: dict[str, Any] = dict(read_yaml(path / "words.yaml"))
        self.slots = Slots(rng, self.words)
        self.patterns: dict[str, list[str]] = {}
        for name in _ALONE:
            self.patterns |= read_yaml(path / f"{name}.yaml")
        self.follow: list[dict[str, Any]] = read_yaml(path / "follow.yaml")["turns"]
        # Sentences are equally frequent: what is asked in many ways is asked often.
        self.sentences = [len(turn["says"]) for turn in self.follow]
        self.topics: dict[str, list[str]] = dict(read_yaml(path / "beyond.yaml"))
        self.strange: list[str] = read_yaml(path / "elsewhere.yaml")["texts"]

    def drawing(self, rng: random.Random) -> QueryQuestions:
        """The same patterns, drawn by another generator."""
        own = copy(self)
        own.rng, own.slots = rng, Slots(rng, self.words)
        return own

    def pair(self) -> Pair:
        """A question of any kind about a clip, or about the chat."""
        return self._written(self._pattern())

    def _pattern(self) -> str:
        """A pattern; kinds are equally frequent, so that "moved?" is no more so than "blink?"."""
        kinds = sorted({name.split()[0] for name in self.patterns})
        kind = self.rng.choice(kinds)
        return self.rng.choice([name for name in self.patterns if name.split()[0] == kind])

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

    def beyond(self) -> Pair:
        """A question that the motion of a face cannot answer."""
        topic = self.rng.choice(list(self.topics))
        said = self._fill(self.rng.choice(self.topics[topic]), self._extra())
        return Pair(self._typed(said), Query("decline", topic=topic))

    def elsewhere(self) -> Pair:
        """A text that asks nothing about a clip."""
        said = self._fill(self.rng.choice(self.strange), self._extra())
        return Pair(self._typed(said), Query("unknown"))

    def follow_up(self) -> Pair:
        """A short question that needs the one before it."""
        while True:
            turn = self.rng.choices(self.follow, self.sentences)[0]
            before = self._written(self._known(self.rng.choice(turn["after"])))
            found = self._becoming(turn["becomes"], before.query)
            if found is not None:
                query, said = found
                text = self._fill(self.rng.choice(turn["says"]), said)
                return Pair(self._typed(text, plain=True), query, before.question, before.query)

    def later(self, pair: Pair) -> Pair:
        """The same question after another one, to which it does not refer.

        Short questions, and those that would take over what the other one names, stay alone.
        """
        before = self._written(self._known(self.rng.choice(self.rng.choice(self.follow)["after"])))
        asked, words = pair.query, pair.question.split()
        named = asked.regions or asked.aus or asked.classes
        apart = named or followup.inherited(before.query, asked) is None
        if asked.kind in TALK or (apart and len(words) >= _LONG):
            return replace(pair, before=before.question, earlier=before.query)
        return pair

    def _known(self, name: str) -> str:
        """The pattern of this name; with a side asked for besides, the one without it."""
        return name if name in self.patterns else name.removesuffix(" {side}")

    def _becoming(self, becomes: str, before: Query) -> tuple[Query, dict[str, str]] | None:
        """What a question before becomes, and the words for what is new."""
        if becomes == "other side":
            query = followup.swapped(before)
            return (query, {}) if query else None
        if becomes == "same both":
            query = replace(before, sides=("left", "right"))
            return (query, {}) if _has_sides(before) else None
        if becomes.startswith("rank "):
            return replace(before, rank=becomes.split()[1]), {}
        line, said, fields = self._drawn(becomes)
        if line == "same":
            if "sides" in fields and set(fields) == {"sides"} and not _has_sides(before):
                return None
            query = followup.replaced(before, {k: v for k, v in fields.items() if v}, None)
            return (query, said) if query else None
        alone = line.startswith("fresh ")
        asked = replace(parse_query(line.removeprefix("fresh ")), **fields)
        inherited = None if alone else followup.inherited(before, asked)
        return inherited or asked, said

    def _written(self, name: str) -> Pair:
        line, said, fields = self._drawn(name)
        more = fields.pop("more", ())
        query = replace(parse_query(line), **fields)
        query = replace(query, regions=(*query.regions, *more))
        text = self._fill(self.rng.choice(self.patterns[name]), said)
        if query.polar and self.rng.random() < _CLIPPED:
            text = _AHEAD.sub("", text)
        if query.polar and self.rng.random() < _DOUBTED:
            text += self.rng.choice(_POLAR_ENDINGS)
        return Pair(self._typed(text, plain=query.kind == "greet"), query)

    def _drawn(self, name: str) -> tuple[str, dict[str, str], dict[str, Any]]:
        """The fixed part of a pattern's query, the words of its slots and their fields."""
        said: dict[str, str] = {}
        fields: dict[str, Any] = {}
        for slot in re.findall(r"\{(\w+)\}", name):
            drawn: Said = self.slots.draw(slot)
            said |= drawn.words
            fields |= drawn.fields
        return " ".join(re.sub(r"\{\w+\}", "", name).split()), said, fields

    def _extra(self) -> dict[str, str]:
        """Words of a clip for texts that only seem to be about one."""
        words = [self.slots.draw(slot).words for slot in ("place", "label", "act", "unit")]
        said = {name: word for each in words for name, word in each.items()}
        names = ("place_word", "place_word_b", "place_word_c")
        bare = [self.slots.draw("pair").words["pair"] for _ in names[1:]]
        return {**said, **dict(zip(names, (said["place"].split(" ", 1)[-1], *bare), strict=True))}

    def _fill(self, text: str, said: dict[str, str]) -> str:
        """A sentence of a pattern with its choices made and its slots filled."""
        while "[" in text:
            text = re.sub(r"\[([^\[\]]*)\]", lambda m: self.rng.choice(m[1].split("|")), text)
        for _ in range(3):  # words of a list may have slots themselves
            text = re.sub(r"\{(\w+)\}", lambda m: self._word(m[1], said), text)
        return _in_case(" ".join(text.split()).replace(" ,", ",").replace(" :", ":"))

    def _word(self, name: str, said: dict[str, str]) -> str:
        if name in said:
            return said[name]
        if name == "who":
            return self.rng.choice(_PERSONS if self.rng.random() < 0.7 else _STRANGERS)
        if name == "whose":
            return self.rng.choice(_OWNERS)
        if name == "it":
            return self.rng.choice(_MOVEMENTS)
        if name == "digit":
            return str(self.rng.randint(0, 99))
        if name == "word":
            lists = [self.words[each] for each in ("thing", "verb", "adjective", "trait")]
            return self.rng.choice(self.rng.choice(lists).split("|"))
        listed: str = self.words[{"things": "thing", "other_thing": "thing"}.get(name, name)]
        return self.rng.choice(listed.split("|")) + "s" * (name == "things")

    def _typed(self, text: str, plain: bool = False) -> str:
        """A sentence as somebody may type it; ``plain`` without opening."""
        if self.rng.random() < _ERRORS:
            text = self._misspelt(text)
        opening = "" if plain else self.rng.choice(_OPENINGS)
        text = f"{opening}{text}{self.rng.choice(_ENDINGS[:12] if plain else _ENDINGS)}"
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


def _has_sides(query: Query) -> bool:
    """Whether a query is about something that is on both sides of the face."""
    return bool(query.aus) or bool(query.regions and not set(query.regions) & facs.REGIONS.keys())


def _in_case(text: str) -> str:
    """A sentence whose pronouns stand as subjects after a verb such as "is", else as objects."""
    words = text.split(" ")
    for i, word in enumerate(words):
        ahead = words[i - 1].lower() if i else "is"
        subject = ahead in _AUXILIARIES or ahead.endswith("n't")
        if subject and word in {"him", "them"}:
            words[i] = _SUBJECT[word]
        elif not subject and word in _OBJECT and not _begins(words, i):
            words[i] = _OBJECT[word]
    return " ".join(words)


def _begins(words: list[str], i: int) -> bool:
    """Whether a pronoun begins a clause: a verb in "-s" or "is" follows it."""
    follows = words[i + 1] if i + 1 < len(words) else ""
    return follows in _AUXILIARIES or follows.rstrip("?,.!").endswith(("s", "ed"))
