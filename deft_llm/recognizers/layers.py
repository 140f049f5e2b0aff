"""Layers that several recognizers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeededDropout(nn.Module):
    """Dropout whose mask depends only on a counter in the layer.

    Ordinary dropout draws from one global stream, so a network would see different masks when it
    is trained beside others than when it is trained alone. Here the counter is a buffer: it is set
    from the random state at construction, stacked with the rest of the network for fold-parallel
    training, and saved with it.

    Args:
        rate: Share of the values to drop, 0..1.
    """

    counter: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("counter", torch.randint(1 << 40, ()))

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to values of any shape; kept values are divided by the kept share."""
        if not self.training or self.rate == 0:
            return x
        self.counter.add_(1)
        place = torch.arange(x.numel(), device=x.device).view(x.shape)
        # Two rounds of a multiply-and-shift hash; int64 overflow wraps around, as intended. The
        # first factor, 2^32 over the golden ratio, spreads successive counts; the others are
        # multipliers of known 64-bit random generators.
        mixed = (place + self.counter * 0x9E3779B9) * 0x2545F4914F6CDD1D
        mixed = (mixed ^ (mixed >> 31)) * 0x369DEA0F31A53F85
        # 24 bits: as many as float32 holds exactly.
        uniform = ((mixed >> 29) & 0xFFFFFF).to(x.dtype) / (1 << 24)
        return x * (uniform >= self.rate) / (1 - self.rate)
