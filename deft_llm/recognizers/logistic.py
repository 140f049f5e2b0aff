"""Multinomial logistic regression of many folds at once, by Newton's method on the Gram matrix.

With fewer clips than pixels, the weights lie in the span of the training clips: w = Xᵀa. All folds
share the products of the clips, K = X Xᵀ; a fold is a choice of weights, zero for the clips that it
tests. Each step of all folds is then a handful of products with K, whatever the length of a clip.

The optimum is that of scikit-learn's ``LogisticRegression`` (L2 on the weights, none on the
intercept), reached to a gradient some thousand times smaller than its default. With two classes
that library fits one vector in place of two, to which the same penalty is twice as strong.

Letters: F folds, N clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_TOLERANCE = 1e-7  # of the gradient, relative to that at zero
_STEPS = 100
_INNER = 250  # conjugate gradients of one step, at most
_SHORTEST = 2.0**-20  # part of a Newton step


@dataclass(frozen=True)
class DualLogistic:
    """Fitted regressions, as coefficients of the clips.

    Attributes:
        dual: (F, N, C): the weights are the clips, weighted by these.
        intercept: (F, C).
        present: (F, C) whether a class has training clips.
    """

    dual: Array
    intercept: Array
    present: NDArray[np.bool_]

    def probabilities(self, products: Array) -> Array:
        """Class probabilities (F, M, C); 0 for a class without training clips.

        Args:
            products: (M, N) of M clips with those of the training.
        """
        logits = _products(products, self.dual) + self.intercept[:, None]
        return _softmax(logits, self.present)


def balanced(labels: NDArray[np.int64], train: NDArray[np.bool_], classes: int) -> Array:
    """Weights that give every class of a fold the same sum.

    Args:
        labels: (N,).
        train: (F, N) the clips that each fold trains on.
        classes: C.

    Returns:
        (F, N), zero for clips that are not trained on; those of a fold sum to their number.
    """
    shown = train[:, :, None] & (labels[:, None] == np.arange(classes))
    counts = shown.sum(1)
    each = train.sum(1, keepdims=True) / np.maximum(counts, 1)
    each = each / np.maximum((counts > 0).sum(1, keepdims=True), 1)
    return np.where(train, each[:, labels], 0.0)


def fit_logistic(
    gram: Array, labels: NDArray[np.int64], weights: Array, C: float, classes: int
) -> DualLogistic:
    """Fit all folds.

    Args:
        gram: (N, N) products of the clips.
        labels: (N,) class indices.
        weights: (F, N) of the clips in each fold; zero for those that it does not train on.
        C: Inverse strength of the penalty.
        classes: C.
    """
    truth = np.eye(classes)[labels]
    present = np.einsum("fn,nc->fc", weights, truth) > 0
    # Two vectors of opposite sign carry half of the penalty that one has.
    strength = np.where(present.sum(1) == 2, C / 2, C)
    problem = _Problem(gram, truth, strength[:, None] * weights, present)
    dual = np.zeros((*weights.shape, classes))
    intercept = np.zeros((len(weights), classes))
    logits = np.zeros_like(dual)
    value, slope = problem.loss(logits, dual), problem.slope(logits, dual)
    first = np.maximum(problem.size(slope), 1e-300)
    for _ in range(_STEPS):
        left = problem.size(slope) > _TOLERANCE * first
        if not left.any():
            break
        step = problem.newton(logits, slope)
        moved = problem.logits(*step)
        length = _line_search(problem, (logits, dual, moved, step[0]), value, slope, step)
        length = np.where(left, length, 0.0)[:, None, None]
        dual, intercept = dual + length * step[0], intercept + length[:, 0] * step[1]
        logits = logits + length * moved
        value, slope = problem.loss(logits, dual), problem.slope(logits, dual)
    return DualLogistic(dual, intercept, present)
