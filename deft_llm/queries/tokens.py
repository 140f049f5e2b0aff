"""A question as the parser network takes it: its words, what they name, and what was asked before.

The first token stands for the query before (its kind and which fields it has); the others are the
mended words. Each has tags: the concepts of the lexicon that it is part of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deft_llm.queries.lexicon import lexicon
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import KINDS, Query

#: Tokens of a question, the first for what was asked before; later words are left out.
LENGTH = 32
#: Tags of a token; further ones are left out.
MOST_TAGS = 6
#: Word numbers: no token, a word that is not in the vocabulary, a number.
NOTHING, UNKNOWN, NUMBER = 0, 1, 2
SPECIAL = 3
_FIELDS = ("regions", "sides", "directions", "aus", "classes", "moments", "than")
_ALONE = "before:alone"

Token = tuple[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def tags() -> tuple[str, ...]:
    """All tags, in the order of their numbers from 1 on."""
    concepts = {concept for found in lexicon().phrases.values() for concept, _ in found}
    before = (_ALONE, "before:polar", *(f"before:{name}" for name in (*KINDS, *_FIELDS)))
    return (*sorted(concepts), "side:both", "side:other", *before)


def tokens(asked: Asked, before: Query | None) -> list[Token]:
    """Words with their tags, after one token for the query before."""
    named: list[list[str]] = [[] for _ in asked.words]
    for mark in asked.marks:
        for i in range(mark.at, mark.to):
            named[i].append(mark.concept)
            if mark.concept == "side" and mark.value in {"both", "other"}:
                named[i].append(f"side:{mark.value}")
    words = [(word, tuple(found)) for word, found in zip(asked.words, named, strict=True)]
    return [("", _earlier(before)), *words][:LENGTH]


def _earlier(before: Query | None) -> tuple[str, ...]:
    if before is None:
        return (_ALONE,)
    fields = [f"before:{name}" for name in _FIELDS if getattr(before, name)]
    return (f"before:{before.kind}", *["before:polar"] * before.polar, *fields)


def encode(
    questions: Sequence[Sequence[Token]], vocabulary: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the words (B, 32) and of their tags (B, 32, 6), 0 where there is none.

    Args:
        questions: Tokens of some questions.
        vocabulary: Word -> its number.
    """
    number = {tag: i for i, tag in enumerate(tags(), start=1)}
    words = np.full((len(questions), LENGTH), NOTHING, np.int64)
    named = np.zeros((len(questions), LENGTH, MOST_TAGS), np.int64)
    for row, question in enumerate(questions):
        for i, (word, found) in enumerate(question):
            if i:
                digit = word[:1].isdigit()
                words[row, i] = NUMBER if digit else vocabulary.get(word, UNKNOWN)
            for k, tag in enumerate(found[:MOST_TAGS]):
                named[row, i, k] = number[tag]
    return words, named
