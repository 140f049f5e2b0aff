"""A hierarchical transformer on flow, after HTNet.

Z. Wang et al., "HTNet for micro-expression recognition", Neurocomputing 602 (2024): attention
first inside four areas of the face, then between them, with a convolution and pooling that merge
2x2 neighbours from level to level. Reproduced: that hierarchy. Our own choice: size (0.2 million
parameters; the published network, also for 28x28, has hundreds of times more), fine patches of 4x4
pixels, and one token per patch, so that attention has more than one token (in the published code
each block of the first level is a single token, so query and key never receive a gradient).

Letters: B batch, S side, D width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from deft_llm.errors import UserError
from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.layers import SeededDropout

_PATCH = 4
_GRID = 8  # patches along a side, after padding


class _Block(nn.Module):
    """Pre-norm attention and a feed-forward layer, on (..., L, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = SeededDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        *lead, length, width = x.shape
        parts = self.qkv(self.norm(x)).view(*lead, length, 3, self.heads, width // self.heads)
        # (..., L, 3, heads, d) to (..., heads, 3, L, d): heads become a batch dimension.
        query, key, value = parts.transpose(-2, -4).unbind(-3)
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        mixed = (weights @ value).transpose(-2, -3).flatten(-2)
        x = x + self.dropout(self.out(mixed))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


class HTNet(Recognizer):
    """Three levels: 4 areas of 16 patches, 16 joint patches, 4 areas of the face.

    Args:
        classes: Number of classes.
        side: Side of the flow, pixels; 25 to 32 (padded to 32).
        width: Width D of the tokens.
        heads: Attention heads.
        dropout: Rate after attention and feed-forward layers.

    Raises:
        UserError: If the side does not fit.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_uvs",)

    def __init__(
        self, classes: int, side: int = 28, width: int = 64, heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.side = side
        self.pad = _PATCH * _GRID - side
        if not 0 <= self.pad < 8:
            raise UserError(f"HTNet: flow of {side} pixels; expected a side of 25 to 32")
        self.feature_dim = width
        self.embed = nn.Linear(3 * _PATCH * _PATCH, width)
        self.place = nn.Parameter(0.02 * torch.randn(_GRID * _GRID, width))
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(3))
        self.join = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(2))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, 4, D): the four quarters of the face."""
        # Zero padding on all sides keeps the face centred on the grid; zero means no motion.
        low, high = self.pad // 2, self.pad - self.pad // 2
        flow = functional.pad(inputs["flow_uvs"], (low, high, low, high))
        cells = flow.unflatten(2, (_GRID, _PATCH)).unflatten(4, (_GRID, _PATCH))
        patches = cells.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, 8, 8, 48)
        tokens = self.embed(patches).flatten(1, 2) + self.place
        grid = _GRID
        for level, block in enumerate(self.blocks):
            if level == 0:  # inside each quarter of the face
                # 8 = 2 areas of 4, down and across: (B, 2, 2, 4, 4, D) after the transpose.
                areas = tokens.view(-1, 2, 4, 2, 4, self.feature_dim).transpose(2, 3)
                areas = block(areas.flatten(3, 4))
                areas = areas.unflatten(3, (4, 4)).transpose(2, 3)
                tokens = areas.reshape(-1, grid * grid, self.feature_dim)
            else:
                tokens = block(tokens)
            if level < len(self.join):
                grid //= 2
                # The four neighbours of a square side by side, joined by one layer.
                square = tokens.view(-1, grid, 2, grid, 2, self.feature_dim).transpose(2, 3)
                tokens = self.join[level](square.reshape(-1, grid * grid, 4 * self.feature_dim))
        return tokens

    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, classes)."""
        logits: Tensor = self.head(self.forward_features(inputs).mean(1))
        return logits
