"""What representations hold and share: a linear probe, and centred kernel alignment.

Dimensions: N samples, P and Q features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.floating]


def linear_probe(features: Floats, labels: NDArray[np.int64], folds: int = 5) -> float:
    """Accuracy of a linear classifier on samples that it was not fitted on, 0..1.

    Ridge regression onto the classes, its penalty chosen inside each fold's training part; it has
    a closed form, so that no schedule decides what can be read from a representation.

    Args:
        features: (N, P), standardised here.
        labels: (N,) classes, at least ``folds`` samples of each.
        folds: Of the cross-validation, drawn with a fixed seed.
    """
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(0, 6, 7)))
    parts = StratifiedKFold(folds, shuffle=True, random_state=0)
    return float(cross_val_score(probe, features, labels, cv=parts).mean())


def cka(a: Floats, b: Floats) -> float:
    """Linear centred kernel alignment, about 0 (nothing in common) to 1 (equal up to rotation).

    Kornblith et al. (ICML 2019) with the unbiased estimate of HSIC by Song et al. (JMLR 2012),
    without which wide representations of few samples look alike.

    Args:
        a: (N, P), N at least 4.
        b: (N, Q) of the same samples.
    """
    kernels = []
    for features in (a, b):
        centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
        kernel = centred @ centred.T
        np.fill_diagonal(kernel, 0.0)
        kernels.append(kernel)
    first, second = kernels
    scale = _hsic(first, first) * _hsic(second, second)
    return float(_hsic(first, second) / np.sqrt(scale)) if scale > 0 else 0.0


def _hsic(k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    """Unbiased HSIC of two kernel matrices with empty diagonals."""
    n = len(k)
    together = float((k * m).sum())
    apart = float(k.sum() * m.sum()) / ((n - 1) * (n - 2))
    crossed = 2.0 / (n - 2) * float(k.sum(0) @ m.sum(0))
    return (together + apart - crossed) / (n * (n - 3))
