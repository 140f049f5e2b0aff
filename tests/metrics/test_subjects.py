from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from deft_llm.metrics.classification import accuracy, uar, uf1, weighted_f1
from deft_llm.metrics.subjects import (
    bootstrap,
    lacking,
    mcnemar,
    paired_difference,
    subject_matrices,
    subject_mean,
)

CLASSES = ("negative", "positive", "surprise")
# Confusion matrices behind the tables of MPFNet (arXiv 2506.09735, figure 9 times class counts):
# accuracy, weighted F1 (printed as F1), UF1, UAR.
PUBLISHED = [
    ([[58, 6, 6], [6, 40, 5], [4, 4, 35]], 0.811, 0.811, 0.806, 0.809),
    ([[81, 4, 3], [1, 31, 0], [2, 1, 22]], 0.924, 0.925, 0.911, 0.923),
    ([[80, 6, 6], [2, 22, 2], [1, 2, 12]], 0.857, 0.863, 0.795, 0.839),
    ([[219, 23, 8], [15, 88, 6], [8, 4, 71]], 0.855, None, 0.840, 0.846),
    ([[57, 7, 6], [7, 38, 6], [5, 4, 34]], 0.787, 0.787, 0.781, 0.783),
    ([[79, 5, 4], [2, 29, 1], [2, 1, 22]], 0.897, 0.898, 0.879, 0.895),
    ([[79, 6, 7], [2, 22, 2], [2, 1, 12]], 0.850, 0.856, 0.790, 0.835),
    ([[213, 23, 14], [15, 86, 8], [11, 4, 68]], 0.830, None, 0.811, 0.820),
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_tables(row: tuple[list[list[int]], float, float | None, float, float]) -> None:
    counts, *printed = row
    matrix = np.hstack([np.array(counts), np.zeros((3, 1), int)])
    scores = (accuracy, weighted_f1, uf1, uar)
    for score, value in zip(scores, printed, strict=True):
        if value is not None:
            assert score(matrix) == pytest.approx(value, abs=0.0006)


def _matrices(seed: int, right: float, subjects: int = 40) -> np.ndarray:
    """Per-subject matrices of a model that is right so often, the same truth for each seed."""
    truth = np.random.default_rng(0).integers(0, 3, 6 * subjects)
    rng = np.random.default_rng(seed)
    guess = np.where(rng.random(len(truth)) < right, truth, rng.integers(0, 3, len(truth)))
    names = [f"s{i // 6}" for i in range(len(truth))]
    return subject_matrices(
        names, [CLASSES[i] for i in truth], [CLASSES[i] for i in guess], CLASSES
    )


def test_subject_matrices_add_up() -> None:
    matrices = _matrices(1, 0.5)
    assert matrices.shape == (40, 3, 4)
    assert matrices.sum() == 240
    assert (matrices.sum((1, 2)) == 6).all()


def test_draws_that_lack_a_class_are_counted() -> None:
    # Two subjects, and a class that only one of them has: a quarter of the draws is without it.
    pair = np.zeros((2, 3, 4), np.int64)
    pair[:, 0, 0] = pair[1, 1, 1] = 3
    assert lacking(pair) == pytest.approx(0.25, abs=0.03)
    assert lacking(_matrices(1, 0.6)) == 0
    # The third class, which nobody has, is not drawn away.
    assert lacking(pair[1:]) == 0


def test_the_interval_holds_the_score_and_widens_with_fewer_subjects() -> None:
    many, few = (bootstrap([_matrices(1, 0.6, n)]) for n in (160, 40))
    for found in (many, few):
        assert found.low < found.value < found.high
    ratio = (few.high - few.low) / (many.high - many.low)
    assert ratio == pytest.approx(2.0, rel=0.25)  # as the square root of the number


def test_the_interval_of_several_runs_is_that_of_their_mean() -> None:
    # Each run names one class alone. Their predictions pooled hit every class sometimes, so that
    # the score of the pool, about a third, is higher than that of any of them.
    runs = []
    for named in range(3):
        run = np.zeros((40, 3, 4), np.int64)
        run[:, :, named] = 2
        runs.append(run)
    found = bootstrap(runs)
    assert found.value == found.low == found.high == pytest.approx(1 / 6)


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    ours, theirs = _matrices(1, 0.7), _matrices(2, 0.5)
    found = paired_difference([ours], [theirs])
    assert found.value == pytest.approx(uf1(ours.sum(0)) - uf1(theirs.sum(0)))
    assert found.low > 0
    same = paired_difference([ours], [ours])
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_mcnemar_is_the_binomial_test() -> None:
    labels = ["a"] * 20
    ours = ["a"] * 15 + ["b"] * 5
    theirs = ["a"] * 4 + ["b"] * 11 + ["a"] * 3 + ["b"] * 2
    only_ours, only_theirs, p = mcnemar(labels, ours, theirs)
    assert (only_ours, only_theirs) == (11, 3)
    assert p == pytest.approx(binomtest(3, 14).pvalue)
    assert mcnemar(labels, ours, ours) == (0, 0, 1.0)


def test_the_mean_over_subjects_is_not_the_pooled_score() -> None:
    # Two subjects of one class each, all right: pooled UF1 is 1, the mean counts absent classes.
    matrices = np.zeros((2, 2, 3), int)
    matrices[0, 0, 0] = matrices[1, 1, 1] = 3
    assert uf1(matrices.sum(0)) == 1.0
    assert subject_mean(matrices, uf1) == 0.5
    assert subject_mean(matrices, accuracy) == 1.0
