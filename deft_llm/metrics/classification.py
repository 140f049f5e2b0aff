"""Scores of closed-set classification, from one pooled confusion matrix.

UF1 and UAR as MEGC defines them (See et al., FG 2019): per-class F1 and recall from counts pooled
over all folds, then the unweighted mean over the fixed classes. A prediction outside the classes
counts as an error of its true class and does not add a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    labels: Sequence[str], predicted: Sequence[str | None], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Counts (C, C + 1): true by predicted class; the last column is for all other predictions.

    Raises:
        ValueError: If a label is none of the classes, or the lengths differ.
    """
    index = {name: i for i, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes) + 1), np.int64)
    for label, guess in zip(labels, predicted, strict=True):
        if label not in index:
            raise ValueError(f"label {label!r} is none of {list(classes)}")
        # None and labels outside the classes both go to the last column.
        matrix[index[label], index.get(guess or "", len(classes))] += 1
    return matrix


def likeliest(probabilities: NDArray[np.floating], classes: Sequence[str]) -> list[str | None]:
    """The most probable class of each row (N, C); None for a row of zeros, which is no answer.

    So a clip without an answer is an error of its own class, and no vote for the first one.
    """
    return [classes[int(row.argmax())] if row.any() else None for row in probabilities]


def f1_per_class(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of every class (C,): 2 TP / (2 TP + FP + FN); 0 if never true or predicted."""
    hits = np.diag(matrix).astype(float)
    guessed = matrix[:, : len(matrix)].sum(0)
    # At least 1: a class without clips and guesses scores 0/1, not NaN.
    return 2 * hits / np.maximum(guessed + matrix.sum(1), 1)


def uf1(matrix: NDArray[np.int64]) -> float:
    """Unweighted mean of the classes' F1, 0..1.

    Over all classes, as MEGC has it: one without clips counts 0, so that a part of a test set that
    lacks one cannot reach 1. A table of such parts has to say so.
    """
    return float(f1_per_class(matrix).mean())


def uar(matrix: NDArray[np.int64]) -> float:
    """Unweighted mean of the classes' recall, 0..1."""
    return float((np.diag(matrix) / np.maximum(matrix.sum(1), 1)).mean())


def accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of right predictions, 0..1."""
    return float(np.trace(matrix) / max(int(matrix.sum()), 1))


def weighted_f1(matrix: NDArray[np.int64]) -> float:
    """Mean of the classes' F1, weighted by class frequency; 0..1.

    Many papers in this field report it as plain "F1" for one dataset.
    """
    return float(f1_per_class(matrix) @ matrix.sum(1) / max(int(matrix.sum()), 1))


def binary_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """F1 of every column of two (N, K) arrays; 0 for a column without any positive."""
    hits = (truth & predicted).sum(0)
    return 2 * hits / np.maximum(truth.sum(0) + predicted.sum(0), 1)


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], bins: int = 15
) -> float:
    """Expected calibration error, 0..1 (Naeini et al., AAAI 2015).

    Predictions are binned by the probability of the likeliest class, in bins of equal width; the
    error is the mean over bins of |accuracy - mean confidence|, weighted by the bins' counts.

    Args:
        probabilities: (N, C), rows summing to 1.
        labels: (N,) true class indices.
        bins: Number of bins.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    # A confidence of exactly 1 belongs to the last bin, not to one past it.
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    # Summed, not averaged, per bin: the weight of a bin cancels its division by its count.
    sums = np.bincount(index, confidence - right, minlength=bins)
    return float(np.abs(sums).sum() / max(len(labels), 1))
