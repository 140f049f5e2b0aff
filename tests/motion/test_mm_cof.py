"""MM-COF: golden values by hand, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.motion.mm_cof import GAINS, SLOPE, Modulation, mm_cof, modulate

WAYS: tuple[Modulation, ...] = ("step", "smooth", "none")


def field(seed: int, size: int = 12) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(2, size, size))


def test_golden_values() -> None:
    # |onset| = 5, 0, 0, 2.5 -> 1, 0, 0, 0.5; |offset| = 0, 4, 0, 2 -> 0, 1, 0, 0.5
    onset = np.array([[[3.0, 0.0], [0.0, 2.5]], [[4.0, 0.0], [0.0, 0.0]]])
    offset = np.array([[[0.0, 0.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 2.0]]])
    # Combined with 0.6 and 0.4: 0.6, 0.4, 0, 0.5. The offset phase is turned round; in the last
    # pixel 0.3 right and 0.2 up remain.
    m = np.array([[0.6, 0.4], [0.0, 0.5]])
    away = np.hypot(0.3, 0.2)
    cosine = np.array([[0.6, 0.0], [0.0, 0.3 / away]])
    sine = np.array([[0.8, -1.0], [0.0, -0.2 / away]])
    cof = mm_cof(onset, offset, weight=0.6, modulation="none")
    np.testing.assert_allclose(cof, [m * cosine, m * sine, m], atol=1e-12)
    # The upper quartile of 0, 0.4, 0.5, 0.6 is 0.525: only the first pixel is strong.
    raised = np.clip(m * np.where(m >= 0.525, 1.5, 0.5), 0, 1)
    np.testing.assert_allclose(mm_cof(onset, offset, 0.6)[2], raised, atol=1e-12)
    smooth = m / (1 + np.exp(-10.0 * (m - 0.525)))
    np.testing.assert_allclose(mm_cof(onset, offset, 0.6, "smooth")[2], smooth, atol=1e-12)
    assert (GAINS, SLOPE) == ((0.5, 1.5), 10.0)


@pytest.mark.parametrize("how", WAYS)
def test_an_offset_phase_that_runs_the_onset_phase_back_adds_nothing(how: Modulation) -> None:
    onset = field(0)
    alone = mm_cof(onset, field(1), weight=1.0, modulation=how)
    np.testing.assert_allclose(mm_cof(onset, -onset, modulation=how), alone, atol=1e-12)
    np.testing.assert_allclose(alone[:2] * np.hypot(*onset), alone[2] * onset, atol=1e-9)


@pytest.mark.parametrize("how", WAYS)
def test_no_motion_gives_nothing(how: Modulation) -> None:
    still = np.zeros((2, 8, 8))
    assert not mm_cof(still, still, modulation=how).any()
    moved_whole = np.full((2, 8, 8), 0.7)  # a constant flow: no place moves more than another
    assert not mm_cof(moved_whole, -moved_whole, modulation=how).any()


@pytest.mark.parametrize("how", WAYS)
def test_units_and_order_do_not_matter(how: Modulation) -> None:
    onset, offset = field(2), field(3)
    plain = mm_cof(onset, offset, modulation=how)
    np.testing.assert_allclose(mm_cof(5 * onset, 0.01 * offset, modulation=how), plain, atol=1e-9)
    # Time run backwards: the phases change places and signs, and MM-COF cannot tell.
    np.testing.assert_allclose(mm_cof(-offset, -onset, modulation=how), plain, atol=1e-12)
    swapped = mm_cof(offset, onset, modulation=how)
    np.testing.assert_allclose(swapped[2], plain[2], atol=1e-12)
    np.testing.assert_allclose(swapped[:2], -plain[:2], atol=1e-12)


def test_mirroring() -> None:
    onset, offset = field(4), field(5)
    sign = np.array([-1.0, 1.0])[:, None, None]
    mirrored = mm_cof(onset[..., ::-1] * sign, offset[..., ::-1] * sign)
    expected = mm_cof(onset, offset)[..., ::-1] * np.array([-1.0, 1.0, 1.0])[:, None, None]
    np.testing.assert_allclose(mirrored, expected, atol=1e-12)


@pytest.mark.parametrize("how", WAYS)
def test_ranges_and_batches(how: Modulation) -> None:
    onset, offset = (torch.from_numpy(np.stack([field(s), 9 * field(s + 1)])) for s in (6, 8))
    both = mm_cof(onset, offset, modulation=how)
    assert both.shape == (2, 3, 12, 12) and both[:, 2].min() >= 0 and both[:, 2].max() <= 1
    torch.testing.assert_close(both[:, :2].square().sum(1).sqrt(), both[:, 2])
    for i in range(2):
        one = mm_cof(onset[i].numpy(), offset[i].numpy(), modulation=how)
        np.testing.assert_allclose(both[i].numpy(), one, atol=1e-12)


def test_modulation_raises_strong_and_lowers_weak() -> None:
    magnitude = torch.linspace(0, 0.6, 16).view(4, 4)
    changed = modulate(magnitude, "step") - magnitude
    assert (changed[magnitude > 0.46] > 0).all() and (changed[:3].flatten()[1:] < 0).all()


def test_gradients_pass_even_where_nothing_moves() -> None:
    onset = torch.zeros(2, 6, 6, requires_grad=True)
    offset = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    mm_cof(onset, offset, modulation="smooth").sum().backward()
    assert onset.grad is not None and onset.grad.isfinite().all()
    moving = offset.clone().requires_grad_()
    mm_cof(moving, -offset.flip(-1), modulation="smooth").sum().backward()
    assert moving.grad is not None and moving.grad.isfinite().all() and moving.grad.any()


def test_wrong_input_is_named() -> None:
    with pytest.raises(UserError, match=r"shapes \(2, 4, 4\) and \(2, 5, 4\)"):
        mm_cof(np.zeros((2, 4, 4)), np.zeros((2, 5, 4)))
    with pytest.raises(UserError, match="one shape"):
        mm_cof(np.zeros((3, 4, 4)), np.zeros((3, 4, 4)))
    with pytest.raises(UserError, match=r"weight 1\.5"):
        mm_cof(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), weight=1.5)
