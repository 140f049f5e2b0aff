"""Linear baselines on encoded flow: logistic regression and a linear support vector machine.

Not from a paper. On well encoded flow (``motion.encoding.medsqrt``) they score above most
published networks if the epoch is not chosen on the test subject, so they are the first rows of
every table. Both need the products of the clips alone, which all folds of a table share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.svm import SVC

from deft_llm.recognizers.logistic import DualLogistic, fit_logistic, fold_weights

Floats = NDArray[np.float32]
Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class FlatLinear:
    """A logistic regression on one vector per clip.

    Args:
        classes: Number of classes.
        C: Inverse strength of the L2 penalty.
        balanced: Weight classes inversely to their number.
    """

    inputs: tuple[str, ...] = ("flow_uvs",)

    def __init__(self, classes: int, C: float = 1e-3, balanced: bool = True) -> None:
        self.classes, self.C, self.balanced = classes, C, balanced
        self.model: Any = None
        self.seen: Array = np.empty((0, 0))  # vectors of the training clips

    def fit(self, inputs: dict[str, Floats], labels: Rows) -> None:
        """Learn from N clips; labels are class indices."""
        self.seen = self._describe(inputs).astype(np.float64)
        everything = np.arange(len(labels))
        (self.model,) = self._fitted(self.seen @ self.seen.T, labels, [everything])

    def predict_proba(self, inputs: dict[str, Floats]) -> Array:
        """Class probabilities (N, classes); 0 for a class without training clips."""
        vectors = self._describe(inputs).astype(np.float64)
        return self._predict(self.model, vectors @ self.seen.T)

    def predict_folds(
        self, inputs: dict[str, Floats], labels: Rows, folds: Sequence[tuple[Rows, Rows]]
    ) -> list[Array]:
        """Class probabilities of the tested rows of each fold, all folds fitted at once.

        Args:
            inputs: Of all clips.
            labels: (N,) class indices.
            folds: Training and test rows of each.
        """
        vectors = self._describe(inputs).astype(np.float64)
        gram = vectors @ vectors.T
        models = self._fitted(gram, labels, [train for train, _ in folds])
        pairs = zip(models, folds, strict=True)
        return [self._predict(model, gram[np.ix_(test, train)]) for model, (train, test) in pairs]

    def _describe(self, inputs: dict[str, Floats]) -> Floats:
        """Inputs -> one vector per clip (N, D)."""
        (flow,) = (inputs[name] for name in self.inputs)  # subclasses declare another input
        return flow.reshape(len(flow), -1)

    def _fitted(self, gram: Array, labels: Rows, trains: Sequence[Rows]) -> list[Any]:
        """A model for each choice of training rows."""
        used = np.zeros((len(trains), len(labels)), bool)
        for fold, train in enumerate(trains):
            used[fold, train] = True
        weights = fold_weights(labels, used, self.classes, self.balanced)
        fitted = fit_logistic(gram, labels, weights, self.C, self.classes)
        return [
            DualLogistic(
                # None keeps an axis of one fold, so that fold 0 of the model is this one.
                fitted.dual[train, fold, None],
                fitted.intercept[fold, None],
                fitted.present[fold, None],
            )
            for fold, train in enumerate(trains)
        ]

    def _predict(self, model: Any, products: Array) -> Array:
        """Class probabilities from the products (M, N) with the training clips."""
        fitted: DualLogistic = model
        return fitted.probabilities(0, products)


class GridLinear(FlatLinear):
    """A logistic regression on a descriptor of each block of a grid over the face.

    Args:
        classes: Number of classes.
        C: Inverse strength of the L2 penalty.
        blocks: Blocks along each side of the face; None takes the descriptor's own number.
    """

    blocks: int

    def __init__(self, classes: int, C: float = 1.0, blocks: int | None = None) -> None:
        super().__init__(classes, C)
        self.blocks = self.blocks if blocks is None else blocks


class LogisticFlow(FlatLinear):
    """Multinomial logistic regression on every pixel of encoded flow."""


class LogisticDual(FlatLinear):
    """The same on both phases; the logits of the two phases add up."""

    inputs = ("flow_dual",)


class SvmFlow(FlatLinear):
    """Linear support vector machine on every pixel of encoded flow, one class against the rest."""

    def _fitted(self, gram: Array, labels: Rows, trains: Sequence[Rows]) -> list[Any]:
        return [self._machines(gram[np.ix_(train, train)], labels[train]) for train in trains]

    def _machines(self, gram: Array, labels: Rows) -> dict[int, SVC | None]:
        """Class with training clips -> its machine; None for the only one, which has no rest."""
        weight = "balanced" if self.balanced else None
        present = [int(i) for i in np.unique(labels)]
        if len(present) == 1:
            return {present[0]: None}
        return {
            i: SVC(C=self.C, kernel="precomputed", class_weight=weight).fit(gram, labels == i)
            for i in present
        }

    def _predict(self, model: Any, products: Array) -> Array:
        """Softmax of twice the margins: a ranking, not calibrated probabilities."""
        machines: dict[int, SVC | None] = model
        margins = np.full((len(products), self.classes), -np.inf)  # probability 0
        for i, one in machines.items():
            margins[:, i] = 0.0 if one is None else one.decision_function(products)
        # One-against-rest machines have no common probability scale; the factor 2 only sharpens it.
        probabilities: Array = softmax(2 * margins, axis=1)
        return probabilities
