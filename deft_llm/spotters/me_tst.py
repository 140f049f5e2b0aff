"""ME-TST: spotting and recognition by two paths of state-space layers (arXiv 2409.09707).

Guo et al., ICASSP 2025. Sizes and initialization are those of the public code, in its first form
(width 64) and its newer one (width 128). The paper's figure shows two paths, one for each task;
the code runs the spotting path twice, so its recognition path never learns. Two true paths are the
default here, ``shared_path`` repeats the code. The step sizes of S6 keep their initial range,
which the code sets to one value (``layers.py``).

The input are 5 regions, u and v of each in turn: left brow, right brow, mouth, left and right wing
of the nose. B videos, T frames, C the width::

    (B, 10, T) -> stem (B, C, T) -> 12 blocks -> score (B, T)
                                 -> 12 blocks -> logits (B, T, 5)
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from deft_llm.spotters.base import Spotter, SpotterConfig
from deft_llm.spotters.layers import blocks, through


class MeTstConfig(SpotterConfig):
    """Sizes; the defaults are the newer code's, 3,753,222 parameters. Width 64: 1,249,926.

    Attributes:
        shared_path: Run the spotting path for both tasks, as the published code does.
    """

    channels: int = Field(default=10, ge=1)
    depth: int = Field(default=12, ge=1)
    shared_path: bool = False


class Pathway(nn.Module):
    """The blocks of one task."""

    def __init__(self, config: SpotterConfig) -> None:
        super().__init__()
        c = config
        self.block = blocks(c.width, c.states, c.depth, c.drop_path, c.both_ways)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, T, C)."""
        return through(self.block, x.transpose(1, 2))


class MeTst(Spotter):
    """The network.

    Args:
        config: Sizes; the published ones if None.
    """

    def __init__(self, config: MeTstConfig | None = None) -> None:
        c = MeTstConfig() if config is None else config
        super().__init__(c, c.width)
        self.spot_pathway = Pathway(c)
        self.recog_pathway = Pathway(c)
        self.shared_path = c.shared_path
        if c.shared_path:  # unused then, but the published files hold it
            self.recog_pathway.requires_grad_(False)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Spotter.paths``."""
        spot = self.spot_pathway(x)
        if self.shared_path and not self.training:
            return spot, spot
        # In training a shared path runs twice as well: stochastic depth draws anew.
        return spot, (self.spot_pathway if self.shared_path else self.recog_pathway)(x)
