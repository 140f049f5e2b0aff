"""MM-COF: the flow of both phases of an expression in one image (arXiv 2510.07810).

Only the abstract and summaries of the paper are public. From them: the magnitudes of both flows,
each min-max normalised over the image; their weighted sum; a modulation that keeps strong motion
and suppresses weak motion. Weights, threshold, gains and the coding of direction are not public
and are our own choice, as is the form of the predecessor COF (arXiv 2510.15471): here MM-COF
without its modulation.

Everything runs on PyTorch, passes gradients, and also accepts and returns NumPy arrays.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.errors import UserError

Flow = TypeVar("Flow", NDArray[Any], Tensor)
Modulation = Literal["step", "smooth", "none"]

QUANTILE = 0.75  # of the combined magnitude, over the image: where strong motion begins
GAINS = (0.5, 1.5)  # of weak and of strong motion
SLOPE = 10.0  # of the smooth modulation
_LEAST = 1e-6  # a smaller range or length counts as zero


def unit_range(magnitude: Tensor) -> Tensor:
    """Min-max normalisation over the image: (..., H, W) to 0..1; a constant image gives 0."""
    low = magnitude.amin((-2, -1), keepdim=True)
    span = magnitude.amax((-2, -1), keepdim=True) - low
    return torch.where(span > _LEAST, (magnitude - low) / span.clamp_min(_LEAST), 0.0)


def length(flow: Tensor) -> Tensor:
    """Magnitude (..., H, W) of a flow (..., 2, H, W); its gradient at rest is 0, not NaN."""
    # The gradient of sqrt(0) is infinite, and `where` alone would still multiply it by 0 into NaN:
    # so the root itself must never see a 0.
    square = flow.square().sum(-3)
    still = square == 0
    return torch.where(still, 0.0, torch.where(still, 1.0, square).sqrt())


def modulate(magnitude: Tensor, how: Modulation) -> Tensor:
    """Raise strong motion and lower weak motion.

    Args:
        magnitude: (..., H, W) in 0..1.
        how: "step" multiplies by ``GAINS``, split at the ``QUANTILE`` of the image; "smooth"
            multiplies by a sigmoid around it; "none" changes nothing.

    Returns:
        (..., H, W) in 0..1.
    """
    if how == "none":
        return magnitude
    strong = torch.quantile(magnitude.flatten(-2), QUANTILE, dim=-1)[..., None, None]
    if how == "smooth":
        return magnitude * torch.sigmoid(SLOPE * (magnitude - strong))
    gain = torch.where(magnitude >= strong, GAINS[1], GAINS[0])
    return (magnitude * gain).clamp(0, 1)


def mm_cof(
    onset_phase: Flow, offset_phase: Flow, weight: float = 0.5, modulation: Modulation = "step"
) -> Flow:
    """The magnitude-modulated combined optical flow of two phases.

    With normalised magnitudes M1, M2 and unit vectors d1, d2, the combined magnitude is
    ``M = w M1 + (1 - w) M2``, and the direction is that of ``w M1 d1 - (1 - w) M2 d2``. The offset
    phase is subtracted because it undoes the onset phase; where a phase does not move, it adds
    nothing. Each phase is scaled separately, so neither the unit of the flow nor a slower offset
    phase matters. With ``w = 0.5`` the result does not show which of the phases moved.

    Args:
        onset_phase: (..., 2, H, W) flow onset to apex, u right and v down, any unit.
        offset_phase: The same, apex to offset.
        weight: Share of the onset phase, 0..1. Without an offset frame, use 1 and any
            ``offset_phase``.
        modulation: See :func:`modulate`; "none" gives COF.

    Returns:
        (..., 3, H, W): ``m cos t, m sin t, m`` with the modulated magnitude m in 0..1 and the
        direction t; 0 where nothing moved. An array for arrays, else a tensor. Where the phases
        cancel exactly, the first two channels are 0.

    Raises:
        UserError: If the shapes differ or are not flow, or the weight is not in 0..1.
    """
    if (
        onset_phase.shape != offset_phase.shape
        or onset_phase.ndim < 3
        or onset_phase.shape[-3] != 2
    ):
        raise UserError(
            f"mm_cof: flows of shapes {tuple(onset_phase.shape)} and "
            f"{tuple(offset_phase.shape)}; expected one shape (..., 2, H, W): u, v of both phases"
        )
    if not 0 <= weight <= 1:
        raise UserError(f"mm_cof: weight {weight}; expected a share of 0 to 1 for the onset phase")
    if isinstance(onset_phase, np.ndarray):
        first, second = (
            torch.from_numpy(np.ascontiguousarray(f)) for f in (onset_phase, offset_phase)
        )
        return mm_cof(first, second, weight, modulation).numpy()
    total, direction = torch.zeros(()), torch.zeros(())
    # weight - 1 is -(1 - weight): the offset phase is subtracted from the direction, while abs()
    # adds it to the magnitude.
    for flow, share in ((onset_phase, weight), (offset_phase, weight - 1)):
        size = length(flow)
        magnitude = unit_range(size)
        total = total + abs(share) * magnitude
        # M d: the direction as a unit vector, scaled by the normalised magnitude; 0 at rest.
        direction = direction + share * (magnitude / size.clamp_min(_LEAST))[..., None, :, :] * flow
    shown = modulate(total, modulation)
    norm = length(direction)
    cosine_sine = torch.where(
        norm[..., None, :, :] > _LEAST, direction / norm.clamp_min(_LEAST)[..., None, :, :], 0.0
    )
    return torch.cat([shown[..., None, :, :] * cosine_sine, shown[..., None, :, :]], dim=-3)
