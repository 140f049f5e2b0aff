"""FACET-VLM: what the views' and the texts' order may and may not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.facet.augment import disturb, drop_views, mirror
from deft_llm.facet.configuration import FacetConfig, VisualConfig
from deft_llm.facet.files import load_facet
from deft_llm.facet.losses import consistency_loss, contrastive_loss
from deft_llm.facet.network import Facet
from deft_llm.facet.texts import class_vectors, default_prompts, load_text_tower
from deft_llm.weights import save_network

CLASSES = ("anger", "happiness", "surprise")
SMALL = {
    "classes": list(CLASSES),
    "prompts": default_prompts(CLASSES),
    "side": 32,
    "dim": 16,
    "visual": {"width": 16, "depth": 1},
}


def network(**changes: object) -> tuple[Facet, torch.Tensor]:
    config = FacetConfig.model_validate({**SMALL, **changes})
    tower = load_text_tower(config.text)
    torch.manual_seed(0)
    return Facet(config, tower.width).eval(), class_vectors(config.prompts, tower)


def pictures(views: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, views, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("parts", [{}, {"cvsa": False}, {"mtgf": False}])
def test_the_order_of_views_does_not_count(parts: dict[str, bool]) -> None:
    net, texts = network(**parts)
    views, order = pictures(), [2, 0, 1]
    yaws = torch.tensor(net.config.yaws)
    with torch.no_grad():
        one = net(views, [texts], yaws=yaws)[0]
        other = net(views[:, order], [texts], yaws=yaws[order])[0]
    assert torch.allclose(one.text_logits, other.text_logits, atol=1e-5)
    assert torch.allclose(one.face, other.face, atol=1e-6)
    assert torch.allclose(one.weights[:, order], other.weights, atol=1e-6)
    if one.where is not None and other.where is not None:
        assert torch.allclose(one.where[:, :, order], other.where, atol=1e-6)


def test_the_order_of_texts_is_that_of_the_logits() -> None:
    net, texts = network()
    with torch.no_grad():
        one, other = net(pictures(), [texts, texts[[1, 2, 0]]])
    assert torch.allclose(one.text_logits[:, [1, 2, 0]], other.text_logits, atol=1e-5)


@pytest.mark.parametrize("parts", [{}, {"cvsa": False}, {"mtgf": False}])
def test_a_missing_view_is_not_looked_at(parts: dict[str, bool]) -> None:
    net, texts = network(**parts)
    present = torch.tensor([[True, False, True]] * 2)
    views = pictures()
    changed = views.clone()
    changed[:, 1] = 100.0
    with torch.no_grad():
        one, other = (net(v, [texts], present)[0] for v in (views, changed))
        alone = net(views, [texts], torch.tensor([[True, False, False]] * 2))[0]
    assert torch.equal(one.text_logits, other.text_logits)
    assert (one.weights[:, 1] == 0).all() and torch.allclose(one.weights.sum(1), torch.ones(2))
    assert torch.isfinite(alone.text_logits).all() and (alone.weights[:, 0] == 1).all()


def test_ablations_are_exact() -> None:
    net, texts = network(cvsa=False, mtgf=False)
    with torch.no_grad():
        tokens = net.encode(pictures(), torch.tensor(net.config.yaws))
        output = net(pictures(), [texts])[0]
    assert torch.allclose(output.face, net.norm(tokens[:, :, 0].mean(dim=1)), atol=1e-6)
    assert output.where is None


def test_consistency_of_identical_views_is_zero() -> None:
    same = torch.randn(5, 1, 8).expand(-1, 3, -1)
    there = torch.ones(5, 3, dtype=torch.bool)
    assert float(consistency_loss(same, there)) == pytest.approx(0, abs=1e-6)
    other = torch.randn(5, 3, 8)
    assert float(consistency_loss(other, there)) > 0.3
    # The relational term alone sees views that order the scans differently.
    more = consistency_loss(other, there, relational=1.0) - consistency_loss(other, there, 0.0)
    assert float(more) > 0.01
    one = there.clone()
    one[:, 1:] = False
    assert float(consistency_loss(other, one)) == 0


def test_missing_views_do_not_count_in_the_consistency() -> None:
    views = torch.randn(4, 3, 8)
    there = torch.ones(4, 3, dtype=torch.bool)
    there[0, 1] = False
    changed = views.clone()
    changed[0, 1] = 50.0
    assert torch.allclose(consistency_loss(views, there), consistency_loss(changed, there))


def test_contrast_is_least_where_faces_lie_on_their_texts() -> None:
    texts = torch.eye(3)
    index = torch.tensor([0, 1, 1, 2])
    right = contrastive_loss(texts[index], texts, index, torch.tensor(20.0))
    wrong = contrastive_loss(texts[index.flip(0)], texts, index, torch.tensor(20.0))
    assert float(right) < 0.4 < float(wrong)


def test_temporal_transformer_takes_frames() -> None:
    net, texts = network(temporal="transformer", frames=4)
    views = torch.randn(2, 4, 3, 3, 32, 32)
    with torch.no_grad():
        output = net(views, [texts])[0]
        turned = net(views.flip(1), [texts])[0]
    assert output.text_logits.shape == (2, 3)
    assert not torch.allclose(output.face, turned.face, atol=1e-3)


def test_lora_trains_adapters_alone() -> None:
    net, texts = network(visual={"width": 16, "depth": 1, "lora_rank": 2})
    trained = [name for name, p in net.tower.named_parameters() if p.requires_grad]
    assert trained and all("lora" in name for name in trained)
    net(pictures(), [texts])[0].text_logits.sum().backward()
    assert net.of_text.weight.grad is not None


def test_save_and_load(tmp_path: Path) -> None:
    net, texts = network()
    save_network(net, tmp_path)
    loaded = load_facet(tmp_path)
    with torch.no_grad():
        one, other = (n(pictures(), [texts])[0] for n in (net, loaded.network))
    assert torch.equal(one.text_logits, other.text_logits)
    assert loaded.network.config == net.config


def test_mirroring_twice_is_nothing() -> None:
    views, yaws = pictures()[0].numpy(), (0.0, -45.0, 45.0)
    names = ("normal_x", "normal_y", "shape_index")
    once = mirror(views, yaws, names)
    assert np.array_equal(mirror(once, yaws, names), views)
    assert np.array_equal(once[1, 1], views[2, 1, :, ::-1])
    assert np.array_equal(once[0, 0], -views[0, 0, :, ::-1])


def test_disturbed_views_keep_what_is_empty() -> None:
    views = np.zeros((3, 2, 64, 64), np.float32)
    views[..., 20:44, 20:44] = 0.5
    made = disturb(views, np.random.default_rng(1))
    assert np.array_equal(made, disturb(views, np.random.default_rng(1)))
    assert (made[..., 0, :] == 0).all() and np.abs(made).max() <= 1
    assert not np.array_equal(made[0], made[1])


def test_some_view_is_always_there() -> None:
    present = drop_views(500, 3, 0.8, np.random.default_rng(0))
    assert present.any(axis=1).all() and 0.3 < present.mean() < 0.6


def test_the_default_tower_is_small() -> None:
    # 250 ms for a forward pass on two cores would not hold ViT-B's 26 GFLOP.
    config = FacetConfig(classes=list(CLASSES), prompts=default_prompts(CLASSES))
    assert config.visual == VisualConfig()
    net = Facet(config, 8)
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
