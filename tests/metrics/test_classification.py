"""Scores against scikit-learn, and against published confusion matrices."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from deft_llm.metrics.classification import (
    accuracy,
    binary_f1,
    confusion_matrix,
    expected_calibration_error,
    f1_per_class,
    likeliest,
    uar,
    uf1,
)

CLASSES = ("negative", "positive", "surprise")
# Published results of a three-class evaluation (MPFNet, cascade and parallel; leave one subject
# out): counts from its confusion matrices, then accuracy, UF1 and UAR as printed.
PUBLISHED = {
    "C/SMIC": ([[58, 6, 6], [6, 40, 5], [4, 4, 35]], 0.811, 0.806, 0.809),
    "C/CASME II": ([[81, 4, 3], [1, 31, 0], [2, 1, 22]], 0.924, 0.911, 0.923),
    "C/SAMM": ([[80, 6, 6], [2, 22, 2], [1, 2, 12]], 0.857, 0.795, 0.839),
    "C/all": ([[219, 23, 8], [15, 88, 6], [8, 4, 71]], 0.855, 0.840, 0.846),
    "P/SMIC": ([[57, 7, 6], [7, 38, 6], [5, 4, 34]], 0.787, 0.781, 0.783),
    "P/CASME II": ([[79, 5, 4], [2, 29, 1], [2, 1, 22]], 0.897, 0.879, 0.895),
    "P/SAMM": ([[79, 6, 7], [2, 22, 2], [2, 1, 12]], 0.850, 0.790, 0.835),
    "P/all": ([[213, 23, 14], [15, 86, 8], [11, 4, 68]], 0.830, 0.811, 0.820),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_scores(name: str) -> None:
    counts, *printed = PUBLISHED[name]
    pairs = [
        (label, guess)
        for label, row in zip(CLASSES, counts, strict=True)
        for guess, count in zip(CLASSES, row, strict=True)
        for _ in range(count)
    ]
    matrix = confusion_matrix([a for a, _ in pairs], [b for _, b in pairs], CLASSES)
    np.testing.assert_array_equal(matrix[:, :3], counts)
    # Printed to three digits, and rounded down in places.
    assert [accuracy(matrix), uf1(matrix), uar(matrix)] == pytest.approx(printed, abs=1.001e-3)


@pytest.mark.parametrize("seed", range(8))
def test_same_as_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Class "e" is never true, and a third of the time nothing that is asked for is said.
    classes = list("abcde")
    truth = [str(x) for x in rng.choice(classes[:4], 60)]
    guesses = [str(x) for x in rng.choice([*classes, "something else"], 60)]
    matrix = confusion_matrix(
        truth, [None if g == "something else" else g for g in guesses], classes
    )
    options = {"labels": classes, "zero_division": 0}
    assert matrix.sum() == 60
    np.testing.assert_allclose(
        f1_per_class(matrix), f1_score(truth, guesses, average=None, **options)
    )
    assert uf1(matrix) == pytest.approx(f1_score(truth, guesses, average="macro", **options))
    assert uar(matrix) == pytest.approx(recall_score(truth, guesses, average="macro", **options))
    assert accuracy(matrix) == pytest.approx(accuracy_score(truth, guesses))


@pytest.mark.parametrize("seed", range(4))
def test_binary_f1_same_as_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, guesses = rng.random((2, 50, 12)) < 0.2
    truth[:, 0] = guesses[:, 1] = False
    truth[:, 2] = guesses[:, 2] = False
    expected = f1_score(truth, guesses, average=None, zero_division=0)
    np.testing.assert_allclose(binary_f1(truth, guesses), expected)


def test_pooled_folds_are_one_matrix() -> None:
    """MEGC pools counts over folds; a mean of the folds' scores is another number."""
    truth, guesses = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    whole = confusion_matrix(truth, guesses, "ab")
    folds = [confusion_matrix(truth[i : i + 2], guesses[i : i + 2], "ab") for i in (0, 2)]
    np.testing.assert_array_equal(sum(folds), whole)
    assert np.mean([uf1(fold) for fold in folds]) != pytest.approx(uf1(whole))


def test_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="'others'"):
        confusion_matrix(["others"], ["positive"], CLASSES)
    with pytest.raises(ValueError, match="argument"):
        confusion_matrix(["positive"], [], CLASSES)


def test_empty_matrix_scores_nothing() -> None:
    matrix = confusion_matrix([], [], CLASSES)
    assert (uf1(matrix), uar(matrix), accuracy(matrix)) == (0, 0, 0)


def test_calibration_error_by_hand() -> None:
    # Bin of 0.9: three guesses, two right. Bin of 0.6: one guess, wrong.
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.6, 0.4]])
    labels = np.array([0, 1, 1, 1])
    by_hand = 0.75 * abs(2 / 3 - 0.9) + 0.25 * 0.6
    assert expected_calibration_error(probabilities, labels) == pytest.approx(by_hand)
    sure = np.eye(2)[labels]
    assert expected_calibration_error(sure, labels) == 0.0
    assert expected_calibration_error(sure, 1 - labels) == 1.0


def test_a_row_of_zeros_names_no_class() -> None:
    rows = np.array([[0.2, 0.7, 0.1], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert likeliest(rows, CLASSES) == ["positive", None, "negative"]
