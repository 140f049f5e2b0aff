"""Labels and structured answers: the vocabulary shared by data, model and scores.

A structured answer is a JSON object with a class, an emotion, AU codes, evidence (region,
direction, strength) and a rationale. ``structured_answer`` writes it, ``parse_structured_answer``
and ``stated_claims`` parse an answer for scoring; the wording itself is in ``unimer``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from deft_llm import facs
from deft_llm.clip import Evidence, Interval
from deft_llm.errors import UserError

NOTHING = "none"
COARSE_LABELS: tuple[str, ...] = (*facs.THREE_CLASSES, "others", NOTHING)
# The tiny tokenizer has one token for each of these: the fixed parts of the structured answer and
# the terms of its content, so that each decision of the model is a single token.
_TERMS = (*facs.REGIONS, *(d for d in facs.DIRECTIONS if " " in d))
PIECES: tuple[str, ...] = (
    *('{"class": "', '", "emotion": "', '", "aus": [', '], "evidence": [', '], "rationale": "'),
    *('{"region": "', '"}, {"region": "', '", "direction": "', '", "strength": "', '"}'),
    *(f'"{side}{number}"' for number in facs.ACTION_UNITS for side in ("", "L", "R")),
    *_TERMS,
    *(f" {term}" for term in _TERMS),
)
PLURALS = {"upper lip": "halves of the upper lip", "lower lip": "halves of the lower lip"}
# Upper limits of magnitude in canonical pixels for each word: our own choice.
STRENGTHS: tuple[tuple[float, str], ...] = ((0.4, "slight"), (1.0, "moderate"))
STRONGEST = "marked"


@dataclass(frozen=True)
class Facts:
    """The facts that a text about one clip may state.

    Attributes:
        emotion: One of ``facs.LABELS``, or None for no expression (or none visible). An emotion
            without AUs is a label alone: nobody coded the AUs.
        aus: Coded AUs, each once: those coded on both sides are joined.
        evidence: Statements on which flow and label agree, in the order of ``facs.REGIONS``.
        returns: The same regions in the offset phase, if they move back.
        unexplained: Active regions that no coded AU explains; texts never mention them.
        interval: Onset, apex and offset, frames of the clip; None if unknown.
        fps: Frames per second; None if unknown.
    """

    emotion: str | None
    aus: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    returns: tuple[Evidence, ...] = ()
    unexplained: tuple[Evidence, ...] = ()
    interval: Interval | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        # Texts name each AU once, and the grammar of the answers allows no more.
        joined = {facs.au_number(code): code for code in facs.join_sides(self.aus)}
        object.__setattr__(self, "aus", tuple(joined.values()))
        for name in ("evidence", "returns"):
            rows = tuple(_joined(row, joined) for row in getattr(self, name))
            object.__setattr__(self, name, rows)

    @property
    def label_alone(self) -> bool:
        """Whether the clip has an emotion and no AU coding, so that nothing else may be stated."""
        return self.emotion is not None and not self.aus

    @property
    def coarse(self) -> str:
        """Three-class label, "others" or "none"."""
        return coarse_label(self.emotion or NOTHING)


def _joined(row: Evidence, joined: dict[int, str]) -> Evidence:
    """A statement with its AUs as the facts name them."""
    codes = facs.sort_aus(joined.get(facs.au_number(code), code) for code in row.aus)
    return row if codes == row.aus else replace(row, aus=codes)


def coarse_label(label: str) -> str:
    """The member of ``COARSE_LABELS`` for an emotion or a coarse label."""
    return NOTHING if label == NOTHING else facs.to_three(label) or "others"


def au_name(code: str) -> str:
    """For example "AU12 lip corner puller on the left"."""
    side = {"L": " on the left", "R": " on the right"}.get(code[0], "")
    return facs.ACTION_UNITS[facs.au_number(code)].label + side


def strength(magnitude: float) -> str:
    """A word for a magnitude in canonical pixels: slight < 0.4 <= moderate < 1.0 <= marked."""
    return next((word for limit, word in STRENGTHS if magnitude < limit), STRONGEST)


def structured_answer(
    label: str, emotion: str, aus: Sequence[str], evidence: Sequence[Evidence], rationale: str
) -> str:
    """Write a structured answer.

    Args:
        label: One of ``COARSE_LABELS``.
        emotion: The emotion, or the label where none is told apart.
        aus: AU codes.
        evidence: Rows of the evidence; their magnitudes are told as words.
        rationale: The reasons, in prose.
    """
    rows = [
        {"region": e.region, "direction": e.direction, "strength": strength(e.magnitude)}
        for e in evidence
    ]
    # Order and separators are those of PIECES and of the grammar that generation is held to.
    return json.dumps(
        {
            "class": label,
            "emotion": emotion,
            "aus": list(aus),
            "evidence": rows,
            "rationale": rationale,
        }
    )


def parse_structured_answer(text: str) -> dict[str, Any] | None:
    """Parse a structured answer; None if it is not a valid record."""
    # The text comes from a model, so anything can be in it: every failure means "not valid". Deep
    # nesting overflows the JSON parser, hence RecursionError.
    try:
        record = json.loads(text.strip())
        valid = (
            record["class"] in COARSE_LABELS
            and isinstance(record["rationale"], str)
            and isinstance(record["aus"], list)
            and isinstance(record["evidence"], list)
            and all(facs.au_number(code) in facs.ACTION_UNITS for code in record["aus"])
            and all(
                row["region"] in facs.REGIONS
                # Raises for a direction that this side of the face does not have.
                and facs.direction_vector(row["direction"], facs.REGIONS[row["region"]].side)
                for row in record["evidence"]
            )
        )
    except (ValueError, KeyError, TypeError, AttributeError, UserError, RecursionError):
        return None
    return record if valid else None


_PARTS = sorted({name.partition(" ")[2] for name in facs.REGIONS if " " in name}, key=len)
_PAIRS = {f"both {PLURALS.get(part, part + 's')}": part for part in _PARTS}
_CLAIM = re.compile(
    r"\b(" + "|".join([*map(re.escape, _PAIRS), *(f"the {name}" for name in facs.REGIONS)]) + r")"
    # Longest first: "up and outward" must not match as "up".
    r" moves? (" + "|".join(sorted(facs.DIRECTIONS, key=len, reverse=True)) + r")\b",
    # ASCII: otherwise, ignoring case, a long s or a Kelvin sign would match the letters s and k.
    re.IGNORECASE | re.ASCII,
)


def stated_claims(text: str) -> tuple[tuple[str, str], ...]:
    """Every (region, direction) that a text states, in JSON evidence or in sentences."""
    claims: dict[tuple[str, str], None] = {}  # a dict as an ordered set
    record = parse_structured_answer(text)
    if record is not None:
        for row in record["evidence"]:
            claims[(row["region"], row["direction"])] = None
        text = record["rationale"]
    for where, direction in _CLAIM.findall(text):
        where, direction = where.lower(), direction.lower()
        if where in _PAIRS:
            for side in ("left", "right"):
                claims[(f"{side} {_PAIRS[where]}", direction)] = None
        else:
            claims[(where.removeprefix("the "), direction)] = None
    return tuple(claims)


def read_label(text: str, labels: Sequence[str]) -> str | None:
    """The label an answer names; None if it names none or several."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    # An answer that lists several labels must not score by covering all of them.
    named = [label for label in labels if label in words]
    return named[0] if len(named) == 1 else None


_LABELS = frozenset({*facs.EMOTIONS, *COARSE_LABELS})
_NAMES = "|".join(sorted(_LABELS, key=len, reverse=True))
_READING = re.compile(
    rf"\b(?:read as|emotion is|class is) ({_NAMES})\b|^\W*({_NAMES})\W*$"
    r"|\bfits (none of the basic emotions)\b",
    re.IGNORECASE | re.ASCII,
)


def stated_labels(text: str) -> tuple[str, ...]:
    """Every emotion or class that a text concludes: "read as disgust", or the bare word."""
    found = ("".join(groups).lower() for groups in _READING.findall(text))
    return tuple(dict.fromkeys(name if name in _LABELS else "others" for name in found))


_AU_NUMBER = re.compile(r"\bAU([0-9]{1,2})\b")


def stated_aus(text: str) -> frozenset[int]:
    """Numbers of all AUs that a text names as "AU12", whether FACS has them or not."""
    return frozenset(map(int, _AU_NUMBER.findall(text)))
