"""MOL on one clip of 8 frames: recognition, all heads, and CCC beside a loop over its nodes.

The loop computes the same edges, node after node and neighbour after neighbour, each by two
convolutions as long as the node, as the public code does. Networks have random weights: time does
not depend on them. One thread: at this size a second one gains nothing on a busy machine.

CCC's time is that of its three matrix products: ``ccc_most_times_loop`` is what they alone would
reach, and in float32 no other order of the same arithmetic gets beyond it. Tried, in multiples of
CCC's time: both linear layers as one product with joined weights, 1.0 (0.9 if the weights are
joined once, which training forbids); one einsum over all edges after gathering the neighbours, 1.9;
bfloat16 products, 0.8, but wrong by a tenth. The layers are no circulants, so a Fourier transform
has nothing to multiply.

python eval/speed/mol.py [--runs 7] [--release] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.metrics.figures import Figure, milliseconds, report
from deft_llm.recognizers.f5c import CCC, CHANNELS, SIDE, nearest
from deft_llm.recognizers.mol import FRAME, MOL


def loop(ccc: CCC, flat: Tensor) -> Tensor:
    """The edges of one map (1, C, P), node by node."""
    index = nearest(flat, ccc.neighbours)[0]
    found = []
    for node, neighbours in zip(flat[0], index, strict=True):
        edges = [
            F.relu(long_convolution(ccc.own, node) + long_convolution(ccc.difference, other))
            for other in flat[0, neighbours] - node
        ]
        found.append(torch.stack(edges).amax(0))
    return torch.stack(found)[None]


def long_convolution(layer: nn.Linear, node: Tensor) -> Tensor:
    """A linear layer (P to P) on a node (P,), as a convolution with kernels of length P."""
    return F.conv1d(node[None, None], layer.weight[:, None], layer.bias)[0, :, 0]


def products(ccc: CCC, flat: Tensor) -> None:
    """The three matrix products of the edges alone: two linear layers and the cosines."""
    _ = flat @ ccc.own.weight.T, flat @ ccc.difference.weight.T, flat @ flat.transpose(1, 2)


def networks(runs: int, release: bool) -> list[Figure]:
    """Times of whole networks on one clip."""
    clip = torch.rand(1, 1, 8, FRAME, FRAME)
    default = MOL(3).eval()
    figures = [
        Figure("mol_ms", milliseconds(lambda: default({"sub_clips": clip}), runs), 40, False),
        Figure("mol_joint_ms", milliseconds(lambda: default.joint(clip[0]), runs), 250, False),
    ]
    if release:
        whole = MOL(3, release=True).eval()
        figures.append(
            Figure("mol_release_joint_ms", milliseconds(lambda: whole.joint(clip[0]), runs))
        )
    return figures


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--release", action="store_true", help="time the published network too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        figures = networks(args.runs, args.release)
        ccc, flat = CCC(), torch.randn(1, CHANNELS, SIDE * SIDE)
        difference = float((ccc.edges(flat) - loop(ccc, flat)).abs().max())
        fast = milliseconds(lambda: ccc.edges(flat), args.runs)
        slow = milliseconds(lambda: loop(ccc, flat), args.runs)
        least = milliseconds(lambda: products(ccc, flat), args.runs)
    figures += [
        Figure("ccc_ms", fast),
        Figure("ccc_loop_ms", slow),
        Figure("ccc_difference", difference, 1e-5, above=False),
        Figure("ccc_most_times_loop", slow / least),
        Figure("ccc_times_loop", slow / fast, 200),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
