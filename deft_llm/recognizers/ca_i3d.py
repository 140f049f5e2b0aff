"""CA-I3D, the encoder of MPFNet: three Inception blocks in 3D with coordinate attention.

Ma et al., "MPFNet" (arXiv 2506.09735): I3D (Carreira and Zisserman, CVPR 2017) with coordinate
attention (Hou et al., CVPR 2021). The public code does not run; from it are the stem, three blocks
and the poolings between them. The shares of the branches are those of Inception's Mixed_3b, and
attention pools over time as it does over rows and columns: our own choice.

Letters: B clips, C channels, T time, (H, W) a map, w the width of the stem.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOLUME = 5  # channels of the input: u, v, and the change of red, green and blue
FULL_WIDTH = 64
_GRID = 4  # cells along a side of the pooled map
_GROWTH = (1, 3, 6, 8)  # channels before and after the blocks, in widths of the stem


def conv(
    before: int, after: int, kernel: int, stride: tuple[int, int, int] = (1, 1, 1)
) -> nn.Module:
    """Convolution, batch normalisation and ReLU."""
    return nn.Sequential(
        # No bias: the norm would take it out.
        nn.Conv3d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(),
    )


class Inception(nn.Module):
    """Four branches side by side; shares of the channels 1/4, 1/2, 1/8 and 1/8."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv(before, after // 4, 1),
                nn.Sequential(conv(before, 3 * after // 8, 1), conv(3 * after // 8, after // 2, 3)),
                nn.Sequential(conv(before, after // 16, 1), conv(after // 16, after // 8, 3)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), conv(before, after // 8, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C', T, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class CoordinateAttention(nn.Module):
    """Gates for each moment, each row and each column, from means over the other two axes.

    Args:
        channels: C.
        reduction: The shared layer has C / reduction channels, at least 8.
    """

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        inner = max(8, channels // reduction)
        self.shared = nn.Sequential(
            nn.Conv1d(channels, inner, 1, bias=False), nn.BatchNorm1d(inner), nn.Hardswish()
        )
        self.gates = nn.ModuleList(nn.Conv1d(inner, channels, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        means = [x.mean(axes) for axes in ((3, 4), (2, 4), (2, 3))]  # (B, C, T), (B, C, H), ...
        parts = self.shared(torch.cat(means, 2)).split([m.shape[2] for m in means], 2)
        for axis, (gate, part) in enumerate(zip(self.gates, parts, strict=True)):
            shape = [1, 1, 1]
            shape[axis] = -1
            # Gates (B, C, T, 1, 1), (B, C, 1, H, 1) and (B, C, 1, 1, W).
            x = x * torch.sigmoid(gate(part)).unflatten(2, shape)
        return x


class CAI3D(nn.Module):
    """The encoder; 2,656,608 parameters at the full width, 174,044 at a quarter.

    Args:
        channels: Channels of the input.
        width: w; 64 is the full width.

    Attributes:
        channels: As given.
        width: As given.
    """

    def __init__(self, channels: int = VOLUME, width: int = FULL_WIDTH) -> None:
        super().__init__()
        before, *after = (width * n for n in _GROWTH)
        self.stem = conv(channels, before, 3, (1, 2, 2))
        blocks: list[nn.Module] = []
        for size in after:
            # Between the blocks, not before the first.
            blocks += [nn.MaxPool3d(3, 2, 1)] if blocks else []
            blocks += [Inception(before, size), CoordinateAttention(size)]
            before = size
        self.blocks = nn.Sequential(*blocks)
        self.channels, self.width = channels, width

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, T, S, S) to (B, 8 w, T / 4, S / 8, S / 8), rounded up."""
        features: Tensor = self.blocks(self.stem(volume))
        return features

    def pooled(self, volume: Tensor) -> Tensor:
        """The map as in the paper: mean over time, 4 x 4 cells: (B, 8 w, 4, 4)."""
        return pool(self(volume))


def pool(features: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B, C, 4, 4)."""
    return F.adaptive_avg_pool2d(features.mean(2), _GRID)


def pooled_size(width: int) -> int:
    """Values of a pooled map."""
    return _GROWTH[-1] * width * _GRID * _GRID
