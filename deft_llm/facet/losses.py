"""Losses of FACET-VLM: faces beside their texts, and views beside each other.

Letters: B scans, V views, D width, K texts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RELATIONAL = 0.1
"""Weight mu of the relational term."""


def consistency_loss(views: Tensor, present: Tensor, relational: float = RELATIONAL) -> Tensor:
    """Multiview consistency: views of a scan agree, and order the scans alike.

    L = mean over pairs of 1 - cos(z_v, z_u), plus mu times the mean over pairs of
    ||S_v - S_u||^2 / B^2, where S_v holds the cosines between the scans as view v sees them.

    Args:
        views: (B, V, D) one vector a view.
        present: (B, V) bool; pairs with a missing view count nothing.
        relational: mu.

    Returns:
        The loss, a scalar; 0 for identical views, and where no scan has two views.
    """
    unit = F.normalize(views, dim=-1)
    alike = unit @ unit.transpose(1, 2)
    pairs = torch.triu(present[:, :, None] & present[:, None], diagonal=1)  # (B, V, V), each once
    agree = ((1 - alike) * pairs).sum() / pairs.sum().clamp(min=1)
    between = torch.einsum("avd,bvd->vab", unit, unit)  # S_v: scans a and b in view v
    both = (present.T[:, :, None] & present.T[:, None]).to(unit.dtype)  # (V, B, B)
    apart = ((between[:, None] - between) ** 2 * both[:, None] * both).sum(dim=(-1, -2))
    upper = torch.triu(torch.ones_like(apart), diagonal=1)
    # Over the entries that both views have, so that missing views do not make the term small.
    entries = (both[:, None] * both).sum(dim=(-1, -2)).clamp(min=1)
    relation = (apart / entries * upper).sum() / upper.sum().clamp(min=1)
    return agree + relational * relation


def contrastive_loss(faces: Tensor, texts: Tensor, index: Tensor, scale: Tensor) -> Tensor:
    """Faces beside their texts, both ways (symmetric InfoNCE with several positives).

    Args:
        faces: (B, D).
        texts: (K, D), all different.
        index: (B,) the text of each face.
        scale: 1 / tau.

    Returns:
        The loss, a scalar.
    """
    logits = scale * F.normalize(faces, dim=-1) @ F.normalize(texts, dim=-1).T
    to_text = F.cross_entropy(logits, index)
    # Several faces may share a text: each is a positive of it (as in SupCon).
    log_share = logits.T.log_softmax(dim=-1)
    own = F.one_hot(index, len(texts)).T.to(logits.dtype)
    counts = own.sum(dim=1)
    # Clamped although texts without a face are dropped: the gradient of 0 / 0 would stay NaN.
    to_face = -((own * log_share).sum(dim=1) / counts.clamp(min=1))[counts > 0].mean()
    return 0.5 * (to_text + to_face)
