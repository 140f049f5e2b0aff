"""Errors of estimated flow against the true flow.

The endpoint error (EPE) is |F - F*| in px. Errors are summed over pixels and divided only once, so
in the score of many pairs every pixel counts the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

MARGIN = 3  # px from the mask's edge: nearer is "boundary", farther is "inside"
HIGH_PASS_SD = 2.0  # px, SD of the Gaussian mean that is subtracted from the error
SMOOTH_PX = 0.01  # below this the true flow is smooth, and a high-pass error is noise
BINS = {"under_0.5px": (0.0, 0.5), "0.5_to_2px": (0.5, 2.0), "over_2px": (2.0, np.inf)}
RATES = (1.0, 3.0, 5.0)


@dataclass(frozen=True)
class FlowErrors:
    """Sums over pixels and pixel counts, by group; two instances can be added.

    Groups: "all" of the mask; the bins of ``BINS`` by the length of the true motion, and
    "under_2px"; "inside" and "boundary"; "rate_1px", "rate_3px", "rate_5px" (1 where the error is
    larger); "high_pass" (squared high-pass error, inside); "noise", the part of it where the true
    flow is smooth, away from edges of motion such as lids and lips.
    """

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: FlowErrors) -> FlowErrors:
        names = sorted(self.counts.keys() | other.counts.keys())
        return FlowErrors(
            {n: self.sums.get(n, 0.0) + other.sums.get(n, 0.0) for n in names},
            {n: self.counts.get(n, 0) + other.counts.get(n, 0) for n in names},
        )

    def mean(self, group: str) -> float:
        """Mean of a group; NaN if it has no pixels."""
        count = self.counts.get(group, 0)
        return self.sums[group] / count if count else float("nan")

    @property
    def epe(self) -> float:
        """Mean endpoint error over the mask, px."""
        return self.mean("all")

    @property
    def high_pass_energy(self) -> float:
        """Mean square of the high-pass error, px^2; see :func:`high_pass`."""
        return self.mean("high_pass")

    @property
    def noise_energy(self) -> float:
        """The same where the true flow is smooth (``SMOOTH_PX``), px^2."""
        return self.mean("noise")

    @property
    def high_pass_rms(self) -> float:
        """Its root, px."""
        return float(np.sqrt(self.high_pass_energy))


def flow_errors(
    flow: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    mask: NDArray[np.bool_] | None = None,
) -> FlowErrors:
    """Errors of one flow.

    Args:
        flow: (2, H, W) estimated, px.
        truth: (2, H, W) true, px.
        mask: (H, W), where the true flow is valid; everywhere if None.

    Raises:
        UserError: If shapes differ, or the flow is not finite inside the mask.
    """
    if flow.shape != truth.shape or flow.ndim != 3 or flow.shape[0] != 2:
        raise UserError(
            f"flow error: estimated {flow.shape}, true {truth.shape}; expected two (2, H, W)"
        )
    mask = np.ones(flow.shape[1:], bool) if mask is None else np.asarray(mask, bool)
    if mask.shape != flow.shape[1:]:
        raise UserError(
            f"flow error: a mask of shape {mask.shape} for flow {flow.shape}; "
            f"expected {flow.shape[1:]}"
        )
    # float64: sums over millions of pixels are kept and added later.
    difference = flow.astype(np.float64) - truth
    if not np.isfinite(difference[:, mask]).all():
        raise UserError("flow error: NaN or infinity inside the mask; mask such pixels out")
    # Outside the mask the flow may be NaN, which would spread through the blur below.
    difference[:, ~mask] = 0
    error, length = np.hypot(*difference), np.hypot(*truth.astype(np.float64))
    inside = erode(mask, MARGIN)
    groups = {name: mask & (length >= a) & (length < b) for name, (a, b) in BINS.items()}
    groups |= {"all": mask, "under_2px": mask & (length < 2)}
    groups |= {"inside": inside, "boundary": mask & ~inside}
    sums = {name: float(error[where].sum()) for name, where in groups.items()}
    counts = {name: int(where.sum()) for name, where in groups.items()}
    for limit in RATES:
        sums[f"rate_{limit:g}px"] = float((error[mask] > limit).sum())
        counts[f"rate_{limit:g}px"] = counts["all"]
    energy = (high_pass(difference, mask) ** 2).sum(0)
    # Judged by the truth alone, so that all estimators are scored on the same pixels.
    detail = np.hypot(*high_pass(np.where(mask, truth, 0).astype(np.float64), mask))
    for name, where in (("high_pass", inside), ("noise", inside & (detail < SMOOTH_PX))):
        sums[name] = float(energy[where].sum())
        counts[name] = int(where.sum())
    return FlowErrors(sums, counts)


def high_pass(field: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A field (2, H, W) minus its Gaussian mean (SD 2 px) within the mask; 0 outside."""
    # Divided by the blurred mask, so that pixels outside do not pull the mean towards 0.
    weight = _blur(mask.astype(np.float64))
    low = np.stack([_blur(part * mask) for part in field]) / np.maximum(weight, 1e-6)
    return np.where(mask, field - low, 0.0)


def erode(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Pixels of the mask farther than ``margin`` px from its edge and the image's edge."""
    # A border of zeros makes the image's edge an edge of the mask.
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1] > margin)


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    # Zeros beyond the image, as outside the mask: the weight is blurred alike and takes them out.
    blurred = cv2.GaussianBlur(image, (0, 0), HIGH_PASS_SD, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float64)
