"""What simulated flow goes through in training, so that real flow is not the first such one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from deft_llm.recognizers.flow_prior_task import FlowPriorRecipe, _moved, _smooth_noise, disturbed


def _recipe(**values: float) -> FlowPriorRecipe:
    return FlowPriorRecipe(output=Path("unused"), draws=[], **values)  # type: ignore[arg-type]


def test_a_mirrored_image_has_mirrored_action_units() -> None:
    torch.manual_seed(0)
    flow = torch.randn(64, 3, 28, 28)
    units = torch.randint(0, 2, (64, 15, 2)).float()
    still = _recipe(noise=0.0, misfit=0.0, unrelated=0.0)
    x, y = disturbed(flow, units, still)
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    seen = set()
    for i in range(64):
        kept = x[i].abs().sum((1, 2)) > 0  # a channel may be left out
        same = torch.allclose(x[i][kept], flow[i][kept], atol=1e-4)
        other = torch.allclose(x[i][kept], mirrored[i][kept], atol=1e-4)
        assert same or other
        if kept.any():
            assert torch.equal(y[i], units[i] if same else units[i].flip(-1))
            seen.add(same)
    assert seen == {True, False}


def test_images_are_shifted_by_pixels() -> None:
    torch.manual_seed(0)
    spots = torch.zeros(400, 1, 28, 28)
    spots[:, :, 13:15, 13:15] = 1.0
    moved = _moved(spots, 1.5).squeeze(1)
    columns = torch.arange(28.0)
    places = (moved.sum(1) * columns).sum(1) / moved.sum((1, 2))
    np.testing.assert_allclose(places.mean(), 13.5, atol=0.3)
    np.testing.assert_allclose(places.std(), 1.5, rtol=0.15)


def test_unrelated_motion_is_smooth_and_of_unit_size() -> None:
    torch.manual_seed(0)
    noise = _smooth_noise(torch.empty(50, 3, 28, 28))
    torch.testing.assert_close(noise.std((2, 3)), torch.ones(50, 3))
    rows = noise - noise.mean((2, 3), keepdim=True)
    assert (rows[..., 1:] * rows[..., :-1]).mean() > 0.9
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 0.2  # channels of their own
