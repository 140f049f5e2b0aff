"""Layers that several recognizers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeededDropout(nn.Module):
    """Dropout whose mask is a function of a counter that it carries.

    Ordinary dropout draws from one global stream, so that a network trained beside others would
    see other masks than when it is trained alone. Here the counter is a buffer: it is set by the
    random state at construction, stacked with the rest of the network for fold-parallel training,
    and saved with it.

    Args:
        rate: Share of the values that are dropped, 0..1.
    """

    counter: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("counter", torch.randint(1 << 40, ()))

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape, the kept ones divided by the share that is kept."""
        if not self.training or self.rate == 0:
            return x
        self.counter.add_(1)
        place = torch.arange(x.numel(), device=x.device).view(x.shape)
        # Two rounds of a multiply-and-shift hash; integers wrap around.
        mixed = (place + self.counter * 0x9E3779B9) * 0x2545F4914F6CDD1D
        mixed = (mixed ^ (mixed >> 31)) * 0x369DEA0F31A53F85
        uniform = ((mixed >> 29) & 0xFFFFFF).to(x.dtype) / (1 << 24)
        return x * (uniform >= self.rate) / (1 - self.rate)
