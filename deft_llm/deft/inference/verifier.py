"""How far an answer says what was measured: rewards that read no label.

Each is a pure function of what is said and of the region table, in 0..1. They teach the language
model (``tuning/reward.py``) and choose between several answers at use (``Explainer.explain``).
Published rewards for faces compare an answer with labels; a measurement is there for every clip.

None of them is safe alone: silence claims nothing wrong, a list of all regions leaves nothing out.
``told`` stands against the one, ``borne_out`` against the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deft_llm import facs
from deft_llm.answers import (
    COARSE_LABELS,
    NOTHING,
    stated_aus,
    strength,
)
from deft_llm.deft.inference.claims import contradicting, sentence_spans
from deft_llm.deft.inference.said import STRUCTURED, Said, Seen
from deft_llm.deft.inference.tools import called
from deft_llm.deft.inference.wording import LEAST_SHARE
from deft_llm.simulator.scene.statistics import class_share

_TELL_MOTION = (STRUCTURED, "motion", "why")
_MANY = 0.5  # share of a repeated answer that is new, at which nothing is left of the reward


def _share(right: float, of: int) -> float:
    # Of nothing, nothing is wrong.
    return right / of if of else 1.0


def borne_out(said: Said, seen: Seen) -> float:
    """Precision: how likely the stated motion is true, the mean over all that is stated.

    Graded, because a claim just below the threshold of a verdict is mostly true (of those with a
    chance of .6 to .95, nineteen in twenty; below .05, every second one): to punish it as a wrong
    one teaches silence.
    """
    return _share(sum(map(seen.chance, said.claims)), len(said.claims))


def told(said: Said, seen: Seen) -> float:
    """Recall: how much is told of the regions that likelier moved than not, as an AU moves them.

    1 for answers to questions that do not ask for motion.
    """
    if said.kind not in _TELL_MOTION or not seen.likely:
        return 1.0
    chances = dict.fromkeys(seen.likely, 0.0)
    for region, way in said.claims:
        if region in chances:
            chances[region] = max(chances[region], seen.chance((region, way)))
    # A neighbouring direction can be a little likelier than the one that the motion is named by.
    return min(1.0, sum(chances.values()) / sum(seen.likely.values()))


def spoken_for(said: Said, seen: Seen) -> float:
    """Share of the named AUs that some motion speaks for."""
    return _share(sum(code in seen.aus for code in said.aus), len(said.aus))


def founded(said: Said, seen: Seen) -> float:
    """0 for an emotion without motion that an AU explains, and without an AU that moved; else 1.

    Answers of one word name no AU: there the motion alone is asked for.
    """
    if said.label in ("", NOTHING):
        return 1.0
    if not seen.explained:
        return 0.0
    return float(said.record is None or any(code in seen.aus for code in said.aus))


def strengths(said: Said, seen: Seen) -> float:
    """Share of the told evidence whose word for its strength is that of the measured motion."""
    rows = said.record["evidence"] if said.record else ()
    rows = [row for row in rows if row["region"] in seen.explained]
    right = sum(
        row.get("strength") == strength(seen.explained[row["region"]].magnitude) for row in rows
    )
    return _share(right, len(rows))


def parses(said: Said, seen: Seen) -> float:
    """Whether the answer has the form that was asked for, and came to its end."""
    if not said.ended:
        return 0.0
    if said.kind == STRUCTURED:
        return float(said.record is not None)
    if said.kind == "class":
        return float(said.text.strip() in COARSE_LABELS)
    if said.kind == "emotion":
        return float(said.text.strip() in {*facs.EMOTIONS, *COARSE_LABELS})
    return float(bool(said.text.strip()))


def agreement(said: Said, seen: Seen) -> float:
    """Agreement of class, AUs and reasons of a structured answer; 1 for other answers.

    The mean of four: the rationale concludes on the class; it names the listed AUs and no others;
    every listed AU has a told region that it explains; and published codings know an AU of the list
    with that class.
    """
    if (record := said.record) is None:
        return float(said.kind != STRUCTURED)
    numbers = {facs.au_number(code) for code in said.aus}
    in_words = stated_aus(record["rationale"])
    moved = [(region, way) for region, way in said.claims if region in facs.REGIONS]
    reasoned = sum(any(_explains(code, *claim) for claim in moved) for code in said.aus)
    parts = (
        float(not contradicting(record["rationale"], said.label)),
        _share(len(numbers & in_words), len(numbers | in_words)),
        _share(reasoned, len(said.aus)),
        float(_known_together(said.label, said.aus)),
    )
    return sum(parts) / len(parts)


def _explains(code: str, region: str, way: str) -> bool:
    return way in facs.expected_directions(code).get(region, ())


def _known_together(label: str, aus: tuple[str, ...]) -> bool:
    """Whether the published codings give one of the AUs to the class; True where they are mute."""
    if label not in facs.THREE_CLASSES:
        return True
    shares = [class_share(code, label) for code in aus]
    known = [share for share in shares if share is not None]
    return bool(aus) and (not known or max(known) >= LEAST_SHARE)


def asked(said: Said, seen: Seen) -> float:
    """Whether a call of the clip's tool executes (one half) and asks what was asked (the rest).

    1 for answers to other questions than those of the chat.
    """
    if said.query is None:
        return 1.0
    found = called(said.text)
    if found is None:
        return 0.0
    return 0.5 + 0.25 * (found.kind == said.query.kind) + 0.25 * (found == said.query)


def varied(said: Said, seen: Seen) -> float:
    """1 without repeated sentences and regions, 0 once half of them are repetitions."""
    return repetition_free(said)


def repetition_free(said: Said) -> float:
    """:func:`varied`, for which nothing has to be measured."""
    parts = [re.sub(r"\W+", " ", said.text[a:b]).lower() for a, b in sentence_spans(said.text)]
    regions = [region for region, _ in said.claims]  # one region in two directions is one too many
    new = min(_share(len(set(some)), len(some)) for some in (parts, regions))
    return max(0.0, (new - _MANY) / (1 - _MANY))


@dataclass(frozen=True)
class Bounded:
    """1 up to a length, falling to 0 at twice that.

    Attributes:
        tokens: The length.
    """

    tokens: int

    def __call__(self, said: Said, seen: Seen) -> float:
        """See the class."""
        return min(1.0, max(0.0, 2.0 - said.tokens / self.tokens))


Reward = Callable[[Said, Seen], float]
REWARDS: dict[str, Reward] = {
    "precision": borne_out,
    "recall": told,
    "aus": spoken_for,
    "emotion": founded,
    "strength": strengths,
    "parse": parses,
    "agreement": agreement,
    "query": asked,
    "repetition": varied,
}
LENGTH = "length"
WEIGHTS: dict[str, float] = {
    **{"precision": 2.0, "recall": 2.0, "aus": 1.0, "emotion": 1.0, "strength": 0.25},
    **{"parse": 1.0, "agreement": 0.5, "query": 1.0, "repetition": 0.5, LENGTH: 0.5},
}
"""At equal weights it pays to tell a region from a chance of about .4. With precision at four times
the weight of recall, tuning ended near silence: it told a third of what moved."""


@dataclass(frozen=True)
class Verifier:
    """The rewards together.

    Attributes:
        weights: Name of ``REWARDS``, or ``LENGTH``, -> its weight; 0 leaves it out.
        tokens: Length from which an answer loses.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    tokens: int = 256

    def parts(self, said: Said, seen: Seen) -> dict[str, float]:
        """Each reward of an answer, those without weight too: they are measured all the same."""
        rewards: dict[str, Reward] = {**REWARDS, LENGTH: Bounded(self.tokens)}
        return {name: reward(said, seen) for name, reward in rewards.items()}

    def total(self, parts: Mapping[str, float]) -> float:
        """The weighted mean of some parts, 0..1."""
        weights = {name: self.weights.get(name, 0.0) for name in parts}
        return sum(weights[name] * parts[name] for name in parts) / sum(weights.values())

    def __call__(self, said: Said, seen: Seen) -> float:
        """The reward of an answer, 0..1."""
        return self.total(self.parts(said, seen))


SAMPLED: dict[str, Any] = {
    **{"do_sample": True, "temperature": 1.0},
    # Published models come with settings that cut the distribution.
    **{"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0},
}
"""Options of ``generate`` under which answers are drawn as the model weighs them."""


def best_of(texts: Sequence[str], seen: Seen) -> tuple[int, list[float]]:
    """The number of the structured answer of the highest reward, the first of equals; all rewards.

    Args:
        texts: Answers about one clip.
        seen: What was measured of it.
    """
    verifier = Verifier()
    rewards = [verifier(Said(text), seen) for text in texts]
    return max(range(len(texts)), key=rewards.__getitem__), rewards
