"""Lucas-Kanade steps as an input: right in size and sign, blind to light, calm on flat images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deft_llm.flow_models.photometric import (
    WINDOW_FEATURES,
    carry,
    lucas_kanade_steps,
    similarity_flow,
    smooth_grey,
)

from .conftest import batch, waves


def steps_of(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flow = torch.zeros(1, 2, a.shape[2] // 4, a.shape[3] // 4)
    return lucas_kanade_steps(smooth_grey(a), smooth_grey(b), flow, 4, (2.5, 5.0))


@pytest.mark.parametrize("shift", [(0.1, 0.0), (0.0, -0.2), (-0.15, 0.1)])
def test_steps_are_the_motion(shift: tuple[float, float]) -> None:
    steps, features = steps_of(batch(waves(64, 80)), batch(waves(64, 80, *shift)))
    assert steps.shape == (1, 2, 2, 16, 20) and features.shape == (1, 2 * WINDOW_FEATURES, 16, 20)
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


def turned(
    height: int, width: int, zoom: float, turn: float, shift: tuple[float, float]
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """A texture and the same zoomed, turned about the middle and shifted; and the true flow."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    dx, dy = x - (width - 1) / 2, y - (height - 1) / 2
    u, v = zoom * dx - turn * dy + shift[0], turn * dx + zoom * dy + shift[1]
    # where what is now at (x, y) came from: the inverse map, exact for a similarity
    det = (1 + zoom) ** 2 + turn**2
    ex, ey = dx - shift[0], dy - shift[1]
    back = ((1 + zoom) * ex + turn * ey) / det - dx, ((1 + zoom) * ey - turn * ex) / det - dy
    images = []
    for du, dv in ((0.0, 0.0), back):
        rng = np.random.default_rng(5)
        image = np.zeros((height, width))
        waves_at = rng.uniform(-0.5, 0.5, (12, 2))
        for (fx, fy), phase in zip(waves_at, rng.uniform(0, 6, 12), strict=True):
            image += np.sin(fx * (x + du) + fy * (y + dv) + phase)
        images.append(batch(np.repeat((128 + 12 * image)[..., None], 3, 2).astype(np.float32)))
    return images, torch.from_numpy(np.stack([u, v]).astype(np.float32))


@pytest.mark.parametrize(
    ("zoom", "turn", "shift"),
    [(0.0, 0.0, (3.0, -2.0)), (0.02, 0.0, (0.5, 0.0)), (-0.01, 0.03, (-1.5, 1.0))],
)
def test_similarities_are_found(zoom: float, turn: float, shift: tuple[float, float]) -> None:
    (a, b), truth = turned(96, 128, zoom, turn, shift)
    found = similarity_flow(smooth_grey(a), smooth_grey(b), 4)
    assert found.shape == (1, 2, 24, 32)
    wanted = torch.nn.functional.avg_pool2d(truth[None], 4)
    assert (found - wanted).norm(dim=1).max() < 0.1


def test_what_moves_by_itself_does_not_turn_the_head() -> None:
    """A tenth of the image moves on: the rest decides."""
    a, b = waves(96, 96), waves(96, 96, 0.5, 0.0)
    b[40:70, 40:70] = waves(96, 96, 0.5, 3.0)[40:70, 40:70]
    found = similarity_flow(smooth_grey(batch(a)), smooth_grey(batch(b)), 4)
    assert found[:, 0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert found[:, 1].abs().max() < 0.1


def test_flat_images_are_still() -> None:
    flat = torch.full((1, 1, 32, 40), 90.0)
    assert similarity_flow(flat, flat + 4, 4).abs().max() < 1e-4
