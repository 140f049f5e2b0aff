"""Multinomial logistic regression of many folds at once, by Newton's method on the Gram matrix.

With fewer clips than pixels, the weights lie in the span of the training clips: w = Xᵀa. All folds
share the products of the clips, K = X Xᵀ; a fold is a choice of weights, zero for the clips that it
tests. A step of all folds is then a handful of products with K, whatever the length of a clip.

The optimum is that of scikit-learn's ``LogisticRegression`` (L2 on the weights, none on the
intercept). With two classes that library fits one vector in place of two of opposite sign, to which
the same penalty is twice as strong; so it is here.

Letters: F folds, N clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_TOLERANCE = 1e-6  # of the gradient, as a share of that at zero
_ROUNDING = 1e-9  # of the gradient, as a share of that of clips that are all wrong
_STEPS = 50
_INNER = 200  # steps of conjugate gradients in a Newton step, at most
_SHORTEST = 2.0**-20  # part of a Newton step
_ENOUGH = 1e-4  # share of the decrease that the slope promises
_NUMBERS = 3_000_000  # N x F x C at once: 24 MB an array


@dataclass(frozen=True)
class DualLogistic:
    """Fitted regressions, as coefficients of the clips.

    Attributes:
        dual: (N, F, C): the weights are the clips, times these.
        intercept: (F, C).
        present: (F, C) whether a class has training clips.
    """

    dual: Array
    intercept: Array
    present: Mask

    def probabilities(self, fold: int, products: Array) -> Array:
        """Class probabilities (M, C) in a fold; 0 for a class without training clips.

        Args:
            fold: Its number.
            products: (M, N) of M clips with those of the training.
        """
        logits = products @ self.dual[:, fold] + self.intercept[fold]
        return _softmax(logits[:, None], self.present[fold : fold + 1])[:, 0]


def fold_weights(labels: NDArray[np.int64], train: Mask, classes: int, balanced: bool) -> Array:
    """Weights (F, N) of the clips in each fold, zero for those that it does not train on.

    Args:
        labels: (N,).
        train: (F, N) the clips that each fold trains on.
        classes: C.
        balanced: Give every class of a fold the same sum; those of a fold sum to its clips.
    """
    if not balanced:
        return train.astype(float)
    counts = (train[:, :, None] & (labels[:, None] == np.arange(classes))).sum(1)
    shown = (counts > 0).sum(1, keepdims=True)
    each = train.sum(1, keepdims=True) / np.maximum(counts * shown, 1)
    return np.where(train, each[:, labels], 0.0)


def fit_logistic(
    gram: Array, labels: NDArray[np.int64], weights: Array, C: float, classes: int
) -> DualLogistic:
    """Fit all folds.

    Args:
        gram: (N, N) products of the clips.
        labels: (N,) class indices.
        weights: (F, N), as by :func:`fold_weights`.
        C: Inverse strength of the penalty.
        classes: C.
    """
    at_once = max(1, _NUMBERS // (len(labels) * classes))  # folds, by memory
    parts = [
        _fit(gram, labels, weights[i : i + at_once], C, classes)
        for i in range(0, len(weights), at_once)
    ]
    return DualLogistic(
        np.concatenate([part.dual for part in parts], axis=1),
        np.concatenate([part.intercept for part in parts]),
        np.concatenate([part.present for part in parts]),
    )


def _fit(
    gram: Array, labels: NDArray[np.int64], weights: Array, C: float, classes: int
) -> DualLogistic:
    truth = np.eye(classes)[labels]
    present = weights @ truth > 0
    strength = np.where(present.sum(1) == 2, C / 2, C)  # two: as one vector, see above
    problem = _Problem(gram, truth[:, None], (strength[:, None] * weights).T[..., None], present)
    at = problem.point(np.zeros((*problem.weights.shape[:2], classes)), np.zeros(present.shape))
    # Where clips tell nothing apart, the start is the optimum but for rounding.
    first = np.maximum(problem.size(at), _ROUNDING * np.sqrt(problem.unit[:, 0]))
    for _ in range(_STEPS):
        left = problem.size(at) > _TOLERANCE * first
        if not left.any():
            break
        # Far from the optimum a rough step will do; near it, steps become exact (inexact Newton).
        at = problem.moved(at, left, np.sqrt(problem.size(at) / np.maximum(first, 1e-300)))
    return DualLogistic(at.dual, at.intercept, present)


@dataclass(frozen=True)
class _Point:
    """Coefficients, and what follows from them.

    Attributes:
        dual: (N, F, C).
        intercept: (F, C).
        carried: (N, F, C) K times the dual.
        p: (N, F, C) probabilities.
        slope: Gradient of the dual in the metric of K, (N, F, C).
        lift: Gradient of the intercept, scaled, (F, C).
        loss: (F,).
    """

    dual: Array
    intercept: Array
    carried: Array
    p: Array
    slope: Array
    lift: Array
    loss: Array


class _Problem:
    """The folds' objectives: weighted cross-entropy plus half of the weights' square."""

    def __init__(self, gram: Array, truth: Array, weights: Array, present: Mask) -> None:
        self.gram, self.truth, self.weights, self.present = gram, truth, weights, present
        # The intercept in a unit in which its curvature is about that of the rest.
        # p (1 - p), the curvature of a probability, is 1/4 at most. 1e-300: a fold without clips.
        self.unit = np.maximum(weights.sum(0) / 4, 1e-300)

    def carry(self, x: Array) -> Array:
        """K x, for all folds and classes in one product."""
        return (self.gram @ x.reshape(len(x), -1)).reshape(x.shape)

    def point(self, dual: Array, intercept: Array, carried: Array | None = None) -> _Point:
        carried = self.carry(dual) if carried is None else carried
        p = _softmax(carried + intercept, self.present)
        rest = self.weights * (p - self.truth)
        likely = np.log(np.maximum((p * self.truth).sum(-1), 1e-300))
        loss = 0.5 * (dual * carried).sum((0, 2)) - (self.weights[..., 0] * likely).sum(0)
        # The gradient is K (dual + rest); in the metric of K the K goes, and `dot` brings it in.
        return _Point(dual, intercept, carried, p, dual + rest, rest.sum(0) / self.unit, loss)

    def dot(self, a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
        """(F,) product; the first of ``a`` is K times that part already."""
        return (a[0] * b[0]).sum((0, 2)) + (self.unit * a[1] * b[1]).sum(1)

    def size(self, at: _Point) -> Array:
        """(F,) length of the gradient."""
        slope = (self.carry(at.slope), at.lift)
        return np.sqrt(np.maximum(self.dot(slope, (at.slope, at.lift)), 0))

    def curved(self, at: _Point, carried: Array, lifted: Array, dual: Array) -> tuple[Array, Array]:
        """The Hessian times a direction, of which K times the dual part is given as well."""
        moved = carried + lifted
        # The Hessian of a softmax, diag(p) - p p', without building it.
        bent = self.weights * at.p * (moved - (at.p * moved).sum(-1, keepdims=True))
        return dual + bent, bent.sum(0) / self.unit

    def moved(self, at: _Point, left: Mask, accuracy: Array) -> _Point:
        """The point after a Newton step in the folds that are left."""
        dual, intercept, carried = self.newton(at, np.minimum(0.1, accuracy))
        promised = self.dot((carried, intercept), (at.slope, at.lift))
        length = np.where(left, 1.0, 0.0)  # 0: a fold that is done stays where it is
        while True:
            by = length[:, None]
            new = self.point(
                at.dual + by * dual, at.intercept + by * intercept, at.carried + by * carried
            )
            # At the end, a decrease is smaller than the rounding of the loss.
            slack = 1e-12 * np.abs(at.loss)
            worse = new.loss > at.loss + _ENOUGH * length * promised + slack
            if not (worse & (length > _SHORTEST)).any():
                return new
            length = np.where(worse, length / 2, length)

    def newton(self, at: _Point, accuracy: Array) -> tuple[Array, Array, Array]:
        """A step by conjugate gradients: dual, intercept, and K times the dual."""
        rest = (-at.slope, -at.lift)
        dual, intercept, carried = np.zeros_like(rest[0]), np.zeros_like(rest[1]), 0 * rest[0]
        rest_carried = self.carry(rest[0])
        way, way_carried = rest, rest_carried
        size = self.dot((rest_carried, rest[1]), rest)
        enough = accuracy**2 * size
        for _ in range(_INNER):
            bent = self.curved(at, way_carried, way[1], way[0])
            along = self.dot((way_carried, way[1]), bent)
            # Folds that are done stand still while the others go on.
            go = (size > enough) & (along > 0)
            if not go.any():
                break
            by = np.where(go, size / np.where(along > 0, along, 1), 0)[:, None]
            dual, intercept = dual + by * way[0], intercept + by * way[1]
            carried = carried + by * way_carried
            rest = (rest[0] - by * bent[0], rest[1] - by * bent[1])
            rest_carried = self.carry(rest[0])
            new = self.dot((rest_carried, rest[1]), rest)
            back = np.where(go, new / np.where(size > 0, size, 1), 0)[:, None]
            way = (rest[0] + back * way[0], rest[1] + back * way[1])
            # K times the new way, without another product.
            way_carried = rest_carried + back * way_carried
            size = np.where(go, new, size)
        return dual, intercept, carried


def _softmax(logits: Array, present: Mask) -> Array:
    """Over the last axis, among the classes that are present; (N, F, C) with (F, C)."""
    shown = np.where(present, logits, -np.inf)
    grown = np.exp(shown - shown.max(-1, keepdims=True))  # the largest becomes 1: no overflow
    return np.asarray(grown / grown.sum(-1, keepdims=True))
