"""FMANet: shapes, size, what each ablation sees, and that it learns what it should."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.motion.mm_cof import mm_cof
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.fmanet import PHASES, FMANet

RESNET18 = 11_176_512  # parameters of ResNet-18 without its classifier


def count(module: nn.Module | None) -> int:
    return sum(p.numel() for p in module.parameters()) if module is not None else 0


def flow_dual(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def made(seed: int = 0, **options: Any) -> FMANet:
    torch.manual_seed(seed)
    return FMANet(4, **{"width": 4, **options}).eval()


def test_it_is_a_resnet18_with_three_small_parts() -> None:
    net = FMANet(5)
    parts = [count(part) for part in (net.gate, net.fusion, net.attention, net.classifier)]
    assert count(net) == RESNET18 + sum(parts)
    assert parts == [
        16 * 9 + 16 + 16 * 9 + 1,
        256 * 32 + 32 + 32 * 256 + 256,
        3 * 49 + 1,
        512 * 5 + 5,
    ]
    apart = FMANet(5, shared_stem=False)
    assert count(apart) == count(net) + count(net.stems[0])


@pytest.mark.parametrize("phases", PHASES)
def test_shapes(phases: Any) -> None:
    net = load_recognizer("fmanet", 4, width=4, phases=phases)
    assert isinstance(net, Recognizer) and net.inputs == ("flow_dual",)
    inputs = {"flow_dual": flow_dual(3, 56)}
    assert net(inputs).shape == (3, 4)
    tokens = net.forward_features(inputs)
    assert tokens.shape == (3, 4, net.feature_dim)  # 56 px: 2 x 2 cells
    assert (FMANet(4, width=4).forward_features({"flow_dual": flow_dual(1, 224)})).shape[1] == 49


def test_what_is_weighed_can_be_seen() -> None:
    inputs = {"flow_dual": flow_dual()}
    seen = made().inspect(inputs)
    shapes = {name: tuple(x.shape) for name, x in seen.items()}
    assert shapes == {"gates": (2, 2, 4, 4), "weights": (2, 2, 8), "attention": (2, 4, 4)}
    torch.testing.assert_close(seen["weights"].sum(1), torch.ones(2, 8))
    assert all(x.min() >= 0 and x.max() <= 1 for x in seen.values())
    assert set(made(gate=False, attention=False).inspect(inputs)) == {"weights"}
    assert set(made(phases="first").inspect(inputs)) == {"gates", "attention"}


@pytest.mark.parametrize(
    ("phases", "hears_rise", "hears_fall"),
    [("dual", True, True), ("first", True, False), ("second", False, True), ("sum", True, True)],
)
def test_one_phase_sees_one_phase(phases: Any, hears_rise: bool, hears_fall: bool) -> None:
    net, flow = made(phases=phases), flow_dual()
    for k, hears in enumerate((hears_rise, hears_fall)):
        other = flow.clone()
        other[:, k] = flow_dual(seed=1)[:, k]
        same = torch.equal(net({"flow_dual": flow}), net({"flow_dual": other}))
        assert same is not hears


def test_strain_is_not_used() -> None:
    flow = flow_dual()
    other = flow.clone()
    other[:, :, 2] = 0
    assert torch.equal(made()({"flow_dual": flow}), made()({"flow_dual": other}))


@pytest.mark.parametrize(("phases", "how"), [("cof", "none"), ("mm_cof", "step")])
def test_descriptors_are_those_of_mm_cof(phases: Any, how: Any) -> None:
    flow = flow_dual()
    (picture,) = made(phases=phases)._streams(flow)
    decoded = flow[:, :, :2].sign() * flow[:, :, :2].square()
    expected = mm_cof(decoded[:, 0], decoded[:, 1], modulation=how)
    torch.testing.assert_close(picture * picture.abs(), expected)


def test_the_gate_raises_what_it_opens_for() -> None:
    net, flow = made(attention=False, phases="first"), {"flow_dual": flow_dual()}
    assert net.gate is not None
    with torch.no_grad():
        for bias, factor in ((-40.0, 1.0), (40.0, 2.0)):  # shut and open
            last = cast(nn.Conv2d, net.gate.net[2])
            assert last.bias is not None
            last.weight.zero_()
            last.bias.fill_(bias)
            stem = net.stems[0](net._streams(flow["flow_dual"])[0])
            torch.testing.assert_close(net._attended(flow)[0], factor * stem)


def test_fusion_weights_decide_which_phase_counts() -> None:
    net, flow = made(gate=False, attention=False), {"flow_dual": flow_dual()}
    assert net.fusion is not None
    with torch.no_grad():
        last = cast(nn.Conv2d, net.fusion.net[2])
        assert last.bias is not None
        last.weight.zero_()
        last.bias[:8], last.bias[8:] = 40.0, -40.0
        onset_phase = net.stems[0](net._streams(flow["flow_dual"])[0])
        torch.testing.assert_close(net._attended(flow)[0], onset_phase)


def test_every_part_learns() -> None:
    net = made().train()
    F.cross_entropy(net({"flow_dual": flow_dual(4)}), torch.arange(4)).backward()
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_an_exclusive_or_of_the_phases_is_learnt() -> None:
    """Two patterns a phase; the class is whether they agree: a phase alone tells nothing."""
    torch.manual_seed(0)
    kinds = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(4, 1)
    flow = 0.1 * torch.randn(16, 2, 3, 32, 32)
    for i, pair in enumerate(kinds):
        for phase, kind in enumerate(pair):
            rows = slice(4, 12) if kind else slice(20, 28)
            flow[i, phase, 1, rows, 8:24] += 1.0 - 2.0 * phase
    labels = (kinds[:, 0] == kinds[:, 1]).long()
    losses = {}
    for phases in ("dual", "first"):
        net = FMANet(2, width=4, phases=phases, dropout=0.0).train()
        optimizer = torch.optim.Adam(net.parameters(), 5e-3)
        # A phase alone could learn the noise by heart; it is drawn anew at every step.
        for _ in range(40):
            noisy = flow + 0.2 * torch.randn_like(flow)
            loss = F.cross_entropy(net({"flow_dual": noisy}), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[phases] = float(loss.detach())
    assert losses["dual"] < 0.2 and losses["first"] > 0.4


def test_unknown_phases_are_named() -> None:
    with pytest.raises(UserError, match=r"'both'.*dual, first"):
        FMANet(3, phases="both")  # type: ignore[arg-type]
