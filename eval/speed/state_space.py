"""Time and memory of the selective scan, and against transformers' slow path.

The scan has one sample, 128 channels and 64 states, as in ME-TST of width 64. A state element is
one state of one channel at one step; its time is the worst of all lengths. Memory is what the
process holds at most beyond its start. The slow path copies all states at every step of its
backward, so it is measured once, at a small width; both grow with the width. The scan alone and the
whole layer around it, with its projections, are compared.

    python eval/speed/state_space.py [--runs 5] [--peer-steps 4096] [--json FILE] [--check]
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer, mamba_selective_scan

from deft_llm.metrics.figures import Figure, report
from deft_llm.spotters.layers import Mamba
from deft_llm.spotters.selective_scan import scan_in_torch, selective_scan

CHANNELS, STATES, PEER_WIDTH = 128, 64, 8
LENGTHS = (1024, 2048, 4096, 8192, 16_384, 32_768)  # ascending: peak memory only rises


def drawn(steps: int) -> list[Tensor]:
    """x, dt, a, b and c, in the ranges that they have in a new network."""
    draw = torch.Generator().manual_seed(steps)
    x = torch.randn(1, CHANNELS, steps, generator=draw)
    dt = torch.rand(1, CHANNELS, steps, generator=draw) * 0.1
    a = -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1)
    b, c = torch.randn(2, 1, steps, STATES, generator=draw)
    return [x, dt, a, b, c]


def seconds(work: Callable[[], object], runs: int) -> float:
    """Median time of a call, after one that is not counted."""
    work()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def trained(form: Callable[..., Tensor], given: list[Tensor]) -> Callable[[], object]:
    """A call of forward and backward."""
    leaves = [v.clone().requires_grad_() for v in given]
    return lambda: torch.autograd.grad(form(*leaves).sum(), leaves)


def peak_mb() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def slope(values: list[float]) -> float:
    """Growth with the length: the exponent of the fitted power."""
    return float(np.polyfit(np.log(LENGTHS), np.log(values), 1)[0])


def scan(runs: int) -> list[Figure]:
    """Time and memory over all lengths."""
    trained(selective_scan, drawn(64))()  # compiles
    start = peak_mb()
    forward, both, memory = [], [], []
    for steps in LENGTHS:
        given = drawn(steps)
        with torch.no_grad():
            forward.append(seconds(partial(selective_scan, *given), runs))
        both.append(seconds(trained(selective_scan, given), runs))
        memory.append(peak_mb() - start)
    elements = CHANNELS * STATES * np.array(LENGTHS)
    ns = [1e9 * np.array(times) / elements for times in (forward, both)]
    return [
        Figure("scan_threads", torch.get_num_threads()),
        Figure("scan_longest_steps", LENGTHS[-1]),
        Figure("scan_forward_ns", max(ns[0]), 1.5, above=False),
        Figure("scan_with_backward_ns", max(ns[1]), 6.0, above=False),
        Figure("scan_time_slope", slope(both), 1.1, above=False),
        Figure("scan_memory_slope", slope(memory), 1.1, above=False),
        Figure("scan_longest_memory_mb", memory[-1]),
        Figure("scan_in_torch_with_backward_ns", _torch_form()),
    ]


def _torch_form() -> float:
    steps = LENGTHS[0]
    return 1e9 * seconds(trained(scan_in_torch, drawn(steps)), 1) / (CHANNELS * STATES * steps)


def peer_scan(steps: int, runs: int) -> list[Figure]:
    """The scan of one layer, forward and backward, ours and transformers'."""
    x, dt, a, b, c = drawn(steps)
    inner = 2 * PEER_WIDTH
    given = [x[:, :inner].contiguous(), dt[:, :inner].contiguous(), a[:inner], b, c]

    def theirs(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return mamba_selective_scan(x, dt, a, b.transpose(1, 2), c.transpose(1, 2))

    fast = seconds(trained(selective_scan, given), runs)
    started = time.perf_counter()
    trained(theirs, given)()
    slow = time.perf_counter() - started
    with torch.no_grad():
        apart = _apart(selective_scan(*given), theirs(*given))
    return [
        Figure("peer_scan_s", fast),
        Figure("transformers_scan_s", slow),
        Figure("scan_over_transformers", slow / fast, 1000.0),
        Figure("scan_difference", apart, 1e-5, above=False),
    ]


def peer(steps: int, runs: int) -> list[Figure]:
    """One layer, forward and backward, ours and transformers'."""
    torch.manual_seed(0)
    ours = Mamba(PEER_WIDTH, STATES)
    config = MambaConfig(
        hidden_size=PEER_WIDTH, state_size=STATES, time_step_rank=1, num_hidden_layers=1
    )
    theirs = MambaMixer(config, 0).eval()  # in training mode, it takes a kernel where it has one
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, steps, PEER_WIDTH)

    def step(layer: nn.Module) -> Tensor:
        layer.zero_grad()
        y: Tensor = layer(x)
        y.square().sum().backward()
        return y.detach()

    fast = seconds(lambda: step(ours), runs)
    started = time.perf_counter()
    expected = step(theirs)
    slow = time.perf_counter() - started
    exact = {name: p.grad for name, p in theirs.named_parameters()}
    apart = [_apart(p.grad, exact[name]) for name, p in ours.named_parameters()]
    return [
        Figure("layer_steps", steps),
        Figure("layer_s", fast),
        Figure("transformers_layer_s", slow),
        Figure("layer_over_transformers", slow / fast),
        Figure("layer_difference", (step(ours) - expected).abs().max().item(), 3e-8, above=False),
        Figure("layer_gradient_difference", max(apart)),
    ]


def _apart(found: Tensor | None, exact: Tensor | None) -> float:
    """Largest difference over the largest value."""
    assert found is not None and exact is not None
    return ((found - exact).abs().max() / exact.abs().max()).item()


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer-steps", type=int, default=4096)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    steps, runs = args.peer_steps, args.runs
    figures = [*scan(runs), *peer_scan(steps, runs), *peer(steps, runs)]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
