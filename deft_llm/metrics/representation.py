"""Information in representations: a linear probe, and centred kernel alignment.

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
    """Cross-validated accuracy of a linear classifier, 0..1.

    Ridge regression onto the classes, with the penalty chosen inside each fold's training part. It
    has a closed form, so the result does not depend on a training schedule.

    Args:
        features: (N, P), standardised here.
        labels: (N,) classes, at least ``folds`` samples of each.
        folds: Number of cross-validation folds, drawn with a fixed seed.
    """
    # Inside the pipeline, so that mean and SD come from the training part of each fold.
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(0, 6, 7)))
    parts = StratifiedKFold(folds, shuffle=True, random_state=0)
    return float(cross_val_score(probe, features, labels, cv=parts).mean())


def cka(a: Floats, b: Floats) -> float:
    """Linear centred kernel alignment, about 0 (nothing in common) to 1 (equal up to rotation).

    Kornblith et al. (ICML 2019) with the unbiased estimate of HSIC by Song et al. (JMLR 2012);
    with the biased one, wide representations of few samples look alike.

    Args:
        a: (N, P), N at least 4.
        b: (N, Q) of the same samples.
    """
    kernels = []
    for features in (a, b):
        # The unbiased estimate would be the same without; centred, the products are rounded less.
        centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
        kernel = centred @ centred.T
        # The unbiased estimate leaves out each sample's product with itself.
        np.fill_diagonal(kernel, 0.0)
        kernels.append(kernel)
    first, second = kernels
    scale = _hsic(first, first) * _hsic(second, second)
    # Unbiased estimates may be negative or zero when there is nothing but noise.
    return float(_hsic(first, second) / np.sqrt(scale)) if scale > 0 else 0.0


def _hsic(k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    """Unbiased HSIC of two kernel matrices with empty diagonals."""
    n = len(k)
    together = float((k * m).sum())
    apart = float(k.sum() * m.sum()) / ((n - 1) * (n - 2))
    crossed = 2.0 / (n - 2) * float(k.sum(0) @ m.sum(0))
    return (together + apart - crossed) / (n * (n - 3))
