"""The slow-fast trunk of ME-TST+ and BoostingVRME.

Letters: B videos, C the width, T frames. Half as many frames at twice the width see slow change,
all frames see fast change, and after two of three stages the fast path is added to the slow one::

    stem (B, C, T) -> slow (B, 2 C, ceil(T / 2)) -> blocks -+-> blocks -+-> blocks -> each twice
                   -> fast (B, C, T)             -> blocks -+-> blocks -+-> blocks -> beside them
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deft_llm.spotters.base import SpotterConfig
from deft_llm.spotters.layers import blocks, convolution, through


class Lateral(nn.Module):
    """Adds the fast path to the slow one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*convolution(width, 2 * width, stride=2))

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """(B, ceil(T / 2), 2 C) and (B, T, C) to (B, ceil(T / 2), 2 C)."""
        added: Tensor = slow + self.conv(fast.transpose(1, 2)).transpose(1, 2)
        return added


class SlowFast(nn.Module):
    """A trunk with both paths; 8,302,848 parameters at width 128, depth 4 and 64 states.

    Args:
        config: Sizes: ``width`` is C, ``depth`` the blocks of each stage of each path.
    """

    def __init__(self, config: SpotterConfig) -> None:
        super().__init__()
        width = config.width
        self.Stem_slow = nn.Sequential(*convolution(width, 2 * width, stride=2))
        self.block1 = _stage(2 * width, config)
        self.block2 = _stage(2 * width, config)
        self.block3 = _stage(2 * width, config)
        self.block1_fast = _stage(width, config)
        self.block2_fast = _stage(width, config)
        self.block3_fast = _stage(width, config)
        self.fuse_1, self.fuse_2 = Lateral(width), Lateral(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, T, 3 C), slow channels first."""
        # S6 wants the frames before the channels, convolutions want them last.
        slow, fast = self.Stem_slow(x).transpose(1, 2), x.transpose(1, 2)
        slow, fast = through(self.block1, slow), through(self.block1_fast, fast)
        slow = self.fuse_1(slow, fast)
        slow, fast = through(self.block2, slow), through(self.block2_fast, fast)
        slow = self.fuse_2(slow, fast)
        slow, fast = through(self.block3, slow), through(self.block3_fast, fast)
        # An odd number of frames leaves half a slow frame over.
        slow = slow.repeat_interleave(2, dim=1)[:, : fast.shape[1]]
        return torch.cat([slow, fast], dim=2)


def _stage(width: int, config: SpotterConfig) -> nn.ModuleList:
    return blocks(width, config.states, config.depth, config.drop_path, config.both_ways)
