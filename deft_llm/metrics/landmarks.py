"""Errors of found landmarks, and how well the stated errors match them.

Errors are distances over the interocular distance, between the eye centres (the means of the six
points of each eye). K faces, 68 points in iBUG order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

#: Parts of the face, as slices of the 68 points.
LANDMARK_GROUPS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}

Errors = NDArray[np.float64]


def interocular(points: NDArray[np.floating]) -> Errors:
    """Distance between the eye centres of (..., 68, 2) points, (...)."""
    # The subject's left eye (42 to 47, at the right of the image) minus her right one.
    apart = points[..., 42:48, :].mean(axis=-2) - points[..., 36:42, :].mean(axis=-2)
    return np.asarray(np.linalg.norm(apart, axis=-1), np.float64)


def landmark_errors(found: NDArray[np.floating], truth: NDArray[np.floating]) -> Errors:
    """Errors (K, 68) over the true interocular distance.

    Args:
        found: (K, 68, 2), px.
        truth: (K, 68, 2), px.

    Raises:
        UserError: If the shapes are wrong, or a found point is not finite.
    """
    if found.shape != truth.shape or found.ndim != 3 or found.shape[1:] != (68, 2):
        raise UserError(
            f"landmark error: found {found.shape}, true {truth.shape}; expected two (K, 68, 2)"
        )
    if not np.isfinite(found).all():
        raise UserError("landmark error: a found point is NaN or infinite")
    return np.linalg.norm(found - truth, axis=-1) / interocular(truth)[:, None]


def by_part(errors: Errors) -> dict[str, float]:
    """Mean error (NME) of all points and of each part."""
    return {
        "all": float(errors.mean()),
        **{name: float(errors[:, points].mean()) for name, points in LANDMARK_GROUPS.items()},
    }


def stated_error_ratio(errors: Errors, stated: Errors) -> float:
    """Actual RMS error over stated RMS error: 1 is calibrated, above 1 is overconfident."""
    return float(np.sqrt((errors**2).mean() / (stated**2).mean()))


def sureness(errors: Errors, stated: Errors) -> float:
    """Spearman's correlation of stated and actual errors: do uncertain points have large errors?

    Returns:
        -1..1; NaN if either is constant.
    """
    # Sorting twice gives ranks; ties, rare among floats, get neighbouring ones.
    first, second = (np.argsort(np.argsort(x.ravel())).astype(np.float64) for x in (errors, stated))
    if np.ptp(errors) == 0 or np.ptp(stated) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
