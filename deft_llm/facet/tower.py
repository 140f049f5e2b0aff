"""The visual tower: one view in, tokens out.

Our own tower is a vision transformer behind a few convolutions (Xiao et al., "Early convolutions
help transformers see better", NeurIPS 2021): the paper's CLIP needs 26 GFLOP for three views, this
one less than one.

Letters: N pictures, C channels, S side, P patches, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.facet.configuration import FacetConfig, VisualConfig

if TYPE_CHECKING:
    from deft_llm.facet.clip_towers import ClipVisual

PATCH = 16  # px between the tokens of our own tower


class Block(nn.Module):
    """A transformer block; its projections bear the names that adapters look for."""

    def __init__(self, width: int, heads: int, wider: int = 3) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(width, width) for _ in range(4)
        )
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, wider * width), nn.GELU(), nn.Linear(wider * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L, D) to tokens."""
        seen = self.norm(tokens)
        q, k, v = (
            split(proj(seen), self.heads) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        tokens = tokens + self.out_proj(joined(F.scaled_dot_product_attention(q, k, v)))
        mixed: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return mixed


def split(x: Tensor, heads: int) -> Tensor:
    """(N, L, D) to (N, heads, L, D / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """The inverse of `split`."""
    return x.transpose(1, 2).flatten(2)


class SmallViT(nn.Module):
    """Our own tower."""

    def __init__(self, config: VisualConfig, channels: int, side: int) -> None:
        super().__init__()
        self.width = width = config.width

        def convolution(inside: int, outside: int, size: int, stride: int) -> list[nn.Module]:
            # Patches side by side need no padding; other kernels are centred.
            padding = 0 if size == stride else size // 2
            conv = nn.Conv2d(inside, outside, size, stride, padding, bias=False)
            return [conv, nn.GroupNorm(1, outside), nn.GELU()]

        # The strides 4, 2 and 2 make up PATCH; the last layer is 1 x 1, as in Xiao et al.
        self.stem = nn.Sequential(
            *convolution(channels, width // 4, 4, 4),
            *convolution(width // 4, width // 2, 3, 2),
            *convolution(width // 2, width // 2, 3, 1),
            *convolution(width // 2, width, 3, 2),
            nn.Conv2d(width, width, 1),
        )
        patches = (side // PATCH) ** 2
        # Faces lie alike in every view: what stands where is read by a layer of its own, which
        # learns from far fewer scans than attention from a learned token does.
        self.gather = nn.Sequential(
            nn.Linear(width, width // 4),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(patches * (width // 4), width),
        )
        self.place = nn.Parameter(0.02 * torch.randn(1, 1 + patches, width))
        self.blocks = nn.Sequential(*(Block(width, config.heads) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Tokens (N, 1 + P, width) of pictures (N, C, S, S)."""
        patches = self.stem(pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.gather(patches)[:, None], patches], dim=1) + self.place
        seen: Tensor = self.norm(self.blocks(tokens))
        return seen


def build_tower(config: FacetConfig) -> SmallViT | ClipVisual:
    """The visual tower of a configuration.

    Raises:
        UserError: If a CLIP model cannot be loaded, or does not take the channels or the side.
    """
    if config.visual.kind == "clip":
        from deft_llm.facet.clip_towers import ClipVisual

        tower: SmallViT | ClipVisual = ClipVisual(config)
    else:
        tower = SmallViT(config.visual, len(config.channels), config.side)
    if config.visual.lora_rank:
        _adapt(tower, config.visual.lora_rank)
    return tower


def _adapt(tower: nn.Module, rank: int) -> None:
    """Freeze a tower and put low-rank adapters into its attention."""
    from peft import LoraConfig, inject_adapter_in_model

    tower.requires_grad_(False)
    # Queries and values, as in the LoRA paper; a scale (alpha over rank) of 2 is our choice.
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj"])
    inject_adapter_in_model(settings, tower)
