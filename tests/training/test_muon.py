"""Muon on convolutions: the same steps as on their weights laid out as matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Muon

from deft_llm.training.muon import MuonAdamW, WideMuon, matrices_of, orthogonal


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
def test_in_float32_it_steps_as_torchs(shape: tuple[int, int]) -> None:
    """To the precision of bfloat16, in which torch's iterates."""
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=rng)
    rates: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    weights = [nn.Parameter(start.clone()) for _ in range(2)]
    both = [WideMuon([weights[0]], **rates), Muon([weights[1]], **rates)]
    for _ in range(3):
        gradient = torch.randn(shape, generator=rng)
        for weight, optimizer in zip(weights, both, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved = (weights[1] - start).norm()
    assert (weights[0] - weights[1]).norm() < 0.02 * moved
    assert moved > 0.5


def test_in_float32_singular_values_come_near_one() -> None:
    matrix = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("fast", [True, False])
def test_a_convolution_is_stepped_as_its_matrix(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr("deft_llm.training.muon.takes_bfloat16", lambda wanted: fast)
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3)
    flat = nn.Parameter(layer.weight.detach().flatten(1).clone())
    rates: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.1}
    assert layer.bias is not None
    joint = MuonAdamW([{"params": [layer.weight], **rates}], [{"params": [layer.bias], **rates}])
    kind = Muon if fast else WideMuon
    assert type(joint.parts[0]) is kind
    alone = kind([flat], **rates, adjust_lr_fn="match_rms_adamw")
    before = layer.weight.detach().clone()
    for _ in range(3):
        joint.zero_grad()
        layer(torch.randn(2, 6, 7, 7)).square().sum().backward()
        assert layer.weight.grad is not None
        flat.grad = layer.weight.grad.flatten(1).clone()
        joint.step()
        alone.step()
        assert layer.weight.shape == layer.weight.grad.shape == (8, 6, 3, 3)
        torch.testing.assert_close(layer.weight.flatten(1), flat, rtol=0, atol=0)
    assert (layer.weight - before).abs().max() > 0.01


def test_a_refused_group_leaves_the_other_weights_in_shape() -> None:
    layer = nn.Conv2d(6, 8, 3)
    with pytest.raises(ValueError, match="2D"):
        MuonAdamW([{"params": list(layer.parameters()), "lr": 0.1, "weight_decay": 0.0}], [])
    assert layer.weight.shape == (8, 6, 3, 3)


def test_which_layers_are_muons() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1), nn.LayerNorm(4)
    )
    last = nn.Linear(4, 2)
    both = nn.ModuleList([network, last])
    assert matrices_of(both) == {id(last.weight)}
    assert matrices_of(both, [network[0], last], (nn.Linear, nn.Conv2d)) == {id(network[2].weight)}
