"""The offline text tower: a text's vector is composed of the action units that it speaks of.

No download is needed, and similarity between texts means something: those that share movements are
alike. A unit's vector holds the unit itself and what it moves where (`facs.ACTION_UNITS`), so that
units with similar movements are a little alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.errors import UserError
from deft_llm.facs import ACTION_UNITS, DIRECTIONS, REGIONS

EMOTION_AUS: dict[str, tuple[int, ...]] = {
    "anger": (4, 5, 7, 23),
    "disgust": (9, 10, 17),
    "fear": (1, 2, 4, 5, 20, 25),
    "happiness": (6, 12, 25),
    "sadness": (1, 4, 15, 17),
    "surprise": (1, 2, 5, 26),
    "contempt": (14,),
    "repression": (14, 17, 24),
    "positive": (6, 12),
    "negative": (4, 7, 9, 15),
}
"""The units that an emotion's word stands for (EMFACS; the last three are our own)."""
_WORDS = {
    "anger": "anger angry furious rage annoyed enraged mad",
    "disgust": "disgust disgusted revolted repulsed",
    "fear": "fear fearful afraid scared frightened terrified",
    "happiness": "happiness happy joy joyful cheerful glad pleased",
    "sadness": "sadness sad unhappy sorrow sorrowful gloomy grieving",
    "surprise": "surprise surprised astonished amazed startled",
    "contempt": "contempt contemptuous scorn scornful",
    "repression": "repression repressed suppressed",
    "positive": "positive",
    "negative": "negative",
}
_EMOTION_OF = {word: emotion for emotion, words in _WORDS.items() for word in words.split()}
_PHRASES: dict[str, tuple[int, ...]] = {
    r"(smil\w*|grin\w*|(lip|mouth) corners? (up|raised|pulled up))": (12,),
    r"laugh\w*": (6, 12, 25, 26),
    r"rais\w* inner (eye ?)?brows?|inner (eye ?)?brows? (up|rais\w*)": (1,),
    r"rais\w* outer (eye ?)?brows?|outer (eye ?)?brows? (up|rais\w*)": (2,),
    r"rais\w* (the )?(eye ?)?brows?|(eye ?)?brows? (up|rais\w*)": (1, 2),
    r"frown\w*|lower\w* (the )?(eye ?)?brows?|(eye ?)?brows? (down|lower\w*|drawn together)": (4,),
    r"wide eyes?|eyes? wide( open)?|widen\w* eyes?|upper lids? (up|rais\w*)": (5,),
    r"rais\w* cheeks?|cheeks? (up|rais\w*)": (6,),
    r"squint\w*|(tight\w*|narrow\w*) (eyes?|lids?)": (7,),
    r"wrinkl\w* (the )?nose|nose wrinkl\w*": (9,),
    r"rais\w* upper lip|upper lip (up|rais\w*)": (10,),
    r"dimpl\w*": (14,),
    r"(lip|mouth) corners? (down|lower\w*|pulled down)": (15,),
    r"lower lip (down|lower\w*)": (16,),
    r"rais\w* chin|chin (up|rais\w*)": (17,),
    r"pout\w*|pucker\w*|kiss\w*": (18,),
    r"stretch\w* lips?|lips? stretch\w*": (20,),
    r"funnel\w*": (22,),
    r"tight\w* lips?|lips? tight\w*": (23,),
    r"press\w* lips?|lips? press\w*": (24,),
    r"(open|part\w*) lips?|lips? (open|part\w*|apart)": (25,),
    r"(open|gaping) mouth|mouth open|jaw (drop\w*|down)|drop\w* jaw": (25, 26),
    r"clos\w* eyes?|eyes? clos\w*": (43,),
}
# In this order, special phrases before general ones: each takes its words out of the text.
_FINDERS = [(re.compile(rf"\b(?:{phrase})\b"), aus) for phrase, aus in _PHRASES.items()]
_NAMED = [
    (re.compile(rf"\b{re.escape(au.name)}s?\b"), (number,)) for number, au in ACTION_UNITS.items()
]
# A unit as coders write it: "12"; "L12" and "T12" with its place, "12B" with its intensity.
_UNIT = r"[alrtb]{0,2}\d+[a-ex]?"
_FIRST = (
    rf"\b(?:aus?|action units?)\s*{_UNIT}"
    rf"|(?<![\w.]){_UNIT}(?=\+\w|\s+\+\s)"  # "4 + 12", but not "a 2+ year old"
    rf"|(?<=\+)\s*{_UNIT}"
)
_AND = r"(?:[\s+,/&]|(?:and|or)\b)+"
_CODES = re.compile(rf"(?:{_FIRST})(?:{_AND}(?:aus?\s*)?{_UNIT})*\b")
_STILL = re.compile(r"\b(neutral|still|at rest|relaxed|blank)\b")
_MOVED = 0.5  # weight of what a unit moves, beside the unit itself


def aus_in(text: str) -> tuple[int, ...] | None:
    """The action units that a text speaks of, sorted.

    Codes ("AU6+12", "4 + 12"), the names of FACS and plain words ("smile") count; emotion words
    ("a happy face") only where nothing of this kind is found.

    Returns:
        The numbers; empty for a neutral face, None if it speaks of no movement.

    Raises:
        UserError: If a code is that of no unit.
    """
    plain = text.lower().replace("-", " ").replace("_", " ")
    found = {int(n) for codes in _CODES.findall(plain) for n in re.findall(r"\d+", codes)}
    if unknown := found - set(ACTION_UNITS):
        raise UserError(
            f"prompt {text!r}: AU{min(unknown)} is no action unit that the offline text tower "
            f"knows; expected some of {', '.join(map(str, sorted(ACTION_UNITS)))}"
        )
    for finder, aus in (*_NAMED, *_FINDERS):
        # What was understood is taken out: an inner brow that is raised is no raised brow as well.
        plain, times = finder.subn(" ", plain)
        found.update(aus if times else ())
    if not found:
        for word in re.findall(r"[a-z]+", plain):
            found.update(EMOTION_AUS[_EMOTION_OF[word]] if word in _EMOTION_OF else ())
    if found:
        return tuple(sorted(found))
    return () if _STILL.search(plain) else None


def au_phrase(aus: Iterable[int]) -> str:
    """A combination in words: "a face with lip corner puller (AU12), ..."."""
    named = [f"{ACTION_UNITS[n].name} (AU{n})" for n in sorted(aus)]
    return f"a face with {', '.join(named)}" if named else "a neutral face"


@lru_cache(maxsize=1)
def _table() -> tuple[dict[int, int], NDArray[np.float32]]:
    """Row of each unit, and the rows (units + 1, E); the last is the neutral face."""
    numbers = sorted(ACTION_UNITS)
    # Both sides of the face are one place: a text does not say which side moves.
    kinds = sorted({r.name.removeprefix("left ").removeprefix("right ") for r in REGIONS.values()})
    moves = np.zeros((len(numbers), len(kinds) * len(DIRECTIONS)), np.float32)
    for row, number in enumerate(numbers):
        for movement in ACTION_UNITS[number].movements:
            at = kinds.index(movement.region) * len(DIRECTIONS)
            moves[row, at + DIRECTIONS.index(movement.directions[0])] = 1  # main direction
    length = np.linalg.norm(moves, axis=1, keepdims=True)
    # Same length for all, so that a unit with many movements weighs no more; 1 for one with none.
    moves *= _MOVED / np.maximum(length, 1)
    # The neutral face has a column of its own, so it is orthogonal to every unit.
    table = np.zeros((len(numbers) + 1, len(numbers) + 1 + moves.shape[1]), np.float32)
    table[:, : len(numbers) + 1] = np.eye(len(numbers) + 1)
    table[:-1, len(numbers) + 1 :] = moves
    return {number: row for row, number in enumerate(numbers)}, table


class AuTextTower:
    """The tower; see the module."""

    name = "composed of action units"

    def __init__(self) -> None:
        self.width = _table()[1].shape[1]

    def of_aus(self, combinations: Sequence[Iterable[int]]) -> Tensor:
        """Unit vectors (K, E) of combinations of units; an empty one is the neutral face."""
        rows, table = _table()
        sums = [
            table[[rows[number] for number in sorted(set(aus))]].sum(axis=0) if aus else table[-1]
            for aus in map(tuple, combinations)
        ]
        vectors = torch.from_numpy(np.stack(sums))
        return vectors / vectors.norm(dim=-1, keepdim=True)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (K, E) of texts.

        Raises:
            UserError: If a text speaks of no movement, or of a unit that is none.
        """
        found = [(text, aus_in(text)) for text in texts]
        for text, aus in found:
            if aus is None:
                raise UserError(
                    f"prompt {text!r}: no movement in it that the offline text tower knows; name "
                    "action units (AU6+12), movements (a smile, raised brows) or a basic emotion, "
                    "or use a network with CLIP's text tower"
                )
        return self.of_aus([aus or () for _, aus in found])
