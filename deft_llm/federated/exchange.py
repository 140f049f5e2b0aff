"""Which weights of a network are exchanged, taken out of it and put back by name.

Exchanged are parameters that are trained, so of a model with adapters the adapters alone, and the
running statistics of batch norms. All other buffers stay: counters, and a site's own prior of AUs.
Batch norms are told by their type, never by their name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deft_llm.federated.rules import Arrays, Rule
from deft_llm.recognizers.layers import SeededDropout


@dataclass(frozen=True)
class Names:
    """Names of a network's state under a rule.

    Attributes:
        sent: Exchanged, in the order of the network.
        kept: Trained at the site and kept there.
    """

    sent: tuple[str, ...]
    kept: tuple[str, ...]


def names_of(network: nn.Module, rule: Rule) -> Names:
    """What of a network is exchanged under a rule, and what stays at the site."""
    norms = [
        (f"{name}." if name else "", module)
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm)
    ]
    of_norms = {f"{name}{p}" for name, norm in norms for p, _ in norm.named_parameters()}
    statistics = [
        f"{name}{b}"
        for name, norm in norms
        for b, x in norm.named_buffers()
        if x.is_floating_point()  # not the counter of batches
    ]
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    sent = [name for name in trained if rule.sends and (rule.sends_norms or name not in of_norms)]
    sent += statistics if rule.sends and rule.sends_statistics else []
    gone = set(sent)
    return Names(tuple(sent), tuple(n for n in (*trained, *statistics) if n not in gone))


def taken(network: nn.Module, names: Iterable[str]) -> Arrays:
    """Copies of weights by name, float32."""
    state = _tensors(network)
    return {
        # A copy: what numpy() gives shares its memory with the parameter.
        name: np.array(state[name].detach().float().cpu().numpy(), np.float32)
        for name in names
    }


def counters(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of the buffers that hold no floats, by name: counters of batches and of dropout."""
    return {
        name: np.array(x.cpu().numpy())
        for name, x in network.named_buffers()
        if not x.is_floating_point()
    }


@torch.no_grad()
def put(network: nn.Module, state: Mapping[str, NDArray[Any]]) -> None:
    """Set weights or counters by name."""
    tensors = _tensors(network)
    for name, values in state.items():
        # A copy: what came off the wire may be read-only.
        tensors[name].copy_(torch.from_numpy(np.array(values)))


def listed(state: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Weights in the order of their names, where they are sent without them.

    Not in the order of the state: a file gives weights back in another one than they were made in.
    """
    return [state[name] for name in sorted(state)]


def named(values: Sequence[NDArray[Any]], names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The inverse of :func:`listed`.

    Args:
        values: The weights.
        names: Their names, in any order.
    """
    return dict(zip(sorted(names), values, strict=True))


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def bytes_of(state: Mapping[str, NDArray[np.float32]]) -> int:
    """Size of weights as they are sent."""
    return sum(values.nbytes for values in state.values())


def size_in_words(size: float) -> str:
    """Bytes as kB or MB: a small network of a few kB is not nothing."""
    return f"{size / 1e3:.0f} kB" if 0 < size < 1e6 else f"{size / 1e6:.1f} MB"


def restart_dropout(network: nn.Module, generator: np.random.Generator) -> None:
    """Set the counters of dropout, so that a round does not depend on the rounds before it."""
    for module in network.modules():
        if isinstance(module, SeededDropout):
            module.counter.fill_(int(generator.integers(1 << 40)))
