"""How the answers of this task are read and scored. Standard library alone: copied as it is.

UF1 and UAR as MEGC defines them: F1 and recall of each class from counts pooled over all clips,
then the plain mean over the classes. An answer that names no class, or several, is an error of the
true class and does not count for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Pairs = Iterable[tuple[str, str]]
"""True label and answer of each clip."""


def read_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that an answer names; None if it names none or several."""
    words = set(re.findall(r"[a-z]+", str(text).lower()))
    named = [label for label in labels if label in words]
    return named[0] if len(named) == 1 else None


def counts(pairs: Pairs, labels: Sequence[str]) -> tuple[dict[str, int], ...]:
    """Hits, true clips and guesses of each class."""
    hits, true, guessed = (dict.fromkeys(labels, 0) for _ in range(3))
    for label, answer in pairs:
        guess = read_label(answer, labels)
        true[label] += 1
        if guess is not None:
            guessed[guess] += 1
            hits[label] += guess == label
    return hits, true, guessed


def uf1(pairs: Pairs, labels: Sequence[str]) -> float:
    """Unweighted mean of the classes' F1."""
    hits, true, guessed = counts(pairs, labels)
    return sum(2 * hits[k] / max(true[k] + guessed[k], 1) for k in labels) / len(labels)


def uar(pairs: Pairs, labels: Sequence[str]) -> float:
    """Unweighted mean of the classes' recall."""
    hits, true, _ = counts(pairs, labels)
    return sum(hits[k] / max(true[k], 1) for k in labels) / len(labels)


def accuracy(pairs: Pairs, labels: Sequence[str]) -> float:
    """Share of right answers."""
    hits, true, _ = counts(pairs, labels)
    return sum(hits.values()) / max(sum(true.values()), 1)


def unread(pairs: Pairs, labels: Sequence[str]) -> float:
    """Share of answers that name no class, or several."""
    missed = [read_label(answer, labels) is None for _, answer in pairs]
    return sum(missed) / max(len(missed), 1)
