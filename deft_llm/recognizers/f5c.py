"""F5C, the block of MOL: fully connected convolution, then channel correspondence convolution.

Shao et al., "MOL" (arXiv 2506.14511). FCC has local filters with a global receptive field:
depthwise circular convolutions as long as the map, along one axis and then along the other. CCC
joins each channel to the channels that are most like it and takes the largest edge. CCC is
computed without a loop over nodes: max_j ReLU(a_i + b_j) = ReLU(a_i + max_j b_j), exactly.

The public code differs from the paper; ``release=True`` computes what it computes: kernels and
place embeddings of 32 values cropped to the map, a graph over places instead of channels in which
each place is its own first neighbour, the difference to a neighbour taken twice (W2 (x_j - 2 x_i)),
no 1x1 convolution after the edges, and layers without any use.

Letters: B maps, C channels, S side of a map, P = S * S places, K neighbours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, SIDE = 128, 16  # of the maps that MOL's convolutions give
NEIGHBOURS = 4
_RELEASE_KERNEL = 32
_SELF = -2.0  # less than any cosine

Axis = Literal["H", "W"]
_AXES: dict[Axis, int] = {"H": 2, "W": 3}


def circular(x: Tensor, kernel: Tensor, bias: Tensor | None, axis: Axis) -> Tensor:
    """Depthwise circular convolution along one axis: y[i] = sum_k kernel[k] x[(i + k) mod S].

    Args:
        x: (B, C, S, S).
        kernel: (C, S), as long as the axis.
        bias: (C,), or None.
        axis: "H" runs down the map, "W" across it.
    """
    dim = _AXES[axis]
    # The map, then itself without its last row or column: a plain convolution then goes round.
    doubled = torch.cat([x, x.narrow(dim, 0, x.shape[dim] - 1)], dim)
    shape = (-1, 1, kernel.shape[1], 1) if axis == "H" else (-1, 1, 1, kernel.shape[1])
    return F.conv2d(doubled, kernel.reshape(shape), bias, groups=len(kernel))


class _Sweep(nn.Module):
    """Half of the channels: a circular convolution along one axis, then along the other."""

    def __init__(self, channels: int, first: Axis, length: int) -> None:
        super().__init__()
        self.axes: tuple[Axis, Axis] = (first, "W" if first == "H" else "H")
        self.norm = nn.BatchNorm2d(channels)
        bound = length**-0.5  # as nn.Conv2d draws the weights of a kernel of this length
        kernels = (torch.empty(channels, length).uniform_(-bound, bound) for _ in self.axes)
        self.kernels = nn.ParameterList(kernels)
        self.biases = nn.ParameterList(torch.zeros(channels) for _ in self.axes)
        # One value for each channel and place along the axis of the convolution that follows.
        self.places = nn.ParameterList(0.02 * torch.randn(channels, length) for _ in self.axes)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, axis in enumerate(self.axes):
            size = x.shape[_AXES[axis]]
            places = self.places[i][:, :size]
            # The same place for all columns, or for all rows: (C, S, 1) or (C, 1, S).
            y = y + (places[:, :, None] if axis == "H" else places[:, None, :])
            if i == 0:
                y = self.norm(y)
            y = circular(y, self.kernels[i][:, :size], self.biases[i], axis)
        return x + y


class FCC(nn.Module):
    """Fully connected convolution: one half of the channels runs down first, the other across.

    Args:
        channels: C, even.
        side: S; kernels are as long.
        release: Kernels of 32 values, and 898 parameters that nothing uses.
    """

    def __init__(self, channels: int = CHANNELS, side: int = SIDE, release: bool = False) -> None:
        super().__init__()
        length = _RELEASE_KERNEL if release else side
        self.down = _Sweep(channels // 2, "H", length)
        self.across = _Sweep(channels // 2, "W", length)
        if release:
            # Counted, so that the published number of parameters is met; never called.
            self.unused = nn.Sequential(
                nn.BatchNorm2d(channels), nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to the same shape; the residual is inside."""
        down, across = x.chunk(2, 1)
        return torch.cat([self.down(down), self.across(across)], 1)


def nearest(rows: Tensor, count: int, itself: bool = False) -> Tensor:
    """Indices (B, N, count) of the rows of (B, N, D) with the largest cosine.

    Args:
        rows: One vector for each node.
        count: Neighbours of a node.
        itself: Whether a node may be its own neighbour.
    """
    unit = F.normalize(rows.detach(), dim=2)  # a choice of neighbours has no gradient
    cosine = unit @ unit.transpose(1, 2)
    if not itself:
        own = torch.eye(cosine.shape[1], dtype=torch.bool, device=rows.device)
        cosine = cosine.masked_fill(own, _SELF)
    return cosine.topk(count, dim=2).indices


class CCC(nn.Module):
    """Channel correspondence convolution: edges to like channels, the largest one kept.

    A node is a channel, described by its P values: e_ij = ReLU(W1 f_i + W2 (f_j - f_i)).

    Args:
        channels: C.
        side: S.
        neighbours: K.
        release: See the docstring of the module.
    """

    def __init__(
        self,
        channels: int = CHANNELS,
        side: int = SIDE,
        neighbours: int = NEIGHBOURS,
        release: bool = False,
    ) -> None:
        super().__init__()
        places = side * side
        self.own = nn.Linear(places, places)
        self.difference = nn.Linear(places, places)
        self.neighbours, self.release = neighbours, release
        self.mix = None if release else nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to the same shape, with the residual."""
        flat = x.flatten(2)
        edges = self.edges(flat).view_as(x)
        return x + (edges if self.mix is None else self.mix(edges))

    def edges(self, flat: Tensor) -> Tensor:
        """(B, C, P) to the largest edge of each channel (B, C, P)."""
        times = 2 if self.release else 1
        # W1 x_i + W2 (x_j - x_i) = (W1 - W2) x_i + W2 x_j: the part of i is computed once.
        weight = self.own.weight - times * self.difference.weight
        own = F.linear(flat, weight, self.own.bias + self.difference.bias)
        return F.relu(own + self._largest(flat))

    def _largest(self, flat: Tensor) -> Tensor:
        """max_j W2 f_j over the neighbours (B, C, P)."""
        if self.release:
            # Each place is exchanged for its j-th neighbour, in all channels alike.
            places = nearest(flat.transpose(1, 2), self.neighbours, itself=True)  # (B, P, K)
            moved = [
                flat.gather(2, places[:, None, :, j].expand_as(flat)) @ self.difference.weight.T
                for j in range(self.neighbours)
            ]
            return torch.stack(moved).amax(0)
        others = flat @ self.difference.weight.T
        index = nearest(flat, self.neighbours)  # (B, C, K)
        # Rows of all maps in one list: copying whole rows is nine times faster than a gather.
        # Not len(index): that would fix the number of maps in an exported network.
        first = index.shape[1] * torch.arange(index.shape[0], device=index.device)
        rows = (index + first[:, None, None]).flatten()
        return others.flatten(0, 1).index_select(0, rows).view(*index.shape, -1).amax(2)


class F5C(nn.Module):
    """FCC, then CCC on its result: (B, C, S, S) to the same shape."""

    def __init__(
        self,
        channels: int = CHANNELS,
        side: int = SIDE,
        neighbours: int = NEIGHBOURS,
        release: bool = False,
    ) -> None:
        super().__init__()
        self.fcc = FCC(channels, side, release)
        self.ccc = CCC(channels, side, neighbours, release)

    def forward(self, x: Tensor) -> Tensor:
        """The features of one frame."""
        features: Tensor = self.ccc(self.fcc(x))
        return features
