"""Equal shares of yes and no, for every AU and every emotion that is asked about.

If frequent AUs were asked about when present and rare ones when absent, the question would reveal
the answer. So the probabilities of the negatives are fitted: over the whole dataset, every option
gets as many expected "no" as "yes".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.simulator.scene.statistics import combinations

_STEPS = 60  # of the fit in Balance
_MOST_YES = 0.9  # cap: keeps some "no" even if few clips have a true option
HARD = 4.0  # weight of a hard negative; other negatives weigh 1
LOOKALIKES: tuple[tuple[int, int], ...] = (
    *((6, 7), (1, 4), (12, 14), (15, 17)),  # pairs that coders confuse most
    *((1, 2), (9, 10), (20, 14), (23, 24), (16, 25), (26, 25), (43, 45), (5, 7), (12, 13)),
)
_ALIKE: dict[int, frozenset[int]] = {
    n: frozenset(b if a == n else a for a, b in LOOKALIKES if n in (a, b))
    for n in facs.ACTION_UNITS
}


@dataclass(frozen=True)
class AnswerOptions:
    """The options (AUs or emotions) that one clip can be asked about.

    Attributes:
        yes: Options that are true of the clip.
        no: (option, weight) of options that are not; hard negatives weigh more.
    """

    yes: tuple[str, ...]
    no: tuple[tuple[str, float], ...]


class Balance:
    """Probabilities of a yes question and of every negative, fitted to a dataset."""

    def __init__(self, choices: Mapping[AnswerOptions, int]) -> None:
        """Fit to the number of clips with each set of options."""
        self.options = sorted(
            {o for c in choices for o in c.yes} | {o for c in choices for o, _ in c.no}
        )
        self.index = {option: k for k, option in enumerate(self.options)}
        counts = np.array(list(choices.values()), float)
        yes = np.zeros((len(counts), len(self.options)))
        no = np.zeros_like(yes)
        for row, choice in enumerate(choices):
            for option in choice.yes:
                # ask() draws uniformly among the true options.
                yes[row, self.index[option]] = 1 / len(choice.yes)
            for option, weight in choice.no:
                no[row, self.index[option]] = weight
        # Options that are true of no clip get weight 0 below. A clip whose negatives are all such
        # options cannot be asked about.
        counts = counts * no[:, yes.any(0)].any(1)
        some = counts[yes.any(1)].sum() if len(counts) else 0.0
        # Clips without a true option can only get "no", so the others get "yes" more often than in
        # half of the cases, for one half over all clips.
        self.chance = min(_MOST_YES, 0.5 * counts.sum() / some) if some else 0.0
        said_yes = self.chance * yes.any(1)
        # Expected number of "yes" per option, which the number of "no" should equal.
        wanted = (counts * said_yes) @ yes
        self.weights = self._fit(no, counts * (1 - said_yes), wanted)

    @staticmethod
    def _fit(no: np.ndarray, asks: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Weights of the options for which the expected number of "no" of each is ``wanted``."""
        weights = wanted.copy()
        for _ in range(_STEPS):
            share = no * weights
            share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
            got = asks @ share
            # Fixed-point iteration: the square root damps it, because raising one option lowers the
            # others of the same clip.
            weights *= np.sqrt(wanted / np.maximum(got, 1e-9))
            # Only ratios matter; normalizing keeps the numbers in range.
            weights /= max(weights.max(initial=0.0), 1e-12)
        return weights

    def ask(self, choice: AnswerOptions, rng: random.Random) -> tuple[str, bool] | None:
        """An option and whether it is true of the clip; None if nothing can be asked."""
        weights = [w * self.weights[self.index[o]] for o, w in choice.no]
        if not sum(weights):
            return None
        if choice.yes and rng.random() < self.chance:
            return rng.choice(choice.yes), True
        return rng.choices([o for o, _ in choice.no], weights)[0], False


def au_choice(facts: Facts) -> AnswerOptions:
    """The AUs that can be asked about: FACS numbers as text, of AUs that move a region.

    A hard negative resembles a coded AU, or would explain motion that no coded AU explains.
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
    """Uncoded AUs that expect some of the unexplained motion."""
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
    """The emotions that can be asked about: the coded one, and those that contradict the motion.

    An emotion contradicts the motion if no published coding of it (aggregates over CAS(ME)3 and
    DFME) shares half of the AUs and it belongs to another coarse class. "others" is not asked.
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
# Clips repeat the same AU combinations, so results are cached.
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
    """The balances of one dataset."""

    aus: Balance
    labels: Balance

    @classmethod
    def of(cls, all_facts: Iterable[tuple[Facts, bool]]) -> Balances:
        """Fit to (facts, emotion_known) of every clip."""
        aus: Counter[AnswerOptions] = Counter()
        labels: Counter[AnswerOptions] = Counter()
        for facts, emotion_known in all_facts:
            if facts.label_alone:  # asked for nothing but its label
                continue
            aus[au_choice(facts)] += 1
            if emotion_known:
                labels[label_choice(facts)] += 1
        return cls(Balance(aus), Balance(labels))
