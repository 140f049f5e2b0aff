"""Pre-training on simulated flow: disturbances of the images, and a run that is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm.config import validate_settings
from deft_llm.data.disturbed_flow import (
    Disturbance,
    LabelledFlow,
    SimulatedFlowData,
    disturbed,
    moved,
    smooth_noise,
)
from deft_llm.errors import UserError
from deft_llm.recognizers import flow_prior_task
from deft_llm.recognizers.flow_prior_task import FlowPriorRecipe, FlowPriorTask, train


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_mirrored_image_has_mirrored_action_units() -> None:
    flow = torch.randn(64, 3, 28, 28, generator=_rng())
    aus = torch.randint(0, 2, (64, 15, 2), generator=_rng(1)).float()
    still = Disturbance(noise=0.0, misfit=0.0, unrelated=0.0)
    x, y = disturbed(flow, aus, still, _rng(2))
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    seen = set()
    for i in range(64):
        kept = x[i].abs().sum((1, 2)) > 0  # a channel may be left out
        same = torch.allclose(x[i][kept], flow[i][kept], atol=1e-4)
        other = torch.allclose(x[i][kept], mirrored[i][kept], atol=1e-4)
        assert same or other
        if kept.any():
            assert torch.equal(y[i], aus[i] if same else aus[i].flip(-1))
            seen.add(same)
    assert seen == {True, False}


@pytest.mark.usefixtures("no_ict")
def test_a_head_without_its_file_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    draws = [{"head": head, "images": 40, "per_identity": 8} for head in ("own", "ict")]
    data = validate_settings(SimulatedFlowData, {"draws": draws}, "test")
    with pytest.raises(UserError, match="the head 'ict' needs a path"):
        data.simulated(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_images_are_shifted_by_pixels() -> None:
    spots = torch.zeros(400, 1, 28, 28)
    spots[:, :, 13:15, 13:15] = 1.0
    shifted = moved(spots, 1.5, _rng()).squeeze(1)
    columns = torch.arange(28.0)
    places = (shifted.sum(1) * columns).sum(1) / shifted.sum((1, 2))
    np.testing.assert_allclose(places.mean(), 13.5, atol=0.3)
    np.testing.assert_allclose(places.std(), 1.5, rtol=0.15)


def test_unrelated_motion_is_smooth_and_of_unit_size() -> None:
    noise = smooth_noise(torch.empty(50, 3, 28, 28), _rng())
    torch.testing.assert_close(noise.std((2, 3)), torch.ones(50, 3))
    rows = noise - noise.mean((2, 3), keepdim=True)
    assert (rows[..., 1:] * rows[..., :-1]).mean() > 0.9
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 0.2  # channels of their own


@pytest.fixture
def images() -> LabelledFlow:
    """Random images; the last batch of an epoch is smaller."""
    aus = torch.randint(0, 2, (22, 15, 2), generator=_rng(1)).float()
    return LabelledFlow(torch.randn(22, 3, 28, 28, generator=_rng()), torch.arange(22) % 3, aus)


@pytest.fixture
def values(images: LabelledFlow, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe without its output, whose images are there already."""
    monkeypatch.setattr(SimulatedFlowData, "simulated", lambda self, cache: (images, images))
    return {"draws": [{"images": 22}], "networks": 2, "epochs": 3, "batch_size": 8}


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train({**values, "output": str(tmp_path / "straight")}, "test")

    class Stopped(FlowPriorTask):
        def batch(self, index: int) -> dict[str, torch.Tensor]:
            if self.seed == 1 and index == 5:
                raise KeyboardInterrupt
            return super().batch(index)

    stopped = {**values, "output": str(tmp_path / "stopped")}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(flow_prior_task, "FlowPriorTask", Stopped)
        train(stopped, "test")
    assert (tmp_path / "stopped" / "net0.safetensors").is_file()
    assert (tmp_path / "stopped" / "net1" / "checkpoint-3").is_dir()
    train(stopped, "test")
    for name in ("net0.safetensors", "net1.safetensors"):
        one, two = (load_file(tmp_path / run / name) for run in ("straight", "stopped"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_every_image_comes_once_an_epoch(values: dict[str, Any], images: LabelledFlow) -> None:
    still = {"noise": 0, "misfit": 0, "unrelated": 0, "output": "unused"}
    recipe = validate_settings(FlowPriorRecipe, {**values, **still}, "test")
    task = FlowPriorTask(recipe, 0, images, images)
    sizes = [len(task.batch(index)["labels"]) for index in range(6)]
    assert sizes == [8, 8, 6, 8, 8, 6]
    assert recipe.schedule(len(images)).steps == 9
    labels = torch.cat([task.batch(index)["labels"] for index in range(3)])
    assert torch.equal(labels.bincount(), images.labels.bincount())
    first, second = (task.batch(index)["flow_uvs"] for index in (0, 3))
    assert not torch.equal(first, second)


def test_another_recipe_does_not_go_on_in_the_folder(
    values: dict[str, Any], tmp_path: Path
) -> None:
    train({**values, "networks": 1, "epochs": 1, "output": str(tmp_path)}, "test")
    with pytest.raises(UserError, match="holds a run of another recipe"):
        train({**values, "networks": 1, "epochs": 2, "output": str(tmp_path)}, "test")


def test_no_draw_is_the_held_out_one(values: dict[str, Any], tmp_path: Path) -> None:
    draws = [{"images": 22, "seed": 3}, {"images": 22, "seed": 1003}]
    with pytest.raises(UserError, match="seed 1003 is that of the held-out images"):
        train({**values, "draws": draws, "output": str(tmp_path)}, "test")
