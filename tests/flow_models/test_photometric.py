"""Lucas-Kanade steps as an input: right in size and sign, blind to light, calm on flat images."""

from __future__ import annotations

import pytest
import torch

from deft_llm.flow_models.photometric import FEATURES, carry, lucas_kanade_steps, smooth_grey

from .conftest import batch, waves


def steps_of(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flow = torch.zeros(1, 2, a.shape[2] // 4, a.shape[3] // 4)
    return lucas_kanade_steps(smooth_grey(a), smooth_grey(b), flow, 4, (2.5, 5.0))


@pytest.mark.parametrize("shift", [(0.1, 0.0), (0.0, -0.2), (-0.15, 0.1)])
def test_steps_are_the_motion(shift: tuple[float, float]) -> None:
    steps, features = steps_of(batch(waves(64, 80)), batch(waves(64, 80, *shift)))
    assert steps.shape == (1, 2, 2, 16, 20) and features.shape == (1, 2 * FEATURES, 16, 20)
    for window in steps[0]:
        assert window[:, 4:-4, 4:-4].mean((1, 2)).tolist() == pytest.approx(shift, abs=0.02)


def test_light_is_no_motion() -> None:
    image = batch(waves(64, 64))
    steps, _ = steps_of(image, image + 6)
    assert steps.abs().max() < 0.02


def test_flat_images_give_no_step() -> None:
    steps, features = steps_of(torch.full((1, 3, 32, 32), 90.0), torch.full((1, 3, 32, 32), 95.0))
    assert steps.abs().max() < 1e-3 and torch.isfinite(features).all()


def test_carry_sees_the_image_along_the_flow() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1.0
    expected = torch.tensor([[1.0, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])
    torch.testing.assert_close(carry(image, flow)[0, 0], expected)
