"""The landmark network: what it sees, where its points can lie, what its loss wants."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.landmark_models.files import load_landmark_net
from deft_llm.landmark_models.network import LandmarkConfig, LandmarkNet, Placed, laplace_loss
from deft_llm.weights import save_network

CONFIG = LandmarkConfig(side=32, width=4, blocks=1)


@pytest.fixture
def network() -> LandmarkNet:
    torch.manual_seed(0)
    return LandmarkNet(CONFIG).eval()


def crops(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 32, 32), generator=torch.Generator().manual_seed(1))


def test_points_lie_in_the_crop(network: LandmarkNet) -> None:
    placed = network(crops().to(torch.uint8))
    assert placed.points.shape == (3, 68, 2) and placed.log_scale.shape == (3, 68)
    assert placed.points.min() >= 0 and placed.points.max() <= 31


def test_a_sharp_heatmap_is_its_place(network: LandmarkNet) -> None:
    """Cells are four pixels wide; the centre of cell (row 2, column 5) is at x 21.5, y 9.5."""
    heat = torch.full((1, 68, 8, 8), -50.0)
    heat[..., 2, 5] = 50.0
    network.heat.register_forward_hook(lambda *_: heat)
    torch.testing.assert_close(network(crops(1)).points[0, 0], torch.tensor([21.5, 9.5]))


def test_bfloat16_does_not_round_the_places() -> None:
    """Between cells 20 and 21 of four pixels; bfloat16 knows no place between 82.5 and 83."""
    network = LandmarkNet(LandmarkConfig(side=96, width=4, blocks=1)).eval()
    heat = torch.full((1, 68, 24, 24), -50.0)
    heat[..., 2, 20], heat[..., 2, 21] = 50.0, 49.0
    network.heat.register_forward_hook(lambda *_: heat)
    crop = torch.zeros(1, 1, 96, 96)
    with torch.autocast("cpu", torch.bfloat16):
        points = network(crop).points
    assert points.dtype == torch.float32
    torch.testing.assert_close(points, network(crop).points)


def test_light_and_contrast_hardly_matter(network: LandmarkNet) -> None:
    dim = crops().float() * 0.4 + 60
    plain = network(crops().float())
    torch.testing.assert_close(network(dim).points, plain.points, atol=0.35, rtol=0)


def test_loss_wants_the_true_scale() -> None:
    """Among all scales that of the errors themselves is the likeliest (b = mean |error|)."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.rand(40, 68, 2, generator=generator) - 0.5
    error = -0.7 * signs.sign() * torch.log(1 - 2 * signs.abs())  # Laplace, b = 0.7 px
    truth = torch.full((40, 68, 2), 15.0)
    scales = torch.linspace(0.3, 1.4, 23)
    nll = []
    for b in scales:
        log_scale = torch.full((40, 68), float(torch.log(b * 16 / 32)))
        nll.append(float(laplace_loss(Placed(truth + error, log_scale), truth, 32)["nll"]))
    assert abs(float(scales[int(torch.tensor(nll).argmin())]) - 0.7) < 0.06


def test_points_outside_the_crop_do_not_count() -> None:
    placed = Placed(torch.full((1, 68, 2), 10.0), torch.zeros(1, 68))
    truth = torch.full((1, 68, 2), 10.0)
    truth[0, :5, 0] = -4
    assert laplace_loss(placed, truth, 32)["distance"] == 0
    truth[0, 5:] += 3
    assert laplace_loss(placed, truth, 32)["distance"] == pytest.approx(3 * 2**0.5)


def test_default_network_is_small(tmp_path: Path) -> None:
    save_network(LandmarkNet(LandmarkConfig()), tmp_path, torch.float16)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) < 4e6


def test_network_comes_back(network: LandmarkNet, tmp_path: Path) -> None:
    save_network(network, tmp_path)
    again = load_landmark_net(tmp_path)
    assert torch.equal(again(crops()).points, network(crops()).points)
    (tmp_path / "config.json").write_text('{"side": 32, "width": 8, "blocks": 1}')
    with pytest.raises(UserError, match="does not fit"):
        load_landmark_net(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(UserError, match="not a saved landmark network"):
        load_landmark_net(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load_landmark_net(tmp_path / "nowhere")


def test_a_model_of_transformers_is_named_as_such(tmp_path: Path, network: LandmarkNet) -> None:
    """A DEFT-LLM's folder has files of the same names."""
    save_network(network, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "deft_llm", "hidden_size": 8}')
    with pytest.raises(UserError, match=r"model of transformers .*'deft_llm'.*landmark network"):
        load_landmark_net(tmp_path)
