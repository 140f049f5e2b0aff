"""Grad-CAM of MPFNet: against differences, and where motion is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.recognizers.ca_i3d import CAI3D
from deft_llm.recognizers.mpfnet import MPFNet
from deft_llm.recognizers.mpfnet_cam import grad_cam


def made(variant: Any) -> MPFNet:
    torch.manual_seed(0)
    return MPFNet(3, variant, width=16, side=32).double().eval()


class Raised(nn.Module):
    """An encoder one channel of whose map is raised by a little everywhere."""

    def __init__(self, encoder: CAI3D, channel: int, by: float) -> None:
        super().__init__()
        self.encoder, self.channel, self.by = encoder, channel, by

    def pooled(self, volume: Tensor) -> Tensor:
        features = self.encoder(volume).clone()
        features[:, self.channel] += self.by
        return F.adaptive_avg_pool2d(features.mean(2), 4)


@torch.no_grad()
def test_weights_are_the_effect_of_raising_a_channel() -> None:
    network, volume = made("afe"), torch.randn(5, 4, 32, 32, dtype=torch.float64)
    encoder = network.afe
    assert encoder is not None
    features, step = encoder(volume[None]), 1e-7
    weights = []
    for channel in range(features.shape[1]):
        scores = []
        for by in (step, -step):
            network.afe = Raised(encoder, channel, by)  # type: ignore[assignment]
            scores.append(network({"flow_diff_volume": volume[None]})[0, 1])
        weights.append((scores[0] - scores[1]) / (2 * step) / features[0, 0].numel())
    network.afe = encoder
    seen = F.relu(torch.einsum("c,bcthw->bthw", torch.stack(weights), features))
    expected = F.interpolate(seen[None], volume.shape[1:], mode="trilinear")[0, 0]
    found = grad_cam(network, volume, label=1)
    torch.testing.assert_close(found, expected / expected.max(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", ["p", "c", "gfe"])
def test_every_variant_has_a_picture_of_the_most_probable_class(variant: str) -> None:
    network, volume = made(variant), torch.randn(5, 10, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        best = int(network({"flow_diff_volume": volume[None]}).argmax())
    found = grad_cam(network, volume)
    assert found.shape == (10, 32, 32) and found.min() >= 0 and found.max() <= 1
    assert torch.equal(found, grad_cam(network, volume, best))
    assert not found.requires_grad
