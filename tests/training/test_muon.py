"""Muon on convolutions: the same steps as on their weights laid out as matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Muon

from deft_llm.training.muon import MuonAdamW, matrices_of


def test_a_convolution_is_stepped_as_its_matrix() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3)
    flat = nn.Parameter(layer.weight.detach().flatten(1).clone())
    rates: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.1}
    assert layer.bias is not None
    joint = MuonAdamW([{"params": [layer.weight], **rates}], [{"params": [layer.bias], **rates}])
    alone = Muon([flat], **rates, adjust_lr_fn="match_rms_adamw")
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
