"""The rules of a federation as pure functions over weights by name.

The server only ever takes the mean of what the sites send, weighted by their training clips
(FedAvg). What makes the rules differ happens at the sites:

=============  ==================================================================================
``fedavg``     train on from the mean (McMahan et al., AISTATS 2017)
``fedprox``    the same, pulled towards the mean by mu / 2 |w - mean|² (Li et al., MLSys 2020)
``p_fedprox``  FED-PsyAU's: a site keeps its own weights and moves them a tenth of the way towards
               the mean of the others, then trains under the pull; statistics of batch norms stay
``fedbn``      batch norms stay at the site, all else is averaged (Li et al., ICLR 2021)
``local``      nothing is sent
``central``    one training on all clips, for comparison: the clips of all sites in one place
=============  ==================================================================================

Letters: N training clips of all sites that sent, n those of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
RuleName = Literal["fedavg", "fedprox", "p_fedprox", "fedbn", "local", "central"]
RULE_NAMES: tuple[str, ...] = get_args(RuleName)


@dataclass(frozen=True)
class Rule:
    """What a rule does at the sites.

    Attributes:
        sends: Whether weights are exchanged.
        pulled: Whether training is pulled towards the weights that it starts from.
        personal: Whether a site keeps weights of its own beside the mean.
        sends_norms: Whether weights of batch norms are exchanged.
        sends_statistics: Whether running means and variances of batch norms are exchanged.
    """

    sends: bool = True
    pulled: bool = False
    personal: bool = False
    sends_norms: bool = True
    sends_statistics: bool = True


RULES: dict[str, Rule] = {
    "fedavg": Rule(),
    "fedprox": Rule(pulled=True),
    "p_fedprox": Rule(pulled=True, personal=True, sends_statistics=False),
    "fedbn": Rule(sends_norms=False, sends_statistics=False),
    "local": Rule(sends=False),
    "central": Rule(sends=False),
}


def mean(states: Sequence[Mapping[str, NDArray[np.float32]]], clips: Sequence[int]) -> Arrays:
    """The mean of the sites' weights, weighted by their training clips.

    Computed as Flower's FedAvg computes it, in the order given: both engines get the same bits.

    Args:
        states: Weights of each site, checked before (``checks.py``).
        clips: n of each.
    """
    whole = sum(clips)
    shares = [count / whole for count in clips]
    found: Arrays = {}
    for state, share in zip(states, shares, strict=True):
        for name, values in state.items():
            part = values * share  # a Python float: float32 stays float32
            found[name] = found[name] + part if name in found else part
    return found


def personalised(
    own: Mapping[str, NDArray[np.float32]],
    average: Mapping[str, NDArray[np.float32]],
    own_clips: int,
    all_clips: int,
    own_share: float = 0.9,
) -> Arrays:
    """P-FedProx at the site: its own weights, moved towards the mean of the others.

    ``w <- 0.9 w + 0.1 (N mean - n w) / (N - n)``. It equals the public code's rule, in which the
    server computes weights of its own for each site, yet needs the plain mean alone.

    Args:
        own: What the site sent last.
        average: The mean of all sites, this one included.
        own_clips: n; 0 if the site is not in the mean.
        all_clips: N.
        own_share: Share of the own weights.
    """
    # N mean is the sum of all, n w the site's own part of it: the rest are the others.
    others = all_clips - own_clips
    if not others:  # nobody else sent
        return {name: values.copy() for name, values in own.items()}
    moved: Arrays = {}
    for name, values in own.items():
        # float64: the difference of two nearly equal sums.
        rest = (all_clips * average[name].astype(np.float64) - own_clips * values) / others
        moved[name] = (own_share * values + (1 - own_share) * rest).astype(values.dtype)
    return moved
