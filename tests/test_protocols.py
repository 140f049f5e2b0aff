from __future__ import annotations

import numpy as np
import pytest

from deft_llm import protocols
from deft_llm.errors import UserError

SUBJECTS = np.repeat([f"s{i:02d}" for i in range(9)], [1, 2, 3, 4, 5, 6, 7, 8, 9])
DATASETS = np.where(np.arange(len(SUBJECTS)) < 15, "A", "B")
# A person of each dataset under the same name: not one subject.
SAME = np.array([f"s{i % 3}" for i in range(len(SUBJECTS))])


def _all() -> dict[str, tuple[list[protocols.Split], np.ndarray]]:
    both = np.char.add(DATASETS, SAME)
    return {
        "loso": (protocols.loso(SUBJECTS, validation=0.25, seed=1), SUBJECTS),
        "kfold": (protocols.subject_kfold(SUBJECTS, 4, validation=0.25, seed=1), SUBJECTS),
        "composite": (protocols.loso(both, validation=0.25, seed=1), both),
        "cross": (protocols.cross_dataset(DATASETS, both, validation=0.25, seed=1), both),
        "hold-out": (protocols.hold_out(SUBJECTS, 0.3, validation=0.25, seed=1), SUBJECTS),
    }


@pytest.mark.parametrize("name", list(_all()))
def test_no_subject_is_on_two_sides(name: str) -> None:
    splits, people = _all()[name]
    for split in splits:
        protocols.require_disjoint_subjects(split, people)
        parts = [split.train, split.validation, split.test]
        assert all(len(part) for part in parts)
        assert sorted(np.concatenate(parts)) == list(range(len(people)))


@pytest.mark.parametrize("name", ["loso", "kfold", "composite", "cross"])
def test_every_row_is_tested_once(name: str) -> None:
    splits, people = _all()[name]
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(len(people)))


def test_fold_counts() -> None:
    made = {name: len(splits) for name, (splits, _) in _all().items()}
    assert made == {"loso": 9, "kfold": 4, "composite": 6, "cross": 2, "hold-out": 1}


def test_same_seed_same_splits() -> None:
    def tests(seed: int) -> list[list[int]]:
        return [s.test.tolist() for s in protocols.subject_kfold(SUBJECTS, 4, seed=seed)]

    assert tests(1) == tests(1)
    assert tests(1) != tests(2)


def test_folds_are_of_like_size() -> None:
    sizes = [len(s.test) for s in protocols.subject_kfold(SUBJECTS, 3)]
    assert max(sizes) - min(sizes) <= 9  # the largest subject


def test_inner_folds_stay_inside_the_training_set() -> None:
    split = protocols.loso(SUBJECTS)[8]
    held = []
    for train, validation in protocols.inner_folds(SUBJECTS, split.train, 4):
        assert not set(SUBJECTS[train]) & set(SUBJECTS[validation])
        assert set(train) | set(validation) == set(split.train)
        held += validation.tolist()
    assert sorted(held) == split.train.tolist()


def test_more_folds_than_subjects() -> None:
    with pytest.raises(UserError, match="10 folds of 9 subjects"):
        protocols.subject_kfold(SUBJECTS, 10)


def test_one_subject_cannot_be_left_out() -> None:
    with pytest.raises(UserError, match="at least two subjects"):
        protocols.loso(["a", "a"])


def test_validation_must_leave_someone() -> None:
    with pytest.raises(UserError, match="leaves none to train on"):
        protocols.loso(["a", "b", "b"], validation=0.9)


def test_hold_out_must_leave_someone() -> None:
    with pytest.raises(UserError, match="tests 0"):
        protocols.hold_out(["a", "b"], 0.1)


def test_an_absent_class_is_named() -> None:
    labels = np.array([0] * 36 + [1] * 9)  # class 1 is the last subject's alone
    with pytest.raises(UserError, match=r"fold 8 \(s08\).*'happy'"):
        protocols.require_classes(protocols.loso(SUBJECTS), labels, ("sad", "happy"))


def test_a_shared_subject_is_named() -> None:
    split = protocols.Split("x", 0, np.array([0, 1]), np.array([], int), np.array([2]))
    with pytest.raises(UserError, match=r"fold 0 \(x\): train and test share subject s01;"):
        protocols.require_disjoint_subjects(split, SUBJECTS)


def test_a_subject_keeps_its_fold_whichever_rows_are_taken() -> None:
    whole = {s.fold: set(SUBJECTS[s.test]) for s in protocols.subject_kfold(SUBJECTS, 3)}
    few = np.flatnonzero(np.random.default_rng(0).random(len(SUBJECTS)) < 0.5)
    part = protocols.subject_kfold(SUBJECTS[few], 3, among=SUBJECTS)
    assert all(set(SUBJECTS[few][s.test]) <= whole[s.fold] for s in part)
    with pytest.raises(UserError, match=r"fold \d of 3 has no clip to test"):
        protocols.subject_kfold(SUBJECTS[:1], 3, among=SUBJECTS)


def test_somebody_in_two_datasets_is_refused() -> None:
    with pytest.raises(UserError, match="fold A: subject s0 has rows inside and outside of it"):
        protocols.cross_dataset(DATASETS, SAME)
