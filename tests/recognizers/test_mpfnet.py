"""MPFNet: sizes of the encoder, what each wiring reduces to, prototypes, and its stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.recognizers.ca_i3d import CAI3D, CoordinateAttention
from deft_llm.recognizers.mpfnet import MPFNet, class_means


def volumes(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 5, 10, 32, 32, generator=torch.Generator().manual_seed(seed))


def made(variant: Any, seed: int = 0, **options: Any) -> MPFNet:
    torch.manual_seed(seed)
    return MPFNet(3, variant, width=16, **options).eval()


def read(network: MPFNet, volume: Tensor) -> Tensor:
    return network({"flow_diff_volume": volume})


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_encoder_has_the_size_of_the_paper() -> None:
    with torch.device("meta"):
        full, small = CAI3D(), CAI3D(width=16)
        assert full(torch.zeros(2, 5, 10, 128, 128)).shape == (2, 512, 3, 16, 16)
    assert (count(full), count(small)) == (2_656_608, 174_044)


def test_attention_gates_each_axis_by_the_means_over_the_others() -> None:
    torch.manual_seed(0)
    attention, x = CoordinateAttention(4).eval(), torch.randn(2, 4, 3, 5, 6)
    y = attention(x) / x
    assert (y > 0).all() and (y < 1).all()
    # A product of gates: the ratio of two columns is the same at every moment and row.
    ratio = y[..., 0] / y[..., 1]
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


def test_without_gamma_p_is_gfe_alone() -> None:
    parallel, alone, x = made("p", gamma=0.0), made("gfe", seed=1), volumes(4)
    assert parallel.gfe is not None and alone.gfe is not None
    alone.gfe.load_state_dict(parallel.gfe.state_dict())
    for network in (parallel, alone):
        network.remember(volumes(6, seed=1), torch.arange(6) % 3)
    torch.testing.assert_close(read(parallel, x), read(alone, x))
    parallel.gamma = 0.7
    assert not torch.allclose(read(parallel, x), read(alone, x))


@pytest.mark.parametrize("join", ["add", "concat"])
def test_a_zero_projection_is_afe_alone(join: str) -> None:
    cascade, alone, x = made("c", join=join), made("afe", seed=1), volumes(4)
    assert cascade.afe is not None and alone.afe is not None and cascade.project is not None
    state = {
        k: v[:, :5] if k == "stem.0.weight" else v for k, v in cascade.afe.state_dict().items()
    }
    alone.afe.load_state_dict(state)
    for network in (cascade, alone):
        network.remember(volumes(6, seed=1), torch.arange(6) % 3)
    torch.testing.assert_close(read(cascade, x), read(alone, x))
    nn.init.normal_(cascade.project.weight, std=100)
    assert not torch.allclose(read(cascade, x), read(alone, x))


def test_centred_scores_do_not_see_what_all_maps_share() -> None:
    network, shared = made("gfe"), 100 * torch.rand(1, 1, 128 * 16)
    queries, prototypes = torch.randn(1, 4, 128 * 16), torch.randn(1, 3, 128 * 16)
    found = network.scores(queries, prototypes)
    torch.testing.assert_close(
        network.scores(queries + shared, prototypes + shared), found, atol=1e-3, rtol=1e-3
    )
    network.centred = False
    cosine = torch.cosine_similarity(queries[0][:, None], prototypes, dim=2)
    torch.testing.assert_close(network.scores(queries, prototypes), 10 * cosine)


@pytest.mark.parametrize("variant", ["p", "c"])
def test_the_order_of_the_support_does_not_matter(variant: str) -> None:
    network, x = made(variant), volumes(2)
    support, labels = volumes(7, seed=1), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    network.remember(support, labels)
    first = read(network, x)
    order = torch.tensor([6, 3, 0, 5, 2, 4, 1])
    network.remember(support[order], labels[order], batch_size=3)
    torch.testing.assert_close(read(network, x), first)


def test_a_scheme_of_other_classes_needs_no_training() -> None:
    network = made("c")
    network.remember(volumes(5, seed=1), torch.arange(5))  # one clip is a prototype by itself
    assert read(network, volumes(2)).shape == (2, 5)
    found = read(network, volumes(5, seed=1)).argmax(1)
    assert found.tolist() == list(range(5))


def test_a_class_without_a_clip_is_named() -> None:
    with pytest.raises(UserError, match="class number 1 of 3 has no clip"):
        class_means(torch.randn(1, 2, 4), torch.tensor([0, 2]))


@pytest.mark.parametrize(("variant", "tokens"), [("p", 32), ("c", 16), ("gfe", 16)])
def test_the_contract_of_a_recognizer(variant: str, tokens: int) -> None:
    network, x = made(variant), volumes(3)
    found = network.forward_features({"flow_diff_volume": x})
    assert found.shape == (3, tokens, network.feature_dim)
    torch.testing.assert_close(read(network, x[1:2])[0], read(network, x)[1])
    if variant == "c":
        assert network.project is not None
        nn.init.normal_(network.project.weight)  # at zero, GFE has no gradient yet
    network.train()
    read(network, volumes(4)).square().sum().backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in still if "bias" not in name]


def test_unknown_options_are_named() -> None:
    with pytest.raises(UserError, match=r"variant 'x'; expected one of p, c, gfe, afe"):
        MPFNet(3, "x")  # type: ignore[arg-type]


def test_a_width_that_cannot_be_shared_out() -> None:
    with pytest.raises(UserError, match="width 4; expected a multiple of 8"):
        MPFNet(3, width=4)
