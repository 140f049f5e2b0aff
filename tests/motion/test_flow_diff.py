"""Flow and difference volumes: what magnification and interpolation do to a known motion."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.motion.flow import flow_estimator
from deft_llm.motion.flow_diff import FlowWarp, flow_diff_volume, interpolated
from deft_llm.motion.pixels import FloatArray, grid, origins
from deft_llm.motion.warping import carried

SIDE, MOVED = 64, 0.5  # px
UNIT = 224 / SIDE
FLOW = flow_estimator("farneback")  # finds all of so regular a motion; the default damps it


def skin() -> FloatArray:
    """A smooth texture, wide enough to be cut out anywhere."""
    noise = np.random.default_rng(0).normal(size=(SIDE + 16, SIDE + 16, 3)).astype(np.float32)
    return np.clip(120 + 150 * cv2.GaussianBlur(noise, (0, 0), 1.8), 0, 255)


def shifted(right: float) -> FloatArray:
    x, y = grid(SIDE, SIDE)
    return np.asarray(cv2.remap(skin(), x + 8 - right, y + 8, cv2.INTER_CUBIC), np.float32)


def key_frames(before: float = 0.4) -> FloatArray:
    """A texture that has moved to the right, ``MOVED`` px at the apex."""
    return np.stack([shifted(m).transpose(2, 0, 1) for m in (0.0, before, MOVED)])


def inside(x: FloatArray) -> float:
    return float(x[..., 12:-12, 12:-12].mean())


def test_a_factor_of_one_magnifies_nothing() -> None:
    onset, apex = shifted(0), shifted(MOVED)
    assert np.array_equal(FlowWarp()(onset, apex, 1.0), apex)
    frames = key_frames()
    for reference in ("onset", "previous"):
        found = flow_diff_volume(frames, 1.0, reference)
        assert np.array_equal(found, flow_diff_volume(frames))


def test_motion_is_multiplied_against_the_reference() -> None:
    for reference, expected in (("onset", 3 * MOVED), ("previous", 0.4 + 3 * (MOVED - 0.4))):
        volume = flow_diff_volume(key_frames(), 3.0, reference, flow=FLOW)  # type: ignore[arg-type]
        assert inside(volume[0]) == pytest.approx(UNIT * expected, rel=0.1)
        assert abs(inside(volume[1])) < 0.05 * UNIT


def test_a_volume_holds_rates_of_ten_pairs() -> None:
    volume = flow_diff_volume(key_frames(), flow=FLOW)
    assert volume.shape == (5, 10, SIDE, SIDE) and volume.dtype == np.float32
    assert inside(volume[0]) == pytest.approx(UNIT * MOVED, rel=0.1)
    # Over more, shorter steps the same motion has the same rate, and so has the change of grey.
    other = flow_diff_volume(key_frames(), length=5, flow=FLOW)
    assert other.shape[1] == 4
    assert inside(other[0]) == pytest.approx(inside(volume[0]), rel=0.05)
    assert inside(other[2:]) == pytest.approx(inside(volume[2:]), rel=0.1)
    # No pair is left behind: a warp that rounds positions would make every other one still.
    pairs = [inside(pair) for pair in volume[0]]
    assert max(pairs) < 1.25 * min(pairs)
    # Flow has no steps of grey levels.
    assert len(np.unique(volume[0])) > 10_000


def test_interpolation_keeps_both_ends_and_is_halfway_in_the_middle() -> None:
    first, last = shifted(0), shifted(1.0)
    flow = np.stack([np.ones((SIDE, SIDE)), np.zeros((SIDE, SIDE))]).astype(np.float32)
    frames = interpolated(first, last, 11, flow)
    assert np.array_equal(frames[0], first) and np.array_equal(frames[-1], last)
    off = np.abs(frames[5] - shifted(0.5))[4:-4, 4:-4].mean()
    blend = np.abs((first + last) / 2 - shifted(0.5))[4:-4, 4:-4].mean()
    assert off < 0.4 * blend


def test_origins_invert_a_smooth_motion() -> None:
    x, y = grid(SIDE, SIDE)
    flow = np.stack([2 * np.sin(y / 9), np.cos(x / 9)]).astype(np.float32)
    a, b = origins(flow)
    back = [cv2.remap(f, a, b, cv2.INTER_LINEAR) for f in flow]
    np.testing.assert_allclose((a + back[0])[8:-8, 8:-8], x[8:-8, 8:-8], atol=0.02)
    np.testing.assert_allclose((b + back[1])[8:-8, 8:-8], y[8:-8, 8:-8], atol=0.02)


def test_a_warp_keeps_small_fractions_of_a_pixel() -> None:
    x, y = grid(SIDE, SIDE)
    ramp = np.stack([3 * x + 2 * y, x], axis=-1)
    assert np.array_equal(carried(ramp, np.zeros((2, SIDE, SIDE), np.float32)), ramp)
    offset = np.stack([np.full_like(x, 0.01), np.full_like(x, -0.02)])
    change = (carried(ramp, offset) - ramp)[2:-2, 2:-2]
    np.testing.assert_allclose(change, np.broadcast_to([-0.01, 0.01], change.shape), atol=1e-4)


def test_a_clip_is_measured_without_waiting_for_numba() -> None:
    """Only warps need it, and it takes half a second to load."""
    code = "import deft_llm.data.features, sys; raise SystemExit('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120)
    assert done.returncode == 0


def test_another_magnifier_takes_the_place() -> None:
    seen = []

    def learned(reference: FloatArray, frame: FloatArray, factor: float) -> FloatArray:
        seen.append(factor)
        return shifted(factor * MOVED)

    volume = flow_diff_volume(key_frames(), 2.0, magnifier=learned, flow=FLOW)
    assert seen == [2.0] and inside(volume[0]) == pytest.approx(UNIT * 2 * MOVED, rel=0.1)


def test_an_apex_that_is_the_onset_is_refused() -> None:
    frames = key_frames()
    frames[2] = frames[0]
    with pytest.raises(UserError, match="onset and apex are the same picture"):
        flow_diff_volume(frames)
    with pytest.raises(UserError, match="length 1"):
        flow_diff_volume(key_frames(), length=1)
