"""Linear baselines on encoded flow: logistic regression and a linear support vector machine.

Not from a paper. On well encoded flow (``motion.encoding.medsqrt``) they score above most
published networks if the epoch is not chosen on the test subject, so they are the first rows of
every table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

Floats = NDArray[np.float32]


class FlatLinear:
    """A logistic regression on one vector per clip, in the coordinates of the training span.

    The rotation into that span does not change a linear model, because its L2 penalty depends only
    on lengths. It reduces the number of coefficients to the number of clips.

    Args:
        classes: Number of classes.
        C: Inverse strength of the L2 penalty.
        balanced: Weight classes inversely to their number.
    """

    inputs: tuple[str, ...] = ("flow_uvs",)

    def __init__(self, classes: int, C: float = 1e-3, balanced: bool = True) -> None:
        self.classes = classes
        weight = "balanced" if balanced else None
        self.model: Any = LogisticRegression(C=C, class_weight=weight, max_iter=1000)
        self.turn: NDArray[np.float64] = np.empty((0, 0))

    def fit(self, inputs: dict[str, Floats], labels: NDArray[np.int64]) -> None:
        """Learn from N clips; labels are class indices."""
        vectors = self._describe(inputs).astype(np.float64)
        wide = vectors.shape[0] < vectors.shape[1]
        # With more clips than values there is nothing to reduce; the identity leaves them as is.
        self.turn = np.linalg.qr(vectors.T)[0] if wide else np.eye(vectors.shape[1])
        self._fit(vectors @ self.turn, labels)

    def predict_proba(self, inputs: dict[str, Floats]) -> NDArray[np.float64]:
        """Class probabilities (N, classes); 0 for a class without training clips."""
        return self._predict(self._describe(inputs).astype(np.float64) @ self.turn)

    def _describe(self, inputs: dict[str, Floats]) -> Floats:
        """Inputs -> one vector per clip (N, D)."""
        (flow,) = (inputs[name] for name in self.inputs)  # subclasses declare another input
        return flow.reshape(len(flow), -1)

    def _fit(self, vectors: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        self.model.fit(vectors, labels)

    def _predict(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        probabilities = np.zeros((len(vectors), self.classes))
        # scikit-learn has columns only for the classes it saw in fit.
        probabilities[:, self.model.classes_] = self.model.predict_proba(vectors)
        return probabilities


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

    def __init__(self, classes: int, C: float = 1e-3, balanced: bool = True) -> None:
        super().__init__(classes, C, balanced)
        weight = "balanced" if balanced else None
        self.model = [SVC(C=C, kernel="linear", class_weight=weight) for _ in range(classes)]

    def _fit(self, vectors: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        for i, one in enumerate(self.model):
            one.fit(vectors, labels == i)

    def _predict(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Softmax of twice the margins: a ranking, not calibrated probabilities."""
        # One-against-rest machines have no common probability scale; the factor 2 only sharpens it.
        margins = np.stack([one.decision_function(vectors) for one in self.model], axis=1)
        probabilities: NDArray[np.float64] = softmax(2 * margins, axis=1)
        return probabilities
