"""Layers that the spotters share: S6 (Mamba), its residual block, the stem.

Attributes carry the names of the published state dicts, capitals included, so that these load
strictly. Letters: B samples, C channels, T frames.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft_llm.spotters.selective_scan import selective_scan

_SHORTEST, _LONGEST = 1e-3, 0.1  # initial step sizes, drawn log-uniformly
_SUMS = 4  # residual sums among which the published initialization shares the variance


class Mamba(nn.Module):
    """S6 with its gate (Gu and Dao, arXiv 2312.00752), parameters named as in ``mamba-ssm``.

    Args:
        width: C.
        states: States of each inner channel.
        kernel: Frames of the causal convolution.
        expand: Inner channels are this many times C.
    """

    def __init__(self, width: int, states: int = 64, kernel: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * width, -(-width // 16)
        self.sizes = (rank, states, states)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        # Rates 1 to N, as in Mamba: states that forget at different speeds. By their logarithms, so
        # that training cannot turn a decay into a growth.
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))  # past the states, frame by frame
        self.out_proj = nn.Linear(inner, width, bias=False)
        self._initialize(rank)

    @torch.no_grad()
    def _initialize(self, rank: int) -> None:
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        # The published code then sets this bias to zero along with all others. Every step size
        # starts at 0.69, and the memory reaches over a few frames; here it keeps its range.
        low, high = math.log(_SHORTEST), math.log(_LONGEST)
        dt = torch.exp(torch.empty_like(self.dt_proj.bias).uniform_(low, high))
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        nn.init.kaiming_uniform_(self.out_proj.weight, a=math.sqrt(5))
        self.out_proj.weight /= math.sqrt(_SUMS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C); a frame sees itself and those before."""
        x, gate = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        x = F.silu(self._convolved(x))
        dt, b, c = self.x_proj(x.transpose(1, 2)).split(self.sizes, dim=-1)
        dt = F.softplus(self.dt_proj(dt)).transpose(1, 2)
        y = selective_scan(x, dt, -torch.exp(self.A_log.float()), b, c)
        y = (y + self.D[:, None] * x) * F.silu(gate)
        out: Tensor = self.out_proj(y.transpose(1, 2))
        return out

    def _convolved(self, x: Tensor) -> Tensor:
        """``conv1d`` of (B, D, T) over the frames so far.

        Added up tap by tap: PyTorch takes three times as long for channels of their own on a CPU.
        """
        # Frames before the first are 0; none after a frame is read (causal).
        taps, frames = self.conv1d.weight[:, 0].unbind(-1), x.shape[-1]
        assert self.conv1d.bias is not None
        padded = F.pad(x, (len(taps) - 1, 0))
        y = self.conv1d.bias[:, None] + taps[0][:, None] * padded[..., :frames]
        for k, tap in enumerate(taps[1:], start=1):
            y = torch.addcmul(y, tap[:, None], padded[..., k : k + frames])
        return y


class DropPath(nn.Module):
    """Drop a whole residual branch for some samples (stochastic depth, arXiv 1603.09382).

    Args:
        rate: Probability, 0 to 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C); kept branches are divided by the kept share."""
        if not self.training or self.rate == 0:
            return x
        # One draw a sample: the branch is dropped for all of its frames.
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


class NormedMamba(nn.Module):
    """LayerNorm, then S6."""

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mamba = Mamba(width, states)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        y: Tensor = self.mamba(self.norm(x))
        return y


class Block(nn.Module):
    """Residual S6 with a LayerNorm before and one after; no perceptron.

    Args:
        width: C.
        states: States of each inner channel.
        drop: Rate of ``DropPath``.
        backward: Read the frames from the last to the first.
    """

    def __init__(self, width: int, states: int, drop: float, backward: bool = False) -> None:
        super().__init__()
        self.backward_in_time = backward
        self.norm1 = nn.LayerNorm(width)
        # Published blocks have a norm that nothing uses; without it, their files do not load.
        self.norm2 = nn.LayerNorm(width).requires_grad_(False)
        self.attn = NormedMamba(width, states)
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        read = self.attn(x.flip(1)).flip(1) if self.backward_in_time else self.attn(x)
        y: Tensor = x + self.drop_path(self.norm1(read))
        return y


def blocks(
    width: int, states: int, depth: int, drop: float, both_ways: bool = False
) -> nn.ModuleList:
    """Blocks with rates of ``DropPath`` that rise towards ``drop``.

    As published: the first two have none, and the last stays one step below ``drop``.

    Args:
        width: C.
        states: States of each inner channel.
        depth: Number of blocks.
        drop: The rate.
        both_ways: Every second block reads backward in time.
    """
    rates = [drop * max(0, i - 1) / max(1, depth - 1) for i in range(depth)]
    return nn.ModuleList(
        Block(width, states, rate, both_ways and i % 2 == 1) for i, rate in enumerate(rates)
    )


def through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Apply layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x


def convolution(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    """Convolution over 3 frames, BatchNorm, ReLU: (B, C, T) to (B, C', ceil(T / stride))."""
    return [nn.Conv1d(before, after, 3, stride, 1), nn.BatchNorm1d(after), nn.ReLU()]
