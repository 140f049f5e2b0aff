"""Flow estimators on pairs with known flow: errors, the best rigid fit, tuning of presets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deft_llm.flow_models.pairs import PairStore
from deft_llm.metrics.flow import FlowErrors, flow_errors
from deft_llm.motion.flow import flow_estimator

FlowField = NDArray[np.float32]
Estimate = Callable[[NDArray[Any], NDArray[Any]], FlowField]
"""Two images (H, W) or (H, W, 3) in 0..255 -> flow (2, H, W), px."""
SMALL = "under_2px"  # the group that tuning and bars use


@dataclass(frozen=True)
class ScoredPair:
    """Two images uint8 (H, W, 3), true flow (2, H, W) px, mask (H, W)."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    truth: FlowField
    mask: NDArray[np.bool_]


def pairs_of(store: PairStore) -> Iterator[ScoredPair]:
    """The pairs of a store in which a face is visible."""
    for i in range(len(store)):
        row = store[i]
        first, second = (np.ascontiguousarray(im.transpose(1, 2, 0)) for im in row["images"])
        if row["mask"].any():
            truth = row["flow"].astype(np.float32)
            yield ScoredPair(first, second, truth, row["mask"].astype(bool))


def errors_of(estimate: Estimate, store: PairStore, name: str) -> FlowErrors:
    """Errors of an estimator over all pairs."""
    return errors_of_fit(lambda pair: estimate(pair.first, pair.second), store, name)


def errors_of_fit(
    fit: Callable[[ScoredPair], FlowField], store: PairStore, name: str
) -> FlowErrors:
    """Errors of a function that may also use the true flow, such as :func:`rigid_fit`."""
    pairs = tqdm(pairs_of(store), total=len(store), desc=name, unit="pair")
    return sum((flow_errors(fit(p), p.truth, p.mask) for p in pairs), FlowErrors())


def zero_flow(first: NDArray[Any], second: NDArray[Any]) -> FlowField:
    """Zero flow: the baseline that an estimator has to beat."""
    return np.zeros((2, *first.shape[:2]), np.float32)


def rigid_fit(pair: ScoredPair) -> FlowField:
    """The rotation and shift in the image plane closest to the true flow.

    Least squares over the mask (Kabsch 1976): a bound for every estimator of rigid motion.
    """
    height, width = pair.mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    every = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = pair.mask.ravel()
    start = every[inside]
    end = start + pair.truth.reshape(2, -1).T[inside]
    u, _, vt = np.linalg.svd((start - start.mean(0)).T @ (end - end.mean(0)))
    # The sign makes it a rotation: an orthogonal matrix could also be a reflection.
    turn = u @ np.diag([1, np.sign(np.linalg.det(u @ vt))]) @ vt
    # Points are rows, so the rotation stands on the right.
    moved = (every - start.mean(0)) @ turn + end.mean(0)
    return (moved - every).T.reshape(2, height, width).astype(np.float32)


def tune(
    method: str, choices: Sequence[dict[str, Any]], store: PairStore
) -> tuple[dict[str, Any], FlowErrors]:
    """The parameters with the least EPE below 2 px, and their errors.

    Args:
        method: A name of ``motion.flow``.
        choices: Parameters to try; the method's defaults are always tried.
        store: Pairs of training faces.
    """
    tried = []
    # Defaults first: ``min`` keeps the first of equals.
    for parameters in ({}, *choices):
        estimator = flow_estimator(method, **parameters)
        errors = errors_of(estimator, store, f"tuning {method} {parameters or 'preset'}")
        tried.append((parameters, errors))
    return min(tried, key=lambda pair: pair[1].mean(SMALL))
