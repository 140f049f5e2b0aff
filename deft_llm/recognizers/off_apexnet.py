"""OFF-ApexNet: two streams of convolutions on the flow's components.

Y. S. Gan et al., "OFF-ApexNet on Micro-expression Recognition System", Signal Processing: Image
Communication 74 (2019). One stream for u, one for v: 5x5 convolutions of 6 and 16 filters, each
followed by 2x2 max pooling, then both streams joined and two fully connected layers of 1,024.
Reproduced: layout and sizes (7x7x16 values a stream at 28x28). Our own choice: ReLU, and dropout
before the last layer, which the paper does not specify.

Letters: B batch, S side.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.layers import SeededDropout

_FILTERS = (6, 16)


class OffApexNet(Recognizer):
    """2.67 million parameters for three classes at 28x28.

    Args:
        classes: Number of classes.
        side: Side of the flow, pixels; a multiple of 4.
        hidden: Width of the fully connected layers.
        dropout: Rate before the last layer.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_uvs",)
    feature_dim = 2 * _FILTERS[1]

    def __init__(
        self, classes: int, side: int = 28, hidden: int = 1024, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.side = side
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, _FILTERS[0], 5, padding=2),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(_FILTERS[0], _FILTERS[1], 5, padding=2),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            for _ in range(2)
        )
        self.head = nn.Sequential(
            nn.Linear((side // 4) ** 2 * self.feature_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            SeededDropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, 49, 32): one for each of the 7x7 cells at 28x28."""
        flow = inputs["flow_uvs"]  # two streams: u and v; the strain channel is not used
        maps = torch.cat([s(flow[:, i : i + 1]) for i, s in enumerate(self.streams)], dim=1)
        return maps.flatten(2).transpose(1, 2)

    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, classes)."""
        logits: Tensor = self.head(self.forward_features(inputs).flatten(1))
        return logits
