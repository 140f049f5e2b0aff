"""Evaluation protocols: every train/validation/test split of the project is made here.

A split is three sets of row indices that share no subject. A model trains on ``train``; choices
(an epoch, a setting) are made on ``validation`` or with :func:`inner_folds` of ``train``; ``test``
is only for the score.

Choosing the epoch on the test subject, which is common in this field, raises published networks by
0.07 to 0.17 UF1. No function here does it (``training.folds`` can reproduce it, under its own
name).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm import leaks
from deft_llm.errors import UserError

Indices = NDArray[np.int64]
Names = Sequence[str] | NDArray[np.str_]


@dataclass(frozen=True)
class Split:
    """One fold.

    Attributes:
        name: The tested subject or dataset, for example "s01" or "SMIC".
        fold: Its number.
        train: Row indices.
        validation: Row indices; empty if no validation set was asked for.
        test: Row indices.
    """

    name: str
    fold: int
    train: Indices
    validation: Indices
    test: Indices


def loso(subjects: Names, *, validation: float = 0.0, seed: int = 0) -> list[Split]:
    """Leave one subject out.

    Of the people of several datasets together it is the composite database evaluation (CDE, See et
    al., FG 2019); a subject then needs a name of its own, such as ``ClipDataset.people``.

    Args:
        subjects: Subject of each row.
        validation: Share of the other subjects to set aside for validation.
        seed: Seed of that choice.

    Returns:
        One split for each subject, sorted by name.

    Raises:
        UserError: If there are fewer than two subjects (three with validation).
    """
    names = np.asarray(subjects)
    return _by_groups(names, names, validation, seed)


def subject_kfold(
    subjects: Names,
    folds: int,
    *,
    among: Names | None = None,
    validation: float = 0.0,
    seed: int = 0,
) -> list[Split]:
    """Assign subjects to folds at random, with similar numbers of rows in each fold.

    Args:
        subjects: Subject of each row.
        folds: Number of folds.
        among: Subject of each row of a larger set, whose folds these are: a subject is in the same
            fold whichever rows are taken. None deals the rows themselves.
        validation: See :func:`loso`.
        seed: See :func:`loso`.

    Raises:
        UserError: If there are fewer subjects than folds, or fewer than two folds, or a fold
            without a row.
    """
    names = np.asarray(subjects)
    whole = names if among is None else np.asarray(among)
    fold_of = dict(zip(whole.tolist(), _deal(whole, folds, seed).tolist(), strict=True))
    dealt = np.array([fold_of[name] for name in names.tolist()], np.int64)
    if empty := sorted(set(range(folds)) - set(dealt.tolist())):
        raise UserError(f"fold {empty[0] + 1} of {folds} has no clip to test; take fewer folds")
    return _by_groups(names, dealt, validation, seed)


def cross_dataset(
    datasets: Names, people: Names, *, validation: float = 0.0, seed: int = 0
) -> list[Split]:
    """Train on all datasets but one and test on that one, for each dataset.

    Args:
        datasets: Dataset of each row.
        people: Person of each row, by a name of their own in all datasets.
        validation: See :func:`loso`.
        seed: See :func:`loso`.

    Raises:
        UserError: If there is only one dataset, or somebody is in two.
    """
    return _by_groups(np.asarray(people), np.asarray(datasets, str), validation, seed)


def hold_out(
    subjects: Names, share: float, *, validation: float = 0.0, seed: int = 0
) -> list[Split]:
    """One split that tests a random share of the subjects.

    Raises:
        UserError: If the share leaves no subject to train or to test on.
    """
    names = np.asarray(subjects)
    people = np.unique(names)
    count = round(share * len(people))
    if not 0 < count < len(people):
        raise UserError(
            f"hold-out share {share} of {len(people)} subjects tests {count}; expected to test "
            "at least one and to leave one"
        )
    # The first number separates the random streams: 1 deals folds, 2 picks validation, 3 holds out.
    chosen = np.random.default_rng([3, seed]).permutation(people)[:count]
    test = np.isin(names, chosen)
    return [_split("hold-out", 0, names, test, validation, seed)]


def inner_folds(
    subjects: Names, rows: Indices, folds: int, seed: int = 0
) -> Iterator[tuple[Indices, Indices]]:
    """Subject-wise folds inside a training set, for every choice that is made on data.

    Args:
        subjects: Subject of every row of the whole set.
        rows: The training rows.
        folds: Number of folds, limited to the number of subjects.
        seed: Seed of the assignment to folds.

    Yields:
        (train, validation) row indices without a common subject, both taken from ``rows``.
    """
    names = np.asarray(subjects)[rows]
    dealt = _deal(names, min(folds, len(np.unique(names))), seed)
    for fold in np.unique(dealt):
        yield rows[dealt != fold], rows[dealt == fold]


def require_classes(splits: Sequence[Split], labels: Indices, classes: Sequence[str]) -> None:
    """Check that every training set contains every class.

    Raises:
        UserError: If one does not; names the fold and the missing class.
    """
    for split in splits:
        counts = np.bincount(labels[split.train], minlength=len(classes))
        if (counts == 0).any():
            absent = classes[int(np.argmin(counts))]
            raise UserError(
                f"fold {split.fold} ({split.name}): no training clip of class {absent!r}; leave "
                "that class out, or choose a protocol with larger training sets"
            )


def require_disjoint_subjects(split: Split, subjects: Names) -> None:
    """Check that no subject is in two sets of a split.

    Raises:
        UserError: If one is; names the subject.
    """
    names = np.asarray(subjects)
    for a, b in (("train", "test"), ("validation", "test"), ("train", "validation")):
        leaks.require_disjoint(
            {"subject": names[getattr(split, a)].tolist()},
            {"subject": names[getattr(split, b)].tolist()},
            f"fold {split.fold} ({split.name}): {a} and {b}",
            "make splits with deft_llm.protocols",
        )


def _deal(names: NDArray[np.str_], folds: int, seed: int) -> Indices:
    """Fold of each row: subjects in random order, each added to the fold with the fewest rows."""
    people, counts = np.unique(names, return_counts=True)
    if not 2 <= folds <= len(people):
        raise UserError(
            f"{folds} folds of {len(people)} subjects: expected at least 2 folds and no more "
            "folds than subjects"
        )
    load = np.zeros(folds)
    dealt: dict[str, int] = {}
    for i in np.random.default_rng([1, seed]).permutation(len(people)):
        # lexsort sorts by its last key first: empty folds come before loaded ones, so that no
        # fold stays empty.
        fold = int(np.lexsort((load, load > 0))[0])
        dealt[str(people[i])] = fold
        load[fold] += counts[i]
    return np.array([dealt[str(name)] for name in names], np.int64)


def _by_groups(
    people: NDArray[np.str_], groups: NDArray[np.generic], validation: float, seed: int
) -> list[Split]:
    if len(people) != len(groups):
        raise UserError(f"{len(people)} subjects for {len(groups)} rows; expected one for each")
    found = np.unique(groups)
    if len(found) < 2:
        raise UserError(
            f"{len(found)} group to leave out ({', '.join(map(str, found))}): expected at least "
            "two subjects (or datasets)"
        )
    return [
        _split(str(group), fold, people, groups == group, validation, seed)
        for fold, group in enumerate(found)
    ]


def _split(
    name: str,
    fold: int,
    people: NDArray[np.str_],
    test: NDArray[np.bool_],
    validation: float,
    seed: int,
) -> Split:
    others = np.unique(people[~test])
    # Groups need not be people: one that cuts through a person's rows would leak that person.
    if shared := sorted(set(others) & set(people[test])):
        raise UserError(f"fold {name}: subject {shared[0]} has rows inside and outside of it")
    count = max(1, round(validation * len(others))) if validation > 0 else 0
    if count >= len(others):
        raise UserError(
            f"fold {name}: validation share {validation} of {len(others)} subjects leaves none "
            "to train on; make it smaller or 0"
        )
    # The fold is part of the seed: each fold gets its own validation subjects.
    chosen = np.random.default_rng([2, seed, fold]).permutation(others)[:count]
    held = np.isin(people, chosen)
    rows = np.arange(len(people))
    return Split(name, fold, rows[~test & ~held], rows[held], rows[test])
