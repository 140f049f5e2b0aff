"""Fit the score of the dual constraint on simulated clips, where the exact motion is known.

A logistic regression over ``unimer.agreement.AGREEMENT_FEATURES`` gives the probability that a
statement is true; the threshold is the lowest one at which statements reach the wanted precision
out of fold (all clips of a subject stay in one fold). No benchmark clips are used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from deft_llm import facs
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.metrics.faithfulness import MOVED_PX, claim_holds
from deft_llm.unimer.agreement import AGREEMENT_FEATURES, AgreementWeights, candidates

logger = logging.getLogger(__name__)
FOLDS = 5
_NAMES = list(facs.REGIONS)


@dataclass(frozen=True)
class Samples:
    """Candidates of some clips, N in all.

    Attributes:
        features: (N, K).
        true: (N,) whether exact motion confirms the statement.
        moved: (N,) whether the region truly moved by ``MOVED_PX``.
        subjects: (N,) subject of the clip.
        all_moved: Number of regions that truly moved by ``MOVED_PX``, candidates or not.
    """

    features: NDArray[np.float64]
    true: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    subjects: NDArray[Any]
    all_moved: int


def samples(clips: Sequence[MeasuredClip]) -> Samples:
    """Candidates of every clip with a face."""
    features, true, moved, subjects, total = [], [], [], [], 0
    for clip in clips:
        if clip.features is None:
            continue
        length = np.hypot(*clip.motion.T)
        total += int((length >= MOVED_PX).sum())
        for c in candidates(clip.features["regions"], clip.spec.aus):
            features.append(c.features)
            true.append(claim_holds(_NAMES[c.region], c.direction, clip.motion))
            moved.append(length[c.region] >= MOVED_PX)
            subjects.append(clip.spec.subject)
    return Samples(np.stack(features), np.array(true), np.array(moved), np.array(subjects), total)


def fit(data: Samples, precision: float, recipe: dict[str, Any]) -> AgreementWeights:
    """Weights and threshold.

    Args:
        data: Candidates to fit on.
        precision: Wanted precision of the accepted statements, out of fold.
        recipe: Stored with the weights.
    """
    held_out = np.empty(len(data.true))
    for train, test in GroupKFold(FOLDS).split(data.features, groups=data.subjects):
        fold = _regression(data.features[train], data.true[train])
        held_out[test] = fold.probability(data.features[test])
    order = np.argsort(-held_out)
    # Precision if the k surest statements were accepted, for every k.
    right = np.cumsum(data.true[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= precision)
    # If the precision is reached nowhere, only the surest statement is accepted.
    last = int(enough.max()) if enough.size else 0
    # The weights use all subjects; the folds only served to find the threshold.
    whole = _regression(data.features, data.true)
    recall = float((data.true & data.moved)[order[: last + 1]].sum() / data.all_moved)
    logger.info(
        "threshold %.3f: precision %.3f, recall %.3f out of fold, %d statements",
        *(held_out[order[last]], right[last], recall, last + 1),
    )
    notes = {
        **recipe,
        "precision_out_of_fold": round(float(right[last]), 4),
        "recall_out_of_fold": round(recall, 4),
        "candidates": len(order),
    }
    return AgreementWeights(
        whole.mean, whole.scale, whole.weights, float(held_out[order[last]]), notes
    )


def _regression(features: NDArray[np.float64], true: NDArray[np.bool_]) -> AgreementWeights:
    mean, scale = features.mean(0), features.std(0)
    mean[0], scale[0] = 0.0, 1.0  # the bias: constant, so it is not standardised
    scale[scale == 0] = 1.0
    model = LogisticRegression(C=1.0, max_iter=1000)
    # Without the bias column, whose weight is the unpenalised intercept.
    model.fit((features - mean)[:, 1:] / scale[1:], true)
    weights = np.concatenate([model.intercept_, model.coef_[0]])
    assert len(weights) == len(AGREEMENT_FEATURES)
    return AgreementWeights(mean, scale, weights, 0.5, {})
