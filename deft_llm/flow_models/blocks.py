"""Parts of SKFlow: the residual encoder, the super-kernel block, attention and aggregation.

SKFlow (Sun et al., NeurIPS 2022, arXiv 2205.14623) is RAFT (Teed and Deng, ECCV 2020) with GMA's
global motion aggregation (Jiang et al., ICCV 2021) and super-kernel blocks in place of the GRU.

Letters: B batch, C channels, h x w positions of the feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection, which is projected where the size changes."""

    def __init__(self, channels_in: int, channels: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = _norm(norm, channels), _norm(norm, channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride)
            self.skip = nn.Sequential(projection, _norm(norm, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H / stride, W / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.skip(x) + y)


class Encoder(nn.Module):
    """RAFT's basic encoder.

    Args:
        widths: Channels of the three stages.
        out: Output channels.
        norm: "instance" or "batch".
        stride: 8, or 4 if the last stage keeps its resolution.
    """

    def __init__(self, widths: Sequence[int], out: int, norm: str, stride: int) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Conv2d(3, first, 7, 2, padding=3)
        self.norm = _norm(norm, first)
        self.stages = nn.Sequential(
            ResidualBlock(first, first, norm, 1),
            ResidualBlock(first, first, norm, 1),
            ResidualBlock(first, second, norm, 2),
            ResidualBlock(second, second, norm, 1),
            ResidualBlock(second, third, norm, stride // 4),
            ResidualBlock(third, third, norm, 1),
        )
        self.project = nn.Conv2d(third, out, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # RAFT's initialisation.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in -1..1 -> (B, out, h, w)."""
        features: Tensor = self.project(self.stages(F.relu(self.norm(self.stem(x)))))
        return features


class SuperKernelBlock(nn.Module):
    """SKFlow's partially connected block with large depthwise kernels.

    Args:
        channels: Input channels.
        out: Output channels.
        kernels: Sizes of the depthwise kernels, odd.
    """

    def __init__(self, channels: int, out: int, kernels: Sequence[int]) -> None:
        super().__init__()
        # The published expansion of SKFlow's feed-forward layers.
        wide = int(1.5 * channels)
        self.before = _feed_forward(channels, wide, channels)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels) for k in kernels
        )
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.after = _feed_forward(channels, wide, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, out, h, w)."""
        x = F.gelu(x + self.before(x))
        for convolution in self.depthwise:
            x = F.gelu(x + _depthwise(convolution, x))
        x = F.gelu(x + self.pointwise(x))
        out: Tensor = self.after(x)
        return out


def _depthwise(convolution: nn.Module, x: Tensor) -> Tensor:
    """A depthwise convolution; a 1x1 kernel is computed as a scaling, many times faster."""
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
    if convolution.kernel_size != (1, 1):
        out: Tensor = convolution(x)
        return out
    return torch.addcmul(convolution.bias[:, None, None], x, convolution.weight[:, 0])


def _feed_forward(channels: int, wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, wide, 1), nn.GELU(), nn.Conv2d(wide, out, 1))


class Attention(nn.Module):
    """Attention between grid positions: one head, softmax over the whole grid.

    Args:
        channels: Channels of the context, the queries and the keys.
        positions: Largest grid side with learnt relative positions; 0 leaves the embeddings out.
            The published weights contain them even if they are not used.
        by: What is compared, "content", "position" or "both".
        pool: Side of the squares of positions over which keys and values are averaged.
    """

    def __init__(self, channels: int, positions: int, by: str, pool: int = 1) -> None:
        super().__init__()
        self.query_key = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.by, self.reach, self.pool = by, positions, pool
        if positions:
            self.row_offsets = nn.Embedding(2 * positions - 1, channels)
            self.column_offsets = nn.Embedding(2 * positions - 1, channels)

    def forward(self, context: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, hw, hw / pool^2), rows sum to one."""
        query, key = self.query_key(context).chunk(2, dim=1)
        query = query * query.shape[1] ** -0.5
        score: Tensor | float = 0.0
        if self.by != "position":
            score = query.flatten(2).transpose(1, 2) @ pooled(key, self.pool).flatten(2)
        if self.by != "content":
            score = score + self._position_score(query)
        return torch.softmax(torch.as_tensor(score), dim=-1)

    def _position_score(self, query: Tensor) -> Tensor:
        height, width = query.shape[2:]
        rows = self.row_offsets(self._offsets(height, query.device))
        columns = self.column_offsets(self._offsets(width, query.device))
        # x, y: row and column of the query; u, v: row and column of the key.
        vertical = torch.einsum("bcxy,xuc->bxyu", query, rows)[..., None]
        horizontal = torch.einsum("bcxy,yvc->bxyv", query, columns)[..., None, :]
        return (vertical + horizontal).flatten(3).flatten(1, 2)

    def _offsets(self, size: int, device: torch.device) -> Tensor:
        place = torch.arange(size, device=device)
        # Shifted, so that the most negative offset has index 0.
        return place[None] - place[:, None] + self.reach - 1


class Aggregate(nn.Module):
    """Adds motion features gathered by the attention; starts as the identity."""

    def __init__(self, channels: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        # Zero at first, as in GMA: aggregation fades in during training.
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, attention: Tensor, motion: Tensor) -> Tensor:
        """Attention (B, hw, hw / pool^2) and motion (B, C, h, w) -> (B, C, h, w)."""
        value = pooled(self.value(motion), self.pool).flatten(2)
        gathered = (value @ attention.transpose(1, 2)).reshape(motion.shape)
        return motion + self.gamma * gathered


def pooled(x: Tensor, side: int) -> Tensor:
    """Means over squares of a given side; squares at the edges may be smaller."""
    return x if side == 1 else F.avg_pool2d(x, side, ceil_mode=True, count_include_pad=False)
