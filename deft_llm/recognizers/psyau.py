"""FED-PsyAU's network: action units as a graph under psychological priors (arXiv 2507.20557).

Li, Qian, Zhao, Wang, "FED-PsyAU: Privacy-Preserving Micro-Expression Recognition via
Psychological AU Coordination and Dynamic Facial Motion Modeling", ICCV 2025. Sizes and edges are
those of the public code (4,462,899 parameters there with three classes, of which 332,423 belong to
a layer that is registered twice and used once; here 4,130,476). What was mended is told where it
stands: attention among the patches of one clip, not across the batch (``psyau_layers.py``), and
edges and prior (``dpk_gat.py``). The points of the patches and the flow's encoding are our own.

B clips, 65 patches, 12 AUs of 5x5 = 25 features::

    patches (B, 65, 3, 5, 5) -> shared convolutions -> tokens (B, 65, 75) -> transformer layer
    -> features of the AUs, group by group (B, 12, 25) -> graph of the upper face, of the lower
    face -> graph between both -> AU logits, and AU maps (B, 12, 5, 5)
    AU maps, flow (B, 3, 28, 28) -> two inception streams -> class logits
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from deft_llm.data.au_graph import GRAPH_AUS, PATCH
from deft_llm.errors import UserError
from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.dpk_gat import (
    GLOBAL_EDGES,
    LOWER,
    LOWER_EDGES,
    PRIOR_FORMS,
    UPPER,
    UPPER_EDGES,
    GraphAttention,
    PriorForm,
    PriorGraph,
    cooccurrence,
)
from deft_llm.recognizers.psyau_layers import (
    AuFeatures,
    AuHead,
    DualStream,
    PatchEncoder,
    SharedStructure,
)

# The points (``data/au_graph.py``) around each group of AUs, in the order of GRAPH_AUS.
# They overlap, as in the public code: 161 places for 65 points.
GROUPS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((*range(23),), 3),  # AU1, 2, 4
    ((*range(22), *range(32, 52), *range(59, 65)), 3),  # AU5, 6, 7
    ((*range(52),), 2),  # AU9, 10
    ((*range(27, 65),), 4),  # AU12, 14, 15, 17
)
# An AU's 25 features are a map of 5 x 5 for the first inception stream.
_FEATURES = PATCH * PATCH
SIDE = 28  # px of the flow that the second stream reads


class Joint(NamedTuple):
    """All answers: ``emotion`` (B, classes), ``aus`` and ``aux`` (B, 12) logits.

    ``aux`` are the AUs as named before the graphs.
    """

    emotion: Tensor
    aus: Tensor
    aux: Tensor


class Pair(NamedTuple):
    """Two AUs, and the share that their edge had in a decision; the same AU twice is a self loop.

    Attributes:
        first: Number of an AU.
        second: Number of an AU.
        share: 0..1; those of all edges sum to 1.
    """

    first: int
    second: int
    share: float


class PsyAU(Recognizer):
    """The network.

    Args:
        classes: Number of classes.
        share: Share r of the prior, 0..1; None lets it fall from 1 to 0 over a training
            (:meth:`progress`).
        prior_form: "edges", or "release" as the public code, for an ablation.
        dropout: Rate in the graphs.

    Attributes:
        feature_dim: Width of its tokens, one for each AU.

    Raises:
        UserError: If an option is out of range.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_uvs", "patches")
    side = SIDE
    feature_dim = _FEATURES
    prior_share: Tensor

    def __init__(
        self,
        classes: int,
        share: float | None = None,
        prior_form: PriorForm = "edges",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if prior_form not in PRIOR_FORMS:
            known = ", ".join(PRIOR_FORMS)
            raise UserError(f"psyau: prior_form {prior_form!r}; expected one of {known}")
        if share is not None and not 0 <= share <= 1:
            raise UserError(f"psyau: share {share}; expected 0 to 1, or null to let it fall")
        self.falls, self.prior_form = share is None, prior_form
        self.patches = PatchEncoder()
        self.structure = SharedStructure()
        self.groups = nn.ModuleList(AuFeatures(len(points), aus) for points, aus in GROUPS)
        self.upper = PriorGraph(UPPER_EDGES, _FEATURES, dropout=dropout)
        self.lower = PriorGraph(LOWER_EDGES, _FEATURES, dropout=dropout)
        self.whole = PriorGraph(GLOBAL_EDGES, _FEATURES, dropout=dropout)
        self.aux_head, self.au_head = (AuHead(len(GRAPH_AUS), _FEATURES) for _ in range(2))
        self.streams = DualStream(classes, len(GRAPH_AUS))
        # A buffer, so that a saved network has the share that it was trained to.
        self.register_buffer("prior_share", torch.tensor(1.0 if share is None else share))

    @overload
    def forward(self, inputs: Inputs, whole: Literal[False] = False) -> Tensor: ...
    @overload
    def forward(self, inputs: Inputs, whole: Literal[True]) -> Joint: ...
    def forward(self, inputs: Inputs, whole: bool = False) -> Tensor | Joint:
        """Class logits (B, classes); with ``whole`` all answers, as :meth:`joint`."""
        found = self.joint(inputs)
        return found if whole else found.emotion

    def forward_features(self, inputs: Inputs) -> Tensor:
        """A token for each AU (B, 12, 25), after the graphs."""
        return self._nodes(inputs)[0]

    def joint(self, inputs: Inputs) -> Joint:
        """Classes and AUs of ``flow_uvs`` (B, 3, 28, 28) and ``patches`` (B, 65, 3, 5, 5)."""
        nodes, before = self._nodes(inputs)
        maps = nodes.unflatten(-1, (PATCH, PATCH))
        emotion = self.streams(maps, inputs["flow_uvs"])
        return Joint(emotion, self.au_head(nodes), self.aux_head(before))

    def _nodes(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Features of the AUs (B, 12, 25) after and before the graphs."""
        tokens = self.structure(self.patches(inputs["patches"]))
        before = torch.cat(
            [
                features(tokens[:, list(points)])
                for (points, _), features in zip(GROUPS, self.groups, strict=True)
            ],
            1,
        )
        share = self.prior_share
        # First within the halves of the face, then between them.
        halves = (self.upper(before[:, UPPER], share), self.lower(before[:, LOWER], share))
        return self.whole(torch.cat(halves, 1), share), before

    def take_prior(self, aus: Tensor) -> None:
        """Set the prior of all graphs from the codings (clips, 12) of the training subjects."""
        frequency = cooccurrence(aus).to(self.prior_share.device)
        self.upper.take_prior(frequency[UPPER, UPPER], self.prior_form)
        self.lower.take_prior(frequency[LOWER, LOWER], self.prior_form)
        self.whole.take_prior(frequency, self.prior_form)

    def progress(self, done: float) -> None:
        """Say which share of the training is done, 0..1: the prior's share falls with it."""
        if self.falls:
            self.prior_share.fill_(1 - done)


def carried(network: PsyAU, inputs: Inputs) -> list[Pair]:
    """The edges that carried the class of one clip, the strongest first.

    An edge counts by its attention times the gradient of the winning logit, without sign, over
    all heads and layers: what the logit would lose, to first order, if the edge were cut.

    Args:
        network: In evaluation mode.
        inputs: Of one clip (1, ...).
    """
    found: dict[tuple[int, int], float] = {}
    with torch.enable_grad(), _noting(network) as seen:
        logits = network({name: x.detach() for name, x in inputs.items()})
        attentions = [attention for _, attention in seen]
        gradients = torch.autograd.grad(logits.max(), attentions)
    for (first, attention), gradient in zip(seen, gradients, strict=True):
        weights = (attention * gradient).detach()[0].abs()
        for i, j in weights.nonzero().tolist():
            # Both directions of an edge count for one pair.
            pair = (GRAPH_AUS[first + min(i, j)], GRAPH_AUS[first + max(i, j)])
            found[pair] = found.get(pair, 0.0) + float(weights[i, j])
    whole = sum(found.values()) or 1.0
    pairs = [Pair(*pair, value / whole) for pair, value in found.items()]
    return sorted(pairs, key=lambda pair: -pair.share)


@contextmanager
def _noting(network: PsyAU) -> Iterator[list[tuple[int, Tensor]]]:
    """Collect the attention of every head, with the place of its first node in GRAPH_AUS."""
    seen: list[tuple[int, Tensor]] = []
    graphs = ((network.upper, UPPER.start), (network.lower, LOWER.start), (network.whole, 0))
    with ExitStack() as restored:
        for graph, first in graphs:
            for head in (*graph.heads, graph.out):
                assert isinstance(head, GraphAttention)
                restored.callback(setattr, head, "note", None)
                head.note = lambda attention, first=first: seen.append((first, attention))
        yield seen
