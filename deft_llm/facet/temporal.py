"""4D: a sequence becomes one input before the tower (rank pooling), or one after it (transformer).

Letters: B scans, T frames, V views, L tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deft_llm.facet.tower import Block


class TemporalTransformer(nn.Module):
    """Attention over the frames at every place of every view, then their mean.

    As in the factorised encoders of ViViT (Arnab et al., ICCV 2021).
    """

    def __init__(self, dim: int, frames: int, heads: int = 4) -> None:
        super().__init__()
        self.time = nn.Parameter(0.02 * torch.randn(1, frames, dim))  # SD as in ViT
        self.block = Block(dim, heads, wider=2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, V, L, D) to tokens (B, V, L, D)."""
        batch, frames, count, length, dim = tokens.shape
        lines = tokens.permute(0, 2, 3, 1, 4).reshape(-1, frames, dim)  # a line a place
        seen = self.norm(self.block(lines + self.time[:, :frames])).mean(dim=1)
        whole: Tensor = seen.view(batch, count, length, dim)
        return whole
