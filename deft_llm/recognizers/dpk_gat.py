"""Graph attention under two kinds of knowledge (DPK-GAT of FED-PsyAU, arXiv 2507.20557).

Psychology says which AUs are moved together: those pairs are the edges. The training codings say
how often: their co-occurrence is mixed into the attention over the edges,
``(1 - 0.3 r) attention + 0.3 r prior``, with a share r that falls from 1 to 0 over a training.

Mended against the public code: a non-edge has weight 0 (there exp(0) before normalising); the
prior is normalised over the edges (there a softmax over all twelve AUs flattens it and gives most
of its mass to non-edges); the edge from AU9 to AU2, which has no way back, is left out.

Letters: B batch, N nodes, D features of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft_llm.data.au_graph import GRAPH_AUS
from deft_llm.recognizers.layers import SeededDropout

PriorForm = Literal["edges", "release"]
PRIOR_FORMS: tuple[str, ...] = get_args(PriorForm)
UPPER, LOWER = slice(0, 6), slice(6, 12)  # halves of GRAPH_AUS
_MOST = 0.3  # weight of the prior at share 1, as in the public code
# The edges of the public code, each pair once.
_UPPER_PAIRS = {1: (2, 4, 5), 2: (4, 5), 6: (7,)}
_LOWER_PAIRS = {9: (10,), 12: (14,), 15: (17,)}
_CROSS_PAIRS = {
    1: (12, 14, 15),
    2: (12, 14, 15, 17),
    4: (9, 10, 14, 15, 17),
    5: (12,),
    6: (9, 12, 14),
    7: (9, 10, 12, 14, 15, 17),
}


def adjacency(pairs: Mapping[int, tuple[int, ...]]) -> Tensor:
    """Symmetric edges (12, 12) of pairs of AUs, with self loops; bool."""
    edges = torch.eye(len(GRAPH_AUS), dtype=torch.bool)
    for one, others in pairs.items():
        for other in others:
            i, j = GRAPH_AUS.index(one), GRAPH_AUS.index(other)
            edges[i, j] = edges[j, i] = True
    return edges


UPPER_EDGES = adjacency(_UPPER_PAIRS)[UPPER, UPPER]
LOWER_EDGES = adjacency(_LOWER_PAIRS)[LOWER, LOWER]
#: Self loops and the edges between the halves of the face.
GLOBAL_EDGES = adjacency(_CROSS_PAIRS)


def cooccurrence(aus: Tensor, smoothing: float = 1.0) -> Tensor:
    """How often AU j is coded where AU i is, (12, 12) with rows that sum to 1.

    Args:
        aus: (clips, 12) of 0 and 1, of training subjects alone; rows of NaN are not coded and do
            not count.
        smoothing: Added to every count, so that a pair that was never seen is rare, not
            impossible.
    """
    known = aus[~aus.isnan().any(1)].double()
    counts = known.T @ known + smoothing
    return (counts / counts.sum(1, keepdim=True)).float()


class GraphAttention(nn.Module):
    """One head of one layer: W, then attention over the edges, mixed with the prior.

    Args:
        before: Features of a node.
        after: Features of a node afterwards.
        dropout: Rate on features and on attention.
    """

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(before, after, bias=False)
        # a . [Wh_i, Wh_j] as the sum of a part of i and a part of j.
        self.own, self.other = (nn.Linear(after, 1, bias=False) for _ in range(2))
        self.dropout, self.attention_dropout = SeededDropout(dropout), SeededDropout(dropout)
        self.note: Callable[[Tensor], None] | None = None  # called with the attention

    def forward(self, x: Tensor, edges: Tensor, prior: Tensor, share: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D'); ``edges`` and ``prior`` are (N, N)."""
        nodes = self.project(self.dropout(x))
        attention = mixed(self.scores(nodes), edges, prior, share)
        if self.note is not None:
            self.note(attention)
        seen: Tensor = self.attention_dropout(attention) @ nodes
        return seen

    def scores(self, nodes: Tensor) -> Tensor:
        """Unnormalised attention (B, N, N) of node i to node j."""
        # 0.2: the slope of GAT (Velickovic et al., ICLR 2018).
        return F.leaky_relu(self.own(nodes) + self.other(nodes).transpose(1, 2), 0.2)


def mixed(scores: Tensor, edges: Tensor, prior: Tensor, share: Tensor) -> Tensor:
    """Attention (B, N, N) over the edges, mixed with the prior; rows sum to 1."""
    attention = scores.masked_fill(~edges, -torch.inf).softmax(-1)
    weight = _MOST * share
    both = (1 - weight) * attention + weight * prior
    # A prior over the edges has rows of 1, and then this changes nothing.
    return both / both.sum(-1, keepdim=True)


class PriorGraph(nn.Module):
    """A graph of AUs: three heads, then one that brings the nodes back to their width.

    Args:
        edges: (N, N) bool.
        width: D.
        hidden: Width of a head.
        heads: Number of heads.
        dropout: Rate.
    """

    edges: Tensor
    prior: Tensor

    def __init__(
        self, edges: Tensor, width: int = 25, hidden: int = 64, heads: int = 3, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(GraphAttention(width, hidden, dropout) for _ in range(heads))
        self.out = GraphAttention(heads * hidden, width, dropout)
        # Edges follow from this file; the prior is counted from data and is saved with the weights.
        self.register_buffer("edges", edges, persistent=False)
        # The same for every edge until one is counted from data (`take_prior`).
        self.register_buffer("prior", over_edges(torch.ones(len(edges), len(edges)), edges))

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        """(B, N, D) to the same, with a residual; ``share`` is r, a scalar."""
        heads = [F.elu(head(x, self.edges, self.prior, share)) for head in self.heads]
        return x + F.elu(self.out(torch.cat(heads, -1), self.edges, self.prior, share))

    def take_prior(self, frequency: Tensor, form: PriorForm) -> None:
        """Set the prior from co-occurrence (N, N), normalised over the edges or as released."""
        make = over_edges if form == "edges" else as_released
        self.prior.copy_(make(frequency, self.edges))


def over_edges(frequency: Tensor, edges: Tensor) -> Tensor:
    """Frequencies of the edges, rows summing to 1."""
    kept = frequency * edges
    return kept / kept.sum(1, keepdim=True)


def as_released(frequency: Tensor, edges: Tensor) -> Tensor:
    """The public code's form, for an ablation: softmax over all nodes, then non-edges to 0."""
    return frequency.softmax(1) * edges
