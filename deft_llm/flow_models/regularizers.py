"""Losses for facial flow: sequence, mask, gradient matching and total variation.

SRFlow (arXiv 2601.06479) constrains flow by masks and by gradients, computed as differences or
with the Sobel operator. Its formulas and weights are not public; both are our own choice. The
sequence loss is RAFT's (Teed and Deng, ECCV 2020). A weight of zero switches a term off.

Masked terms are means over the pixels or stencils that lie completely inside the mask: flow drops
to zero at the silhouette, and a stencil across it would distort the flow along the border.

Letters: B batch, H x W pixels; flow (B, 2, H, W) in px; masks (B, H, W), bool or 0..1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from deft_llm.config import Settings
from deft_llm.errors import UserError

Operator = Literal["difference", "sobel"]
_LONGEST = 400.0  # px; as in RAFT, longer true motion is left out


class FaceLosses(Settings):
    """Weights of the terms.

    Attributes:
        gamma: Weight of an update relative to the next one.
        mask: Weight of "the background does not move".
        gradient: Weight of "gradients as in the truth".
        tv: Weight of "gradients are small".
        operator: Operator that computes the gradients.
    """

    gamma: float = Field(default=0.8, gt=0, le=1)
    mask: float = Field(default=0.1, ge=0)
    gradient: float = Field(default=0.5, ge=0)
    tv: float = Field(default=0.01, ge=0)
    operator: Operator = "difference"


def face_loss(
    flows: Sequence[Tensor], truth: Tensor, mask: Tensor, weights: FaceLosses
) -> dict[str, Tensor]:
    """All terms and their weighted sum.

    Args:
        flows: Predictions (B, 2, H, W) of one or more updates, the best last.
        truth: (B, 2, H, W).
        mask: (B, H, W), the face.
        weights: Weights; a term with weight zero is not computed.

    Returns:
        "loss", and those of "sequence", "mask", "gradient" and "tv" that are on, unweighted.

    Raises:
        UserError: If shapes differ, no prediction is given, or the truth is not finite.
    """
    check_batch(flows, truth, mask)
    inside = mask.bool()
    parts = {"sequence": sequence_loss(flows, truth, weights.gamma)}
    if weights.mask:
        parts["mask"] = mask_loss(flows, inside, weights.gamma)
    if weights.gradient:
        parts["gradient"] = gradient_loss(flows, truth, inside, weights.operator, weights.gamma)
    if weights.tv:
        parts["tv"] = gradient_loss(flows, None, inside, weights.operator, weights.gamma)
    scale = {"sequence": 1.0, "mask": weights.mask, "gradient": weights.gradient, "tv": weights.tv}
    total = torch.stack([scale[name] * part for name, part in parts.items()]).sum()
    return {"loss": total, **parts}


def check_batch(flows: Sequence[Tensor], truth: Tensor, mask: Tensor) -> None:
    """Reject inputs that the losses would silently broadcast or average.

    Raises:
        UserError: If shapes differ, no prediction is given, or the truth is not finite.
    """
    if not flows:
        raise UserError("flow loss: no predicted flow; expected at least one")
    for flow in flows:
        if flow.dim() != 4 or flow.shape[1] != 2 or flow.shape != truth.shape:
            raise UserError(
                f"flow loss: predicted {tuple(flow.shape)} and true flow {tuple(truth.shape)}; "
                "expected two equal shapes (B, 2, H, W)"
            )
    if mask.shape != (truth.shape[0], *truth.shape[2:]):
        raise UserError(
            f"flow loss: a mask of shape {tuple(mask.shape)} for flow {tuple(truth.shape)}; "
            f"expected {(truth.shape[0], *truth.shape[2:])}"
        )
    if not torch.isfinite(truth).all():
        raise UserError(
            "flow loss: the true flow holds NaN or infinity; mend or leave out the pair"
        )


def sequence_loss(flows: Sequence[Tensor], truth: Tensor, gamma: float = 0.8) -> Tensor:
    """RAFT's loss: weighted mean of |u - u*| + |v - v*| over pixels that move less than 400 px."""
    valid = truth.norm(dim=1) < _LONGEST
    return _weighted((masked_mean((f - truth).abs().sum(1), valid) for f in flows), gamma)


def mask_loss(flows: Sequence[Tensor], mask: Tensor, gamma: float = 0.8) -> Tensor:
    """Mean of |u| + |v| over the background."""
    return _weighted((masked_mean(f.abs().sum(1), ~mask.bool()) for f in flows), gamma)


def gradient_loss(
    flows: Sequence[Tensor],
    truth: Tensor | None,
    mask: Tensor,
    operator: Operator = "difference",
    gamma: float = 0.8,
) -> Tensor:
    """Mean distance of the flow's gradients from the true ones, inside the mask.

    Args:
        flows: Predictions.
        truth: True flow; None compares with zero, which is total variation.
        mask: (B, H, W).
        operator: "difference" or "sobel".
        gamma: Weight from one update to the next.
    """
    valid = stencils(mask, operator)
    wanted = 0.0 if truth is None else derivatives(truth, operator)
    return _weighted(
        (masked_mean((derivatives(f, operator) - wanted).abs().sum(2), valid) for f in flows),
        gamma,
    )


def derivatives(flow: Tensor, operator: Operator) -> Tensor:
    """Gradients of both components, px per px.

    Args:
        flow: (B, 2, H, W).
        operator: "difference", f(x + 1) - f(x), zero in the last column or row; or "sobel", the
            3 x 3 operator over 8, edges repeated.

    Returns:
        (B, 2, 2, H, W): along x, along y; then u, v.
    """
    if operator == "difference":
        dx = F.pad(flow[..., :, 1:] - flow[..., :, :-1], (0, 1, 0, 0))
        dy = F.pad(flow[..., 1:, :] - flow[..., :-1, :], (0, 0, 0, 1))
        return torch.stack([dx, dy], dim=1)
    # Separable Sobel: smooth (1, 2, 1) across the derivative's axis, then difference. The factor
    # 1/8 gives px per px.
    p = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    down = (p[..., :-2, :] + 2 * p[..., 1:-1, :] + p[..., 2:, :]) / 8
    across = (p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]) / 8
    dx = down[..., 2:] - down[..., :-2]
    dy = across[..., 2:, :] - across[..., :-2, :]
    return torch.stack([dx, dy], dim=1)


def stencils(mask: Tensor, operator: Operator) -> Tensor:
    """Where a stencil lies completely inside mask and image, (B, 2, H, W) bool: x, y."""
    mask = mask.bool()
    if operator == "difference":
        # The padding is False: the last column (row) has no forward difference.
        across = F.pad(mask[..., :, 1:] & mask[..., :, :-1], (0, 1, 0, 0))
        down = F.pad(mask[..., 1:, :] & mask[..., :-1, :], (0, 0, 0, 1))
        return torch.stack([across, down], dim=1)
    outside = F.pad((~mask).float()[:, None], (1, 1, 1, 1), value=1.0)
    # Erosion of the mask, as a maximum over its complement.
    eroded = F.max_pool2d(outside, 3, stride=1) == 0
    return eroded.expand(-1, 2, -1, -1)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid positions; zero with zero gradient if there are none."""
    return (values * valid).sum() / valid.sum().clamp(min=1)


def _weighted(terms: Iterable[Tensor], gamma: float) -> Tensor:
    """Sum of gamma^(N - 1 - i) times term i; the last update has weight 1."""
    parts = torch.stack(list(terms))
    powers = torch.arange(len(parts) - 1, -1, -1, device=parts.device, dtype=parts.dtype)
    return (gamma**powers * parts).sum()
