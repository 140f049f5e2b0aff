"""Yes and no in equal shares, for every single thing that is asked about.

If frequent AUs were asked about where they are present and rare ones where they are absent, the
question would give the answer away. So the chances of the negatives are fitted: over the whole
data set every option gets as many expected "no" as "yes".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.simulator.scene.clip_spec import combinations

_STEPS = 60
_MOST_YES = 0.9
HARD = 4.0  # how much likelier a hard negative is asked about than another
LOOKALIKES: tuple[tuple[int, int], ...] = (
    *((6, 7), (1, 4), (12, 14), (15, 17)),  # the pairs that coders confuse most
    *((1, 2), (9, 10), (20, 14), (23, 24), (16, 25), (26, 25), (43, 45), (5, 7), (12, 13)),
)
_ALIKE: dict[int, frozenset[int]] = {
    n: frozenset(b if a == n else a for a, b in LOOKALIKES if n in (a, b))
    for n in facs.ACTION_UNITS
}


@dataclass(frozen=True)
class AnswerOptions:
    """What can be asked of one clip.

    Attributes:
        yes: Options that are true of it.
        no: (option, weight) of those that are not; a hard negative weighs more.
    """

    yes: tuple[str, ...]
    no: tuple[tuple[str, float], ...]


class Balance:
    """Chances of yes, and of every negative, fitted to a data set."""

    def __init__(self, choices: Mapping[AnswerOptions, int]) -> None:
        """Fit to how often each choice occurs."""
        self.options = sorted(
            {o for c in choices for o in c.yes} | {o for c in choices for o, _ in c.no}
        )
        self.index = {option: k for k, option in enumerate(self.options)}
        counts = np.array(list(choices.values()), float)
        yes = np.zeros((len(counts), len(self.options)))
        no = np.zeros_like(yes)
        for row, choice in enumerate(choices):
            for option in choice.yes:
                yes[row, self.index[option]] = 1 / len(choice.yes)
            for option, weight in choice.no:
                no[row, self.index[option]] = weight
        # A clip of which nothing can be denied that is true elsewhere is not asked about.
        counts = counts * no[:, yes.any(0)].any(1)
        some = counts[yes.any(1)].sum() if len(counts) else 0.0
        self.chance = min(_MOST_YES, 0.5 * counts.sum() / some) if some else 0.0
        said_yes = self.chance * yes.any(1)
        wanted = (counts * said_yes) @ yes
        self.weights = self._fit(no, counts * (1 - said_yes), wanted)

    @staticmethod
    def _fit(no: np.ndarray, asks: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Weight of each option so that the expected "no" of each meets what is wanted."""
        weights = wanted.copy()
        for _ in range(_STEPS):
            share = no * weights
            share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
            got = asks @ share
            weights *= np.sqrt(wanted / np.maximum(got, 1e-9))
            weights /= max(weights.max(initial=0.0), 1e-12)
        return weights

    def ask(self, choice: AnswerOptions, rng: random.Random) -> tuple[str, bool] | None:
        """An option and whether it is true; None where nothing can be asked."""
        weights = [w * self.weights[self.index[o]] for o, w in choice.no]
        if not sum(weights):
            return None
        if choice.yes and rng.random() < self.chance:
            return rng.choice(choice.yes), True
        return rng.choices([o for o, _ in choice.no], weights)[0], False


def au_choice(facts: Facts) -> AnswerOptions:
    """Which AUs can be asked about: FACS numbers as text, of those that move a region.

    Hard negatives look like a coded AU, or would explain motion that no coded AU explains.
    """
    present = {facs.au_number(code) for code in facts.aus}
    seen = [n for n in sorted(present) if facs.ACTION_UNITS[n].movements]
    alike = {other for n in present for other in _ALIKE[n]} | set(suggested(facts))
    no = tuple(
        (str(n), HARD if n in alike else 1.0)
        for n, au in facs.ACTION_UNITS.items()
        if au.movements and n not in present
    )
    return AnswerOptions(tuple(map(str, seen)), no)


def suggested(facts: Facts) -> tuple[int, ...]:
    """AUs, not coded, that unexplained motion could be taken for."""
    if not facts.unexplained:
        return ()
    moved = {(row.region, row.direction) for row in facts.unexplained}
    present = {facs.au_number(code) for code in facts.aus}
    return tuple(
        n
        for n in facs.ACTION_UNITS
        if n not in present
        and any((r, d) in moved for r, ds in facs.expected_directions(str(n)).items() for d in ds)
    )


def label_choice(facts: Facts) -> AnswerOptions:
    """Which emotions can be asked about: the coded one, and those that the motion speaks against.

    An emotion is spoken against when no published coding of it (aggregates over CAS(ME)3 and
    DFME) shares half of the AUs, and it falls in another coarse class. "others" is not asked.
    """
    named = [e for e in facs.EMOTIONS if e != "others"]
    if facts.emotion is None:
        return AnswerOptions((), tuple((e, 1.0) for e in named))
    numbers = frozenset(facs.au_number(code) for code in facts.aus)
    against = [
        e
        for e in named
        if facs.to_three(e) != facs.to_three(facts.emotion) and not _shared(e, numbers)
    ]
    own = (facts.emotion,) if facts.emotion in named else ()
    return AnswerOptions(own, tuple((e, 1.0) for e in against))


_CODED = {
    emotion: [frozenset(facs.au_number(au) for au in code.split("+")) for code in table]
    for emotion, table in combinations().items()
}
_SHARED: dict[tuple[str, frozenset[int]], bool] = {}


def _shared(emotion: str, numbers: frozenset[int]) -> bool:
    """Whether some coding of the emotion shares half of the AUs (Jaccard index)."""
    key = (emotion, numbers)
    if key not in _SHARED:
        _SHARED[key] = any(
            2 * len(numbers & coded) >= len(numbers | coded) for coded in _CODED.get(emotion, ())
        )
    return _SHARED[key]


@dataclass(frozen=True)
class Balances:
    """The balances of one data set."""

    aus: Balance
    labels: Balance

    @classmethod
    def of(cls, all_facts: Iterable[tuple[Facts, bool]]) -> Balances:
        """Fit to the facts of every conversation, each with whether its emotion is known."""
        aus: Counter[AnswerOptions] = Counter()
        labels: Counter[AnswerOptions] = Counter()
        for facts, emotion_known in all_facts:
            aus[au_choice(facts)] += 1
            if emotion_known:
                labels[label_choice(facts)] += 1
        return cls(Balance(aus), Balance(labels))
