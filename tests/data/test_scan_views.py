"""Views of a scan: symmetry, channels; dynamic images of sequences."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.data.rank_pooling import compress, motion_curve, rank_pool, rising_frames
from deft_llm.data.scan_views import Surface, channel, shape_index, views
from deft_llm.errors import UserError
from deft_llm.scans.range_images import grid_surface
from deft_llm.scans.scan import Scan

NAMES = ("depth", "normal_x", "normal_y", "shape_index", "texture")


def bump(shift: float = 18.0) -> Scan:
    """A face-sized dome with a bump on one side, on a grid that is its own mirror image."""
    x, y = np.meshgrid(np.linspace(-70, 70, 71), np.linspace(-80, 80, 81))
    z = -((x / 9) ** 2) - (y / 11) ** 2 + 14 * np.exp(-((x - shift) ** 2 + y**2) / 200)
    grey = np.repeat((0.5 + x / 200)[..., None], 3, axis=-1)
    return grid_surface(
        np.stack([x, y[::-1], z], axis=-1).astype(np.float32), grey.astype(np.float32), jump=99.0
    )


def test_the_left_view_of_a_mirrored_head_is_the_flipped_right_view() -> None:
    scan = bump()
    mirrored = Scan(
        scan.vertices * np.array([-1, 1, 1], np.float32),
        scan.triangles[:, ::-1].copy(),
        scan.colours,
    )
    left = views(mirrored, (45.0,), NAMES, side=96)[0]
    right = views(scan, (-45.0,), NAMES, side=96)[0, :, :, ::-1].copy()
    right[1] *= -1  # the normal's x changes sign
    assert np.abs(left - right).mean() < 2e-3
    assert np.abs(left - right[:, :, ::-1]).mean() > 0.02


def test_threads_change_nothing() -> None:
    assert np.array_equal(views(bump(), side=64), views(bump(), side=64, threads=2))


def test_shape_index_tells_caps_from_cups() -> None:
    relief = Surface(bump()).relief(0.0, 128)
    index = shape_index(relief)
    row, column = 64, round(63.5 + 18 * 128 / 190)
    assert index[row, column] > 0.5  # the top of the bump
    assert np.abs(channel(relief, "depth")).max() <= 1
    assert (channel(relief, "normal_y")[~relief.mask] == 0).all()
    with pytest.raises(UserError, match="did you mean 'depth'"):
        channel(relief, "dept")


def test_a_constant_sequence_pools_to_zero() -> None:
    frames = np.repeat(views(bump(), side=32)[None], 7, axis=0)
    assert np.abs(rank_pool(frames)).max() == 0
    assert np.abs(compress(rank_pool(frames), NAMES[1:4])).max() == 0


def test_pooling_is_linear_and_turns_its_sign_with_time() -> None:
    frames = np.random.default_rng(0).normal(size=(6, 3, 4, 4)).astype(np.float32)
    assert np.allclose(rank_pool(frames[::-1]), -rank_pool(frames), atol=1e-6)
    assert np.allclose(rank_pool(2 * frames), 2 * rank_pool(frames), atol=1e-6)
    steady = np.linspace(0, 1, 6)[:, None, None] * np.ones((6, 2, 2))
    # A steady rise: the late mean less the early mean.
    assert 0.5 < float(rank_pool(steady).mean()) < 1.0


def test_the_curve_rises_to_the_apex() -> None:
    share = np.array([0, 0.2, 0.6, 1.0, 0.7, 0.3, 0.0])
    depths = share[:, None, None] * np.pad(np.ones((4, 4)), 8)[None] * 2
    masks = np.ones(depths.shape, bool)
    curve = motion_curve(depths.astype(np.float32), masks)
    assert curve.argmax() == 3 and curve[0] == 0 and curve[3] == pytest.approx(2.0, abs=0.6)
    assert rising_frames(curve, 4) == [0, 1, 2, 3] and rising_frames(curve, 3)[-1] == 3
