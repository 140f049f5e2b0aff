"""An estimator on a folder of pairs with exact flow, in SRFlow's published layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from deft_llm.metrics.figures import Figure
from deft_llm.metrics.flow import BINS, RATES, FlowErrors, flow_errors
from deft_llm.motion.flow import FlowEstimator
from deft_llm.simulator.flow.srflow_files import list_pairs


def score_folder(root: Path, split: str, estimate: FlowEstimator) -> list[Figure]:
    """Errors over the masks of all pairs, px; every pixel counts the same.

    Args:
        root: The dataset; see ``simulator/flow/srflow_files.py``.
        split: "train", "val" or "test".
        estimate: The estimator.

    Returns:
        EPE over the mask, by length of the true motion, and away from and at the mask's edge;
        share of pixels with errors above 1, 3 and 5 px; the EPE of zero flow; the number of pairs.
        NaN if a group has no pixels.

    Raises:
        UserError: If the folder has no such pairs, or one of their files is missing or unreadable.
    """
    pairs = list_pairs(root, split)
    errors, none = FlowErrors(), FlowErrors()
    for files in tqdm(pairs, desc=split, unit="pair"):
        pair = files.read()
        if pair.mask.any():
            errors += flow_errors(estimate(pair.image1, pair.image2), pair.flow, pair.mask)
            none += flow_errors(np.zeros_like(pair.flow), pair.flow, pair.mask)
    groups = (*BINS, "inside", "boundary")
    return [
        Figure("epe", errors.epe),
        *(Figure(f"epe_{group}", errors.mean(group)) for group in groups),
        *(Figure(f"rate_{px:g}px", errors.mean(f"rate_{px:g}px")) for px in RATES),
        Figure("zero_flow_epe", none.epe),
        Figure("pairs", float(len(pairs))),
    ]
