"""ME-TST+: a slow-fast pathway for each of spotting and recognition (arXiv 2508.08082).

Guo et al. Sizes and initialization are those of the public code, except that the step sizes of S6
keep their initial range (``layers.py``). The tasks help each other at two places. Features: both
pathways read one stem, and one loss trains it. Results: ``frame_classes`` of ``regression.py``
decides whether recognition may call a spotted frame neutral; removing intervals is decoding.

The input has regions of several sizes, 18 with u and v of each in turn. In the published order:
left brow and its landmarks 20, 19, 18; right brow and 23, 24, 25; mouth and 48, 54, 51, 57, 62;
left and right wing of the nose; left and right lower lid. B videos, T frames, C the width::

    (B, 36, T) -> stem (B, C, T) -> slow-fast pathway (B, T, 3 C) -> score (B, T)
                                 -> slow-fast pathway (B, T, 3 C) -> logits (B, T, 5)
"""

from __future__ import annotations

from torch import Tensor

from deft_llm.spotters.base import Spotter, SpotterConfig
from deft_llm.spotters.slow_fast import SlowFast


class MeTstPlus(Spotter):
    """The network; 16,671,750 parameters by default.

    Args:
        config: Sizes; the published ones if None.
    """

    def __init__(self, config: SpotterConfig | None = None) -> None:
        c = SpotterConfig() if config is None else config
        super().__init__(c, 3 * c.width)
        self.spot_pathway = SlowFast(c)
        self.recog_pathway = SlowFast(c)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Spotter.paths``."""
        return self.spot_pathway(x), self.recog_pathway(x)
