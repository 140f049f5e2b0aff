"""Parts of FED-PsyAU besides its graphs: patch features, AU features, and both inception streams.

Letters: B batch, P patches, K side of a patch.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft_llm.data.au_graph import PATCH
from deft_llm.recognizers.layers import SeededDropout

TOKEN = 3 * PATCH * PATCH  # width of a patch's token


class PatchEncoder(nn.Module):
    """LFE: three convolutions that all patches share."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 3)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, P, 3, K, K) to tokens (B, P, 75)."""
        found: Tensor = self.layers(patches.flatten(0, 1))
        return found.flatten(1).unflatten(0, patches.shape[:2])


class SharedStructure(nn.Module):
    """SSE: a transformer layer over the patches of one clip, an MLP, and the input added.

    In the public code the layer attends across the clips of a batch, because ``batch_first`` is
    missing. The projections are layers of their own, so that a gradient for each clip can be had
    (differential privacy).
    """

    def __init__(self, heads: int = 5, hidden: int = 2048, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.joined = (nn.Linear(TOKEN, TOKEN) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(TOKEN) for _ in range(2))
        self.forward_1, self.mlp = (
            nn.Sequential(nn.Linear(TOKEN, hidden), nn.ReLU(), nn.Linear(hidden, TOKEN))
            for _ in range(2)
        )
        self.dropouts = nn.ModuleList(SeededDropout(dropout) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, P, 75) to the same."""
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        # Written out: gradients of single clips (``torch.func``) have no rule for the fused kernel.
        attention = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        seen = (attention @ v).transpose(1, 2).flatten(2)
        # Norms behind the sums, as nn.TransformerEncoderLayer has them by default.
        x = self.norms[0](tokens + self.dropouts[0](self.joined(seen)))
        x = self.norms[1](x + self.dropouts[1](self.forward_1(x)))
        return tokens + self.mlp(x)


class GroupSE(nn.Module):
    """Squeeze and excitation of whole patches: one weight for the three channels of each."""

    def __init__(self, patches: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, patches // reduction)
        self.net = nn.Sequential(
            nn.Linear(patches, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, patches, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, 3, K, K) to the same."""
        weights: Tensor = self.net(x.mean((2, 3, 4)))
        return x * weights[:, :, None, None, None]


class AuFeatures(nn.Module):
    """AFE: features of a few AUs from the patches around them.

    Args:
        patches: P.
        aus: Number of AUs.
    """

    def __init__(self, patches: int, aus: int) -> None:
        super().__init__()
        self.weigh = GroupSE(patches)
        self.net = nn.Sequential(
            nn.Conv2d(3 * patches, 2 * aus, 3, 1, 1),
            nn.BatchNorm2d(2 * aus),
            nn.ReLU(),
            nn.Conv2d(2 * aus, aus, 1),
            nn.BatchNorm2d(aus),
            nn.ReLU(),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, P, 75) to (B, aus, 25), of length 1."""
        patches = tokens.unflatten(-1, (3, PATCH, PATCH))
        maps = self.net((patches + self.weigh(patches)).flatten(1, 2))
        return F.normalize(maps.flatten(2), dim=-1)


class AuHead(nn.Module):
    """AP: logits of all AUs from the features of all of them."""

    def __init__(self, aus: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(aus * width, 128), nn.ReLU(), SeededDropout(0.5), nn.Linear(128, aus)
        )

    def forward(self, nodes: Tensor) -> Tensor:
        """(B, aus, width) to (B, aus)."""
        logits: Tensor = self.net(nodes.flatten(1))
        return logits


def _convolution(before: int, after: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, side, 1, side // 2), nn.BatchNorm2d(after), nn.ReLU()
    )


class Inception(nn.Module):
    """Four branches: 1x1, 1x1 and 3x3, 1x1 and 5x5, pool and 1x1; each ``after`` channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _convolution(before, after, 1),
                nn.Sequential(_convolution(before, after, 1), _convolution(after, after, 3)),
                nn.Sequential(_convolution(before, after, 1), _convolution(after, after, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(before, after, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, h, w) to (B, 4 after, h, w)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class DualStream(nn.Module):
    """DSI: inceptions over the AU maps and over the flow, joined into the class.

    Args:
        classes: Number of classes.
        aus: Channels of the AU maps.
        dropout: Rate before the classifier.
    """

    def __init__(self, classes: int, aus: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.of_aus = nn.Sequential(Inception(aus, 16), nn.MaxPool2d(2), Inception(64, 48))
        self.of_flow = nn.Sequential(
            Inception(3, 6), nn.MaxPool2d(2), Inception(24, 16), nn.MaxPool2d(2)
        )
        self.joined = nn.Sequential(nn.Linear(64 * 7 * 7, 1024), nn.ReLU())  # 28 px, halved twice
        self.dropout = SeededDropout(dropout)
        self.classifier = nn.Linear(192 * 2 * 2 + 1024, classes)  # 5 px, halved once

    def forward(self, au_maps: Tensor, flow: Tensor) -> Tensor:
        """AU maps (B, aus, 5, 5) and flow (B, 3, 28, 28) to logits (B, classes)."""
        both = [self.of_aus(au_maps).flatten(1), self.joined(self.of_flow(flow).flatten(1))]
        logits: Tensor = self.classifier(self.dropout(torch.cat(both, 1)))
        return logits
