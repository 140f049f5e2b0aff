"""FED-PsyAU's network: its size to the parameter, and what was mended against the public code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deft_llm.data.au_graph import GRAPH_AUS
from deft_llm.errors import UserError
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.dpk_gat import (
    GLOBAL_EDGES,
    LOWER_EDGES,
    UPPER_EDGES,
    as_released,
    cooccurrence,
    mixed,
    over_edges,
)
from deft_llm.recognizers.psyau import GROUPS, PsyAU, carried

# A transformer layer that the public code registers a second time and never uses.
RELEASED, DEAD = {3: 4_462_899, 7: 4_470_071}, 332_423


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def inputs(clips: int, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {
        "flow_uvs": torch.randn(clips, 3, 28, 28, generator=rng),
        "patches": torch.randn(clips, 65, 3, 5, 5, generator=rng),
    }


def made(**options: Any) -> PsyAU:
    torch.manual_seed(0)
    return PsyAU(3, **options).eval()


@pytest.mark.parametrize("classes", RELEASED)
def test_the_network_has_the_released_size_without_its_dead_layer(classes: int) -> None:
    assert count(PsyAU(classes)) == RELEASED[classes] - DEAD
    assert RELEASED[3] - DEAD == 4_130_476


def test_every_part_has_the_released_size() -> None:
    net = made()
    assert count(net.patches) == 21_321
    assert [count(group) for group in net.groups] == [3_817, 8_109, 5_954, 8_428]
    assert [count(graph) for graph in (net.upper, net.lower, net.whole)] == [10_034] * 3
    assert [count(head) for head in (net.au_head, net.aux_head)] == [40_076] * 2
    assert count(net.streams) == 3_330_847
    assert count(net.structure) == DEAD + 309_323  # with the MLP behind it
    assert [len(points) for points, _ in GROUPS] == [23, 48, 52, 38]


def test_the_contract_of_recognizers() -> None:
    net = load_recognizer("psyau", 5)
    assert isinstance(net, Recognizer)
    net.eval()
    given = inputs(4)
    logits = net(given)
    assert logits.shape == (4, 5)
    assert net.forward_features(given).shape == (4, 12, net.feature_dim)


def test_an_answer_does_not_depend_on_the_batch() -> None:
    # The public layer attends across the clips of a batch.
    net, given = made(), inputs(4)
    together = net.joint(given)
    alone = net.joint({name: x[2:3] for name, x in given.items()})
    for whole, one in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[2:3], one, atol=1e-6, rtol=0)


def test_edges_are_symmetric_with_self_loops() -> None:
    for edges, ones in ((UPPER_EDGES, 18), (LOWER_EDGES, 12), (GLOBAL_EDGES, 56)):
        assert torch.equal(edges, edges.T) and edges.diagonal().all()
        # The released graph of both halves has one more: from AU9 to AU2, without a way back.
        assert int(edges.sum()) == ones
    halves = GLOBAL_EDGES[:6, :6].float().sum() + GLOBAL_EDGES[6:, 6:].float().sum()
    assert halves == 12  # only self loops inside a half


def test_non_edges_have_no_weight() -> None:
    scores = torch.randn(2, 12, 12, generator=torch.Generator().manual_seed(1))
    prior = over_edges(torch.rand(12, 12), GLOBAL_EDGES)
    for share in (0.0, 0.4, 1.0):
        found = mixed(scores, GLOBAL_EDGES, prior, torch.tensor(share))
        assert (found[:, ~GLOBAL_EDGES] == 0).all()
        torch.testing.assert_close(found.sum(-1), torch.ones(2, 12))
    # Without edges between them, an AU of one half says nothing about one of the other.
    net = made()
    nodes = torch.zeros(1, 12, 25)
    before = net.whole(nodes, net.prior_share)
    changed = nodes.clone()
    changed[0, GRAPH_AUS.index(5)] = 1.0  # tied to AU12 alone, which is tied to 1, 2, 6 and 7
    moved = (net.whole(changed, net.prior_share) - before).abs().amax(-1)[0] > 0
    assert {n for n, there in zip(GRAPH_AUS, moved.tolist(), strict=True) if there} <= {
        1,
        2,
        5,
        6,
        7,
        12,
    }


def test_the_prior_keeps_its_shape_over_the_edges() -> None:
    # The measured row of AU1 in the graph of both halves: .963 of itself, .024, .009, .004.
    row = torch.full((12, 12), 1e-9)
    frequency = row.clone()
    frequency[0, [0, 8, 9, 10]] = torch.tensor([0.963, 0.024, 0.009, 0.004])
    kept = over_edges(frequency, GLOBAL_EDGES)[0]
    torch.testing.assert_close(kept[[0, 8, 9, 10]], frequency[0, [0, 8, 9, 10]], atol=1e-6, rtol=0)
    released = as_released(frequency, GLOBAL_EDGES)[0]
    # As released it is flat, and most of its mass lies outside of the edges.
    assert 0.2 < float(released.sum()) < 0.61
    flat = released[[0, 8, 9, 10]] / released.sum()
    torch.testing.assert_close(flat, torch.tensor([0.331, 0.224, 0.223, 0.222]), atol=0.15, rtol=0)


def test_the_prior_is_counted_and_smoothed() -> None:
    aus = torch.zeros(4, 12)
    aus[:3, 0] = 1  # AU1 in three clips
    aus[:2, 1] = 1  # with AU2 in two of them
    aus[3] = torch.nan  # not coded
    found = cooccurrence(aus, smoothing=0.5)
    torch.testing.assert_close(found[0, :2], torch.tensor([3.5, 2.5]) / (3 + 2 + 12 * 0.5))
    torch.testing.assert_close(found.sum(1), torch.ones(12))
    assert (cooccurrence(torch.full((2, 12), torch.nan)) == 1 / 12).all()


def test_the_priors_share_falls_or_stays() -> None:
    net = made()
    for done in (0.0, 0.25, 1.0):
        net.progress(done)
        assert float(net.prior_share) == pytest.approx(1 - done)
    fixed = made(share=0.3)
    fixed.progress(0.9)
    assert float(fixed.prior_share) == pytest.approx(0.3)


def test_the_prior_moves_the_answer_only_while_it_has_a_share() -> None:
    net, given = made(), inputs(2)
    aus = (torch.rand(30, 12, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    answers = []
    for done in (0.0, 1.0):
        net.progress(done)
        before = net(given)
        net.take_prior(aus)
        answers.append((net(given) - before).abs().max())
        net.take_prior(torch.full((1, 12), torch.nan))
    assert answers[0] > 0 and answers[1] == 0


def test_every_parameter_learns() -> None:
    net = made().train()
    found = net.joint(inputs(6))
    torch.cat([x.flatten() for x in found]).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        # A convolution's bias is taken away by the batch norm behind it.
        assert parameter.grad.abs().sum() > 0 or "bias" in name, name


def test_the_pairs_that_carried_a_decision() -> None:
    net = made()
    pairs = carried(net, inputs(1))
    assert sum(pair.share for pair in pairs) == pytest.approx(1)
    assert [p.share for p in pairs] == sorted((p.share for p in pairs), reverse=True)
    edges = GLOBAL_EDGES.clone()
    edges[:6, :6] |= UPPER_EDGES
    edges[6:, 6:] |= LOWER_EDGES
    for pair in pairs:
        assert edges[GRAPH_AUS.index(pair.first), GRAPH_AUS.index(pair.second)]
    assert all(head.note is None for head in (*net.upper.heads, net.whole.out))


def test_a_wrong_option_is_told() -> None:
    with pytest.raises(UserError, match=r"share 1\.2; expected 0 to 1"):
        PsyAU(3, share=1.2)
    with pytest.raises(UserError, match="prior_form 'soft'; expected one of edges, release"):
        PsyAU(3, prior_form="soft")  # type: ignore[arg-type]
