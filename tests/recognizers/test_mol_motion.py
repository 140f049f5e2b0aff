"""The motion that MOL reads: of pictures that move by a known way, and of those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift
from torch import Tensor

from deft_llm.recognizers.mol import MOL
from deft_llm.recognizers.mol_motion import CHANNELS, local_motion, seen

WAY = np.linspace(-0.7, 0.7, 8)  # px of each frame


def moving(right: float, down: float, side: int = 96) -> Tensor:
    """A smooth random picture that moves along a line: (1, 8, S, S)."""
    rng = np.random.default_rng(0)
    picture = gaussian_filter(rng.normal(size=(side, side)), 2.0).astype(np.float32)
    picture = (picture - picture.min()) / np.ptp(picture)
    frames = [shift(picture, (w * down, w * right), mode="nearest") for w in WAY]
    return torch.from_numpy(np.stack(frames))[None]


@pytest.mark.parametrize(("right", "down"), [(1.0, 0.0), (0.0, -1.0), (0.6, 0.8)])
def test_motion_below_a_pixel_is_seen(right: float, down: float) -> None:
    found = local_motion(moving(right, down))[0, :, :, 16:-16, 16:-16].mean((-2, -1)).numpy()
    # Damped where the picture is flat, so short of the truth, but along it and in proportion.
    np.testing.assert_allclose(found, np.outer(WAY, (right, down)), atol=0.15)
    assert np.corrcoef(found @ (right, down), WAY)[0, 1] > 0.999


def test_a_still_picture_has_no_motion_and_the_light_makes_none() -> None:
    still = moving(0.0, 0.0)
    assert local_motion(still).abs().max() < 1e-4
    brighter = (still * torch.linspace(0.9, 1.0, 8).view(1, 8, 1, 1)).clamp(0, 1)
    # What a change of light adds changes its sign with the slope of the picture.
    assert local_motion(brighter).mean((-2, -1)).abs().max() < 0.02


def test_the_mirror_turns_motion_round_and_the_order_of_frames_does_not_matter() -> None:
    frames = moving(1.0, 0.3)
    mirrored = local_motion(frames.flip(-1)).flip(-1)
    turned = torch.stack([-mirrored[:, :, 0], mirrored[:, :, 1]], 2)
    torch.testing.assert_close(turned, local_motion(frames), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(local_motion(frames.flip(1)).flip(1), local_motion(frames))


def test_the_network_sees_grey_and_motion() -> None:
    frames = torch.rand(2, 8, 128, 128, requires_grad=True)
    channels = seen(frames)
    assert channels.shape == (2, 8, CHANNELS, 128, 128)
    # A brighter picture of the same clip is the same.
    torch.testing.assert_close(seen(frames * 0.5 + 0.2)[:, :, 0], 0.5 * channels[:, :, 0])
    MOL(3, flow=False, landmarks=False).joint(frames).logits.sum().backward()
    assert frames.grad is not None and frames.grad.isfinite().all()
