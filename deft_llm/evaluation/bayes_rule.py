"""The ceiling on simulated clips: the Bayes rule given the true AUs.

Emotions are drawn by how often codings give them to an AU combination, so no model that reads
motion can do better.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from deft_llm import facs

#: Label set -> name in facs.SCHEMES.
LABEL_SCHEMES = {"three": "3", "four": "4", "seven": "7-dfme"}


class Drawn(Protocol):
    """What was drawn: a simulated clip, or an expression of a long video."""

    @property
    def emotion(self) -> str | None:
        """One of ``facs.EMOTIONS``."""

    @property
    def aus(self) -> tuple[str, ...]:
        """AU codes with sides."""


def class_of(spec: Drawn, label_set: str = "three") -> str | None:
    """Its class in a label set of ``LABEL_SCHEMES``; None outside it."""
    return facs.to_scheme(spec.emotion, LABEL_SCHEMES[label_set])


class BayesRule:
    """The likeliest class given the true AUs with sides, fitted on training draws.

    A combination that occurs in training is looked up; any other is classified by naive Bayes over
    its AUs with add-one smoothing (our choice).

    Args:
        train: What was drawn for training; what has no class is skipped.
        label_set: One of ``LABEL_SCHEMES``.
    """

    def __init__(self, train: Iterable[Drawn], label_set: str = "three") -> None:
        self.combinations: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.prior: Counter[str] = Counter()
        self.aus: dict[str, Counter[str]] = defaultdict(Counter)
        for spec in train:
            label = class_of(spec, label_set)
            if label is None:
                continue
            key = facs.sort_aus(spec.aus)
            self.combinations[key][label] += 1
            self.prior[label] += 1
            for code in key:
                self.aus[label][code] += 1

    def __call__(self, aus: Iterable[str]) -> str:
        """The class of a clip with these AU codes."""
        key = facs.sort_aus(aus)
        if key in self.combinations:
            return self.combinations[key].most_common(1)[0][0]
        # Present AUs only. The 2 is for present and absent, which get one more count each.
        scores = {
            label: np.log(count)
            + sum(np.log((self.aus[label][code] + 1) / (count + 2)) for code in key)
            for label, count in self.prior.items()
        }
        return max(scores, key=scores.__getitem__)
