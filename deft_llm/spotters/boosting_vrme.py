"""BoostingVRME's network: one slow-fast trunk for spotting and recognition (arXiv 2508.18834).

Guo et al., ACM MM 2025, first place of MEGC2025. Only the two heads are separate. Sizes and
initialization are those of the public code, except that the step sizes of S6 keep their initial
range (``layers.py``). What the paper adds to the network, the choice of intervals by priors, is
decoding and not here. Input and letters as in ``me_tst_plus.py``::

    (B, 36, T) -> stem (B, C, T) -> slow-fast trunk (B, T, 3 C) -> score (B, T), logits (B, T, 5)
"""

from __future__ import annotations

from torch import Tensor

from deft_llm.spotters.base import Spotter, SpotterConfig
from deft_llm.spotters.slow_fast import SlowFast


class BoostingVrme(Spotter):
    """The network; 8,368,902 parameters by default.

    Args:
        config: Sizes; the published ones if None.
    """

    def __init__(self, config: SpotterConfig | None = None) -> None:
        c = SpotterConfig() if config is None else config
        super().__init__(c, 3 * c.width)
        self.trunk = SlowFast(c)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Spotter.paths``."""
        features = self.trunk(x)
        return features, features
