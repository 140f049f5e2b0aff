"""FACET-VLM: from the views of a face to the texts that describe it.

FACET-VLM (Behzad, arXiv 2507.01673; Neurocomputing 657, 2025). The paper names its parts; what is
not public (shapes, prompts, training) is our own choice, see `fusion.py` and `losses.py`.

Letters: B scans, T frames, V views, C channels, S side, L = 1 + P tokens of a view, D the shared
space, E the width of the text tower, K texts, Y classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.fusion import CrossViewAggregation, TextGuidedFusion
from deft_llm.facet.temporal import TemporalTransformer
from deft_llm.facet.tower import build_tower

_TAU = 0.07  # start of the temperature, as in CLIP
_LARGEST_SCALE = 100.0  # CLIP's limit: beyond it training is unstable
_WAVES = 3  # harmonics of a view's yaw


@dataclass(frozen=True)
class FacetOutput:
    """What the network says.

    Attributes:
        text_logits: (B, K) cosines of face and text over tau.
        linear_logits: (B, Y) of the linear head.
        face: (B, D) the fused face.
        views: (B, V, D) one vector a view, after CVSA.
        weights: (B, V) of the views.
        where: (B, K, V, L) shares of its tokens that each text looked at; None without MTGF.
        tokens: (B, V, L, D) of the tower.
    """

    text_logits: Tensor
    linear_logits: Tensor
    face: Tensor
    views: Tensor
    weights: Tensor
    where: Tensor | None
    tokens: Tensor


class Facet(nn.Module):
    """The network.

    Args:
        config: Its settings.
        text_width: E, of the text tower.
    """

    def __init__(self, config: FacetConfig, text_width: int) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        tower: Any = build_tower(config)
        self.tower = tower
        self.to_shared = nn.Linear(tower.width, dim)
        self.of_yaw = nn.Linear(2 * _WAVES, dim)
        # Without a bias the vector of a text stays composed of the vectors of its parts.
        self.of_text = nn.Linear(text_width, dim, bias=False)
        self.over_time = (
            TemporalTransformer(dim, config.frames) if config.temporal == "transformer" else None
        )
        self.cvsa = CrossViewAggregation(dim) if config.cvsa else None
        self.mtgf = TextGuidedFusion(dim) if config.mtgf else None
        self.norm = nn.LayerNorm(dim)
        self.linear = nn.Linear(dim, len(config.classes))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / _TAU)))
        # For several expressions at once: a cosine of 0 begins as a share of sigmoid(-2) = 0.12.
        self.offset = nn.Parameter(torch.tensor(-2.0))

    @property
    def scale(self) -> Tensor:
        """1 / tau."""
        return self.log_scale.exp().clamp(max=_LARGEST_SCALE)

    def encode(self, views: Tensor, yaws: Tensor) -> Tensor:
        """The tower alone.

        Args:
            views: (B, V, C, S, S), or (B, T, V, C, S, S) for the temporal transformer.
            yaws: (V,) degrees.

        Returns:
            Tokens (B, V, L, D).
        """
        # Every view (of every frame) is one picture of a large batch.
        tokens = self.to_shared(self.tower(views.flatten(0, -4)))
        tokens = tokens.unflatten(0, views.shape[:-3])
        if self.over_time is not None:
            tokens = self.over_time(tokens)
        # By the angle and not by the number of the view, so that other yaws can be given as well.
        angle = torch.deg2rad(yaws)[:, None] * torch.arange(1, _WAVES + 1, device=yaws.device)
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1)
        # All tokens of a view get the same vector.
        told: Tensor = tokens + self.of_yaw(waves.to(tokens.dtype))[:, None]
        return told

    def fuse(self, tokens: Tensor, present: Tensor, texts: Tensor) -> FacetOutput:
        """Everything behind the tower.

        Args:
            tokens: (B, V, L, D) from `encode`.
            present: (B, V) bool, at least one view of each scan.
            texts: (K, E) from the text tower.
        """
        anchors = F.normalize(self.of_text(texts), dim=-1)
        if self.cvsa is not None:
            views, face, weights = self.cvsa(tokens, present, anchors)
        else:
            # The plain mean of the views that are there.
            views, weights = tokens[:, :, 0], present / present.sum(dim=1, keepdim=True)
            face = (weights[..., None] * views).sum(dim=1)
        where = None
        if self.mtgf is not None:
            face, where = self.mtgf(face, tokens, present, anchors, self.scale)
        face = self.norm(face)
        logits = self.scale * F.normalize(face, dim=-1) @ anchors.T
        return FacetOutput(logits, self.linear(face), face, views, weights, where, tokens)

    def forward(
        self,
        views: Tensor,
        texts: Sequence[Tensor],
        present: Tensor | None = None,
        yaws: Tensor | None = None,
    ) -> list[FacetOutput]:
        """Compare faces with one or several lists of texts; the tower runs once.

        Args:
            views: (B, V, C, S, S) in -1..1, see `data.scan_views.views`.
            texts: Each (K, E) from the text tower; their order is that of the logits.
            present: (B, V) bool; None where no view is missing.
            yaws: (V,) degrees; None for those of the configuration.
        """
        count = views.shape[-4]
        if yaws is None:
            # Fewer views than configured are the first of them.
            yaws = torch.tensor(self.config.yaws[:count], device=views.device)
        if present is None:
            present = torch.ones((len(views), count), dtype=torch.bool, device=views.device)
        tokens = self.encode(views, yaws)
        return [self.fuse(tokens, present, each) for each in texts]

    def probabilities(self, output: FacetOutput, trained: bool) -> Tensor:
        """Probabilities (B, K) of the texts.

        Args:
            output: What the network said.
            trained: The texts are those of the classes, in their order: the linear head then has
                its say as well, the mean of both.
        """
        logits = output.text_logits
        if self.config.multi_label:
            shares = torch.sigmoid(logits + self.offset)
            heads = torch.sigmoid(output.linear_logits)
        else:
            shares, heads = logits.softmax(dim=-1), output.linear_logits.softmax(dim=-1)
        return 0.5 * (shares + heads) if trained else shares
