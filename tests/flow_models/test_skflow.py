"""The network: its published size, its parts against plain formulas, and any image size."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deft_llm.errors import UserError
from deft_llm.flow_models.blocks import Attention, SuperKernelBlock
from deft_llm.flow_models.first_flow import FirstFlow, FirstFlowConfig
from deft_llm.flow_models.skflow import (
    SKFlow,
    SKFlowConfig,
    correlation_pyramid,
    look_up,
    upsample_convex,
)

from .conftest import TINY, batch, waves


def test_published_size() -> None:
    assert sum(p.numel() for p in SKFlow().parameters()) == 6_273_149


def test_parts_have_their_published_sizes() -> None:
    network = SKFlow()
    sizes = [
        sum(p.numel() for p in part.parameters()) for part in (network.features, network.context)
    ]
    assert sizes == [1_066_848, 1_069_728]


@pytest.mark.parametrize("attention", ["content", "position", "both"])
def test_published_form_runs(attention: Literal["content", "position", "both"]) -> None:
    config = SKFlowConfig(width=0.0625, levels=2, radius=1, positions=20, attention=attention)
    torch.manual_seed(0)
    network = SKFlow(config).eval()
    flows = network(torch.rand(2, 3, 40, 72) * 255, torch.rand(2, 3, 40, 72) * 255, 3)
    assert [tuple(f.shape) for f in flows] == [(2, 2, 40, 72)] * 3
    assert torch.isfinite(flows[-1]).all()


@pytest.mark.parametrize("size", [(64, 64), (61, 75), (9, 130), (8, 8)])
def test_any_size(tiny: SKFlow, size: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size) * 255
    assert tiny(images, images)[-1].shape == (1, 2, *size)


def test_padding_moves_nothing(tiny: SKFlow) -> None:
    """Sizes that are no multiple of 8 are answered at their own pixels, not beside them."""
    a, b = waves(69, 75), waves(69, 75, 0.5, -0.3)
    whole = tiny(batch(a), batch(b))[-1]
    cut = tiny(batch(a[2:66, 1:73]), batch(b[2:66, 1:73]))[-1]
    inner = (..., slice(22, 46), slice(22, 46))
    near = (whole[..., 2:66, 1:73][inner] - cut[inner]).abs().mean()
    beside = (whole[..., 6:70, 1:73][..., 22:46, 22:46] - cut[inner]).abs().mean()
    assert near < 0.1 and near < beside


def test_starts_as_damped_lucas_kanade(tiny: SKFlow) -> None:
    """Before any training the small form already finds most of a shift."""
    a, b = waves(96, 96), waves(96, 96, 0.6, -0.4)
    with torch.inference_mode():
        flow = tiny(batch(a), batch(b), 6)[-1][0].numpy()
    found = flow[:, 24:-24, 24:-24].mean(axis=(1, 2))
    assert found == pytest.approx([0.6, -0.4], abs=0.06)


def test_large_shifts_are_seen_when_it_starts_aligned() -> None:
    """In use; in training nothing is aligned."""
    torch.manual_seed(0)
    first = FirstFlowConfig(widths=(8, 12), windows=(2.5, 5.0), aligned=True)
    network = SKFlow(TINY.model_copy(update={"first": first}))
    shift = torch.tensor([6.0, -4.0])[:, None, None]
    a, b = batch(waves(96, 96)), batch(waves(96, 96, 6.0, -4.0))
    still = first.model_copy(update={"aligned": False})
    plain = SKFlow(TINY.model_copy(update={"first": still}))
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        learning = network.train()(a, b)[0]
        assert torch.equal(learning, plain.train()(a, b)[0])
        seen, not_seen = network.eval()(a, b)[-1], plain.eval()(a, b)[-1]
    assert (seen[0] - shift).norm(dim=0)[16:-16, 16:-16].mean() < 0.5
    assert (not_seen[0] - shift).norm(dim=0)[16:-16, 16:-16].mean() > 2


@pytest.mark.parametrize("aligned", [False, True])
def test_bfloat16_does_not_round_the_motion_away(aligned: bool) -> None:
    """A third of a pixel, of which bfloat16 grey levels would lose half."""
    config = FirstFlowConfig(widths=(8,), windows=(5.0, 10.0), aligned=aligned)
    first = FirstFlow(config).eval()
    images = batch(waves(96, 96)), batch(waves(96, 96, 0.3, -0.2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = first(*images)[-1]
        updated = SKFlow(TINY).eval()(*images)
    with torch.no_grad():
        torch.testing.assert_close(found, first(*images)[-1], atol=0.005, rtol=0.01)
    assert {flow.dtype for flow in (found, *updated)} == {torch.float32}


def test_same_images_do_not_move(tiny: SKFlow) -> None:
    image = batch(waves(64, 64))
    assert tiny(image, image)[-1].abs().max() < 1e-3


def test_gradients_reach_everything() -> None:
    torch.manual_seed(0)
    network = SKFlow(TINY)
    # The heads start at zero, which stops gradients at the first step: move them off it.
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    flows = network(torch.rand(2, 3, 64, 64) * 255, torch.rand(2, 3, 64, 64) * 255)
    sum(flow.square().mean() for flow in flows).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias in front of a normalisation over the same values has no effect.
    assert [n for n in without if not (n.startswith("features") and n.endswith("bias"))] == []


def test_depthwise_of_one_pixel_is_a_convolution() -> None:
    torch.manual_seed(1)
    block = SuperKernelBlock(6, 4, (1, 3))
    x = torch.randn(2, 6, 5, 7)
    y = F.gelu(x + block.before(x))
    for convolution in block.depthwise:
        y = F.gelu(y + convolution(y))
    expected = block.after(F.gelu(y + block.pointwise(y)))
    torch.testing.assert_close(block(x), expected)


def test_look_up_is_a_dot_product_of_features() -> None:
    """Against features sampled directly, at matches between cells; averaging is linear."""
    torch.manual_seed(2)
    one, two = torch.randn(2, 1, 5, 8, 12).unbind()
    flow = torch.zeros(1, 2, 8, 12)
    flow[:, 0], flow[:, 1] = 1.25, -0.5
    found = look_up(correlation_pyramid(one, two, 2), flow, 1)
    assert found.shape == (1, 18, 8, 12)
    y, x = 4, 5
    for column, (dx, dy) in enumerate((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        px, py = x + 1.25 + dx, y - 0.5 + dy
        x0, y0 = int(np.floor(px)), int(np.floor(py))
        wx, wy = px - x0, py - y0
        sampled = (
            (1 - wx) * (1 - wy) * two[0, :, y0, x0]
            + wx * (1 - wy) * two[0, :, y0, x0 + 1]
            + (1 - wx) * wy * two[0, :, y0 + 1, x0]
            + wx * wy * two[0, :, y0 + 1, x0 + 1]
        )
        expected = (one[0, :, y, x] * sampled).sum() / 5**0.5
        torch.testing.assert_close(found[0, column, y, x], expected)


def test_upsampling_of_uniform_flow_is_uniform() -> None:
    torch.manual_seed(3)
    flow = torch.tensor([0.3, -2.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 5)
    dense = upsample_convex(flow, torch.randn(1, 144, 3, 5), 4)
    assert dense.shape == (1, 2, 12, 20)
    torch.testing.assert_close(dense, flow[..., :1, :1].expand(1, 2, 12, 20))


def test_attention_rows_sum_to_one() -> None:
    torch.manual_seed(4)
    for by, pool in (("content", 1), ("content", 4), ("both", 1)):
        weights = Attention(4, 10, by, pool)(torch.randn(2, 4, 6, 9))
        assert weights.shape == (2, 54, 54 if pool == 1 else 6)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 54))


def test_wrong_input_is_named(tiny: SKFlow) -> None:
    with pytest.raises(UserError, match=r"\(1, 3, 64, 64\) and \(1, 3, 64, 72\)"):
        tiny(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 72))
    with pytest.raises(UserError, match="expected positions > 0"):
        SKFlow(SKFlowConfig(attention="both", positions=0))
