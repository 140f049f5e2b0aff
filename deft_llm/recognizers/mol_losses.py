"""Losses of MOL's three heads; any target of any clip may be missing.

Formulas and weights are those of MOL's public code (github.com/CYF-cuber/MOL): cross-entropy, mean
squared flow error, and the sum over frames of the mean landmark error in eye distances. A missing
target takes part in no sum, so it changes no gradient, not by rounding either.

Letters: B sub-clips, T frames, S side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from deft_llm.config import Settings
from deft_llm.recognizers.mol import Joint

NO_CLASS = -1
_EYES = (slice(36, 42), slice(42, 48))  # points of the subject's right and left eye


class Weights(Settings):
    """Weights of the losses.

    Attributes:
        emotion: Of the cross-entropy.
        flow: Of the squared flow error, px².
        landmarks: Of the landmark error; the public code has 0.5, its instructions 0.1.
    """

    emotion: float = Field(default=1.0, ge=0)
    flow: float = Field(default=10.0, ge=0)
    landmarks: float = Field(default=0.5, ge=0)


@dataclass(frozen=True)
class Targets:
    """Targets of B sub-clips.

    Attributes:
        labels: (B,) class indices; ``NO_CLASS`` where the class is not known.
        flow: (B, T - 1, 2, S, S) pixels; NaN where it is not known; None for no clip.
        landmarks: (B, T, 68, 2) pixels of the crop; likewise. For the release, (B, T - 1, 68, 2).
    """

    labels: Tensor
    flow: Tensor | None = None
    landmarks: Tensor | None = None


def eye_distance(points: Tensor) -> Tensor:
    """Distance between the centres of the eyes: (..., 68, 2) to (...)."""
    right, left = (points[..., eye, :].mean(-2) for eye in _EYES)
    return (left - right).norm(dim=-1)


def joint_losses(
    found: Joint, targets: Targets, weights: Weights | None = None
) -> dict[str, Tensor]:
    """The weighted sum "loss", and the parts of the heads that have targets.

    Returns:
        "loss"; "emotion"; "flow", mean squared error of a component, px²; "landmarks", mean
        distance |dx| + |dy| in eye distances, summed over frames.
    """
    weights = weights or Weights()
    parts = {"emotion": _emotion(found.logits, targets.labels)}
    if found.flow is not None and targets.flow is not None:
        parts["flow"] = _flow(found.flow, targets.flow)
    if found.landmarks is not None and targets.landmarks is not None:
        parts["landmarks"] = _landmarks(found.landmarks, targets.landmarks)
    loss = sum((getattr(weights, name) * part for name, part in parts.items()), torch.zeros(()))
    return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}


def _emotion(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits.float(), labels, ignore_index=NO_CLASS, reduction="sum")
    # Without any label the sum is an exact zero; its mean would be NaN.
    return total / (labels != NO_CLASS).sum().clamp_min(1)


def _flow(found: Tensor, target: Tensor) -> Tensor:
    known, error = _known(found, target)
    return error.square().sum() / known.sum().clamp_min(1)


def _landmarks(found: Tensor, target: Tensor) -> Tensor:
    known, error = _known(found, target)
    frames = known.all(-1).all(-1)  # a frame counts if all of its points are known
    distance = torch.where(frames, eye_distance(target), 1.0)
    each = torch.where(frames, error.abs().sum((-2, -1)) / distance, 0.0)
    per_frame = each.sum(0) / frames.sum(0).clamp_min(1)
    return per_frame.sum() / found.shape[-2]


def _known(found: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where the target is known, and the error: exactly 0, with no gradient, where it is not."""
    known = target.isfinite()
    # The NaN is replaced before the subtraction: where() alone would give a NaN gradient.
    return known, torch.where(known, found - torch.where(known, target, 0.0), 0.0)
