"""How well an outsider could tell by the loss whether a clip was trained on (Yeom et al., 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

_LEAST = 1e-12  # probability: the logarithm of 0 is no number


def losses(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cross-entropy of each clip (N,) from class probabilities (N, classes)."""
    named = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(named, _LEAST))


def membership_auc(trained: NDArray[np.floating], unseen: NDArray[np.floating]) -> float:
    """Area under the curve of an attacker who says that clips of small loss were trained on.

    Args:
        trained: Losses of training clips.
        unseen: Losses of clips of other subjects from the same site.

    Returns:
        0.5 if the loss tells nothing, 1 if it tells everything; NaN without clips on one side, or
        if a network that diverged gave no numbers.
    """
    both = np.r_[trained, unseen]
    if not len(trained) or not len(unseen) or not np.isfinite(both).all():
        return float("nan")
    member = np.r_[np.ones(len(trained)), np.zeros(len(unseen))]
    return float(roc_auc_score(member, -both))  # a small loss speaks for a member
