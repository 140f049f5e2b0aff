"""The phrases of the vocabulary, by the stems of their words, and where a question has them.

A phrase is compared without articles and possessives, the longest first: "corners of her mouth" and
"mouth corner" are the same region.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from deft_llm.queries import spelling, vocabulary
from deft_llm.queries.cues import CUES

_SKIPPED = frozenset("the a an his her their its my your our this that these those".split())  # noqa: SIM905
_LONGEST = 6


@dataclass(frozen=True)
class Mark:
    """A phrase that was recognised.

    Attributes:
        concept: "region", "side", "way", "au", "class", "moment", "pair" or a cue's name.
        value: What it names; of a cue, empty.
        at: Index of its first word.
        to: Index after its last word.
    """

    concept: str
    value: str
    at: int
    to: int


class Lexicon:
    """All phrases, by stems."""

    def __init__(self) -> None:
        self.phrases: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        self.known: dict[str, str] = {}
        for concept, table in (
            ("region", vocabulary.REGIONS),
            ("side", vocabulary.SIDES),
            ("way", vocabulary.WAYS),
            ("class", vocabulary.CLASSES),
            ("moment", vocabulary.MOMENTS),
        ):
            for value, listed in table.items():
                self._add(concept, value, listed)
        for phrase, aus in vocabulary.au_phrases().items():
            self._add("au", ",".join(map(str, aus)), phrase)
        for aus, (_, listed) in vocabulary.PAIRS.items():
            self._add("pair", ",".join(map(str, aus)), listed)
        for cue, listed in CUES.items():
            self._add(cue, "", listed)

    def _add(self, concept: str, value: str, listed: str) -> None:
        for phrase in listed.split("|"):
            words = [word for word in spelling.split(phrase) if word not in _SKIPPED]
            self.phrases.setdefault(tuple(map(spelling.stem, words)), []).append((concept, value))
            self.known.update({spelling.stem(word): word for word in words})

    @lru_cache(maxsize=8192)  # noqa: B019 - there is one lexicon
    def mend(self, word: str) -> str:
        """The word of a phrase that a misspelt word most likely is, else the word itself."""
        return spelling.mend(word, self.known)

    def marks(self, words: list[str]) -> Iterator[Mark]:
        """The phrases in some words, from left to right, without overlap."""
        kept = [i for i, word in enumerate(words) if word not in _SKIPPED]
        stems = [spelling.stem(words[i]) for i in kept]
        at = 0
        while at < len(kept):
            for length in range(min(_LONGEST, len(kept) - at), 0, -1):
                said = tuple(stems[at : at + length])
                # "Inner end of her left eyebrow": the side stands inside the name of the region.
                inner = [i for i in range(1, length - 1) if said[i] in vocabulary.SIDES]
                bare = tuple(s for i, s in enumerate(said) if i not in inner)
                found = self.phrases.get(bare, [])
                if inner:
                    found = [(concept, value) for concept, value in found if concept == "region"]
                if found:
                    last = kept[at + length - 1] + 1
                    yield from (Mark(concept, value, kept[at], last) for concept, value in found)
                    for i in (kept[at + i] for i in inner):
                        yield Mark("side", words[i], i, i + 1)
                    at += length
                    break
            else:
                at += 1


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The phrases of the package."""
    return Lexicon()
