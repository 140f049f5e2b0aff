"""The losses against sums written out by hand, and the invariants that give them their meaning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.flow_models.regularizers import (
    FaceLosses,
    Operator,
    derivatives,
    face_loss,
    gradient_loss,
    mask_loss,
    sequence_loss,
    stencils,
)

OPERATORS: tuple[Operator, ...] = ("difference", "sobel")


@pytest.fixture
def truth() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 2, 9, 11)


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(2, 9, 11, dtype=torch.bool)
    mask[0, 2:7, 3:9] = True
    mask[1, :, :5] = True
    return mask


def test_sequence_loss_weighs_later_updates_more(truth: torch.Tensor) -> None:
    flows = [truth + 0.5, truth - 0.25]
    # both components are off by as much: |du| + |dv| is 1 and 0.5
    assert sequence_loss(flows, truth, 0.8).item() == pytest.approx(0.8 * 1.0 + 0.5, rel=1e-5)
    assert sequence_loss([truth, truth], truth).item() == 0


def test_sequence_loss_leaves_out_absurd_motion(truth: torch.Tensor) -> None:
    far = truth.clone()
    far[0, 0, 0, 0] = 1000.0
    assert sequence_loss([truth], far).item() == 0


def test_mask_loss_is_about_the_background(mask: torch.Tensor) -> None:
    flow = torch.ones(2, 2, 9, 11) * ~mask[:, None] * 0.3
    assert mask_loss([flow], mask).item() == pytest.approx(0.6)
    assert mask_loss([torch.ones(2, 2, 9, 11) * mask[:, None]], mask).item() == 0
    assert mask_loss([flow], torch.ones_like(mask)).item() == 0  # nothing to judge, no NaN


@pytest.mark.parametrize("operator", OPERATORS)
def test_derivatives_of_a_plane(operator: Operator) -> None:
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(8.0), indexing="ij")
    flow = torch.stack([0.5 * x - 0.2 * y, 3.0 + 0.1 * y])[None]
    found = derivatives(flow, operator)[0, :, :, 1:-1, 1:-1]
    expected = torch.tensor([[0.5, 0.0], [-0.2, 0.1]])[..., None, None].expand_as(found)
    torch.testing.assert_close(found, expected)


def test_sobel_against_numpy() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(6, 7)).astype(np.float32)
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    padded = np.pad(image, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    flow = torch.from_numpy(np.stack([image, image]))[None]
    dx, dy = derivatives(flow, "sobel")[0]
    np.testing.assert_allclose(dx[0], (windows * kernel).sum((2, 3)), atol=1e-5)
    np.testing.assert_allclose(dy[1], (windows * kernel.T).sum((2, 3)), atol=1e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_stencils_stay_inside(operator: Operator, mask: torch.Tensor) -> None:
    """What lies outside the mask has no influence at all on the gradient terms."""
    torch.manual_seed(2)
    flow = torch.randn(2, 2, 9, 11)
    changed = torch.where(mask[:, None], flow, torch.full_like(flow, 99.0))
    for truth in (None, torch.zeros_like(flow)):
        one = gradient_loss([flow], truth, mask, operator)
        assert gradient_loss([changed], truth, mask, operator).item() == one.item() > 0
    assert stencils(torch.zeros_like(mask), operator).sum() == 0


@pytest.mark.parametrize("operator", OPERATORS)
def test_stencils_across_the_silhouette_would_bias_the_border(operator: Operator) -> None:
    """Uniform motion of a face on a still background costs nothing with eroded masks only."""
    face = torch.zeros(1, 20, 20, dtype=torch.bool)
    face[:, 5:15, 5:15] = True
    flow = torch.ones(1, 2, 20, 20) * face[:, None]
    assert gradient_loss([flow], None, face, operator).item() == 0
    everywhere = torch.ones_like(face)
    assert gradient_loss([flow], None, everywhere, operator).item() > 0.05


@pytest.mark.parametrize("operator", OPERATORS)
def test_mean_is_over_valid_stencils(operator: Operator) -> None:
    """A slope costs the same in a small mask and in a large one."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    flow = torch.stack([0.25 * x, torch.zeros_like(y)])[None]
    costs = []
    for side in (5, 12):
        mask = torch.zeros(1, 16, 16, dtype=torch.bool)
        mask[:, 2 : 2 + side, 2 : 2 + side] = True
        costs.append(gradient_loss([flow], None, mask, operator).item())
    # half of all stencils are vertical, and see nothing
    assert costs == pytest.approx([0.125, 0.125])


def test_match_is_blind_to_a_shift(truth: torch.Tensor, mask: torch.Tensor) -> None:
    shifted = gradient_loss([truth + 3.0], truth, mask).item()
    assert shifted == pytest.approx(0, abs=1e-5)
    assert gradient_loss([truth * 2], truth, mask).item() > 0.1


def test_terms_are_switched_by_weights(truth: torch.Tensor, mask: torch.Tensor) -> None:
    flow = truth + 0.1 * torch.randn_like(truth)
    every = face_loss([flow], truth, mask, FaceLosses())
    assert set(every) == {"loss", "sequence", "mask", "gradient", "tv"}
    expected = every["sequence"] + 0.1 * every["mask"] + 0.5 * every["gradient"]
    assert every["loss"].item() == pytest.approx((expected + 0.01 * every["tv"]).item())
    none = face_loss([flow], truth, mask, FaceLosses(mask=0, gradient=0, tv=0))
    assert set(none) == {"loss", "sequence"} and none["loss"].item() == none["sequence"].item()


@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_of_the_loss(operator: Operator) -> None:
    torch.manual_seed(3)
    flow = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    truth = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    mask = torch.ones(1, 5, 6, dtype=torch.bool)
    mask[:, :, 0] = False
    weights = FaceLosses(operator=operator)
    assert torch.autograd.gradcheck(lambda f: face_loss([f], truth, mask, weights)["loss"], flow)


def test_wrong_input_is_named(truth: torch.Tensor, mask: torch.Tensor) -> None:
    weights = FaceLosses()
    with pytest.raises(UserError, match="no predicted flow"):
        face_loss([], truth, mask, weights)
    with pytest.raises(UserError, match="two equal shapes"):
        face_loss([truth[..., :-1]], truth, mask, weights)
    with pytest.raises(UserError, match=r"a mask of shape \(2, 1, 9, 11\).*expected \(2, 9, 11\)"):
        face_loss([truth], truth, mask[:, None], weights)
    broken = truth.clone()
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="NaN"):
        face_loss([truth], broken, mask, weights)
