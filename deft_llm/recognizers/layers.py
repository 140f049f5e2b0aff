"""Layers that several recognizers share."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Network = TypeVar("Network", bound=nn.Module)
_GROUPS = 32  # most groups of a group norm


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

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **more: Any
    ) -> None:
        # A network that was saved with torch's dropout has no counter; any will do.
        state_dict.setdefault(f"{prefix}counter", self.counter)
        super()._load_from_state_dict(state_dict, prefix, *others, **more)

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


def grouped_norms(network: Network) -> Network:
    """The network with group norms in place of batch norms, which mix the clips of a batch.

    Differential privacy limits what a single clip can do; through a batch norm it acts on all.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                groups = math.gcd(_GROUPS, child.num_features)
                setattr(parent, name, nn.GroupNorm(groups, child.num_features))
    return network
