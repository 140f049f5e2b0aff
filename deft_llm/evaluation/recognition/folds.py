"""The folds of a recognition benchmark, checked before any model is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from deft_llm import protocols
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.clips import Material

Protocol = Literal["loso", "kfold", "cross_dataset", "hold_out", "test_clips"]


_TRIES = 1000  # draws of few subjects for each that is wanted, before there seem to be none


def make_splits(
    protocol: Protocol, material: Material, folds: int, share: float
) -> list[protocols.Split]:
    """The splits of a protocol; a training set may lack a class.

    Args:
        protocol: Its name.
        material: The clips.
        folds: For "kfold".
        share: Of the subjects, for "hold_out".

    Raises:
        UserError: If there are too few subjects or datasets.
    """
    data = material.data
    people = data.clips.people
    make = {
        "loso": lambda: protocols.loso(people),
        "kfold": lambda: protocols.subject_kfold(people, folds),
        "cross_dataset": lambda: protocols.cross_dataset(data.clips.datasets, people),
        "hold_out": lambda: protocols.hold_out(people, share),
        "test_clips": lambda: [_given(data, material.held)],
    }
    return make[protocol]()


def protocol_splits(
    protocol: Protocol, material: Material, folds: int, share: float
) -> list[protocols.Split]:
    """The splits of a protocol, checked; arguments as for :func:`make_splits`.

    Raises:
        UserError: If a training set lacks a class, or a subject is on both sides.
    """
    splits = make_splits(protocol, material, folds, share)
    require_trainable(splits, material.data)
    return splits


def require_trainable(splits: Sequence[protocols.Split], data: LabelledClips) -> None:
    """Check folds before training, so that a wrong one costs no run.

    Raises:
        UserError: If a training set lacks a class, or a subject is on both sides.
    """
    protocols.require_classes(splits, data.labels, data.classes)
    for split in splits:
        protocols.require_disjoint_subjects(split, data.clips.people)


def _given(data: LabelledClips, held: protocols.Indices) -> protocols.Split:
    rows = np.arange(len(data))
    return protocols.Split("test clips", 0, np.setdiff1d(rows, held), rows[:0], held)


def few_subject_splits(
    subjects: Any, labels: protocols.Indices, count: int, draws: int
) -> list[protocols.Split]:
    """Splits that train on ``count`` random subjects who together show every class.

    Raises:
        UserError: If there are not more subjects than that, or so few hardly ever show every class.
    """
    names = np.asarray(subjects)
    people = np.unique(names)
    if count >= len(people):
        raise UserError(f"{count} subjects to train on of {len(people)}; expected fewer")
    splits: list[protocols.Split] = []
    # Seeded by the count, so that a rerun gets the same draws.
    rng = np.random.default_rng([6, count])
    rows = np.arange(len(names))
    tries = 0
    while len(splits) < draws:
        if tries == _TRIES * draws:
            raise UserError(
                f"{count} subjects to train on: of {tries} draws {len(splits)} show every class; "
                "take more subjects"
            )
        tries += 1
        chosen = np.isin(names, rng.permutation(people)[:count])
        if len(np.unique(labels[chosen])) == len(np.unique(labels)):
            fold = len(splits)
            # No validation rows: with so few subjects nothing is selected.
            nothing = rows[:0]
            splits.append(
                protocols.Split(f"draw {fold}", fold, rows[chosen], nothing, rows[~chosen])
            )
    return splits
