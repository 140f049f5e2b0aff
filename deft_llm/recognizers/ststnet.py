"""STSTNet: a shallow triple-stream network on u, v and strain.

S.-T. Liong et al., "Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression
Recognition", FG 2019. Three parallel 3x3 convolutions of 3, 5 and 8 filters over the three
channels, each with batch normalisation, ReLU, 3x3 max pooling of stride 3 and dropout, then 2x2
average pooling and one linear layer over 5x5x16 = 400 values. Reproduced: the layout and sizes.
Our own choice where the paper is silent or published code differs: padding 2 (it gives the
paper's 5x5x16), the dropout rate, and no bias before a normalisation that would remove it (its
gradient is rounding noise, which Adam amplifies).

Two steps are computed differently, with the same result. The streams read the same input and every
step up to their concatenation treats each filter separately, so one convolution of 16 filters
replaces all three. ReLU comes after max pooling instead of before it, on a ninth of the values.

Letters: B batch, S side.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.layers import SeededDropout

_FILTERS = (3, 5, 8)


class STSTNet(Recognizer):
    """1,667 parameters for three classes at 28x28.

    Args:
        classes: Number of classes.
        side: Side of the flow, pixels.
        dropout: Rate after each stream's pooling.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_uvs",)
    feature_dim = sum(_FILTERS)

    def __init__(self, classes: int, side: int = 28, dropout: float = 0.5) -> None:
        super().__init__()
        self.side = side
        filters = sum(_FILTERS)
        self.streams = nn.Sequential(
            nn.Conv2d(3, filters, 3, padding=2, bias=False),
            nn.BatchNorm2d(filters),
            nn.MaxPool2d(3, stride=3, padding=1),
            nn.ReLU(),
            SeededDropout(dropout),
        )
        self.pool = nn.AvgPool2d(2)
        # The convolution gives side + 2, max pooling (side + 1) // 3 + 1, average pooling half.
        cells = ((side + 1) // 3 + 1) // 2
        self.head = nn.Linear(cells * cells * self.feature_dim, classes)

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, 25, 16): one for each of the 5x5 cells at 28x28."""
        maps: Tensor = self.pool(self.streams(inputs["flow_uvs"]))
        return maps.flatten(2).transpose(1, 2)

    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, classes)."""
        logits: Tensor = self.head(self.forward_features(inputs).flatten(1))
        return logits
