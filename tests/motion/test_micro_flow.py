"""A movement fitted to all frames: known motion comes back, and what else happens stays out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.motion.head_depth import head_depth
from deft_llm.motion.meter import MotionMeter, MotionSettings
from deft_llm.motion.micro_flow import fit_movement, time_shares
from deft_llm.motion.noise import movement_floors, of_search
from deft_llm.motion.regions import ACTIVE_Z, REGION_NAMES, region_masks, region_motion

from .conftest import bump

FloatArray = np.ndarray
Make = Callable[..., Any]
MOMENTS = Interval(10, 18, 26)
FRAMES = 36
CORNER = REGION_NAMES.index("left mouth corner")


def smile(landmarks: FloatArray, size: float = 1.0) -> FloatArray:
    return size * bump(landmarks[54][0] + 4, landmarks[54][1], 14, 0.7, -0.7)


def share(held: bool = False) -> FloatArray:
    t = np.arange(FRAMES, dtype=float)
    up, down = time_shares(t, MOMENTS).T
    return up if held else up * (1 - down)


def film(make: Make, one: FloatArray, level: FloatArray, **kind: Any) -> Any:
    return make([(p * one).astype(np.float32) for p in level], **kind)


def in_regions(flow: FloatArray, landmarks: FloatArray) -> FloatArray:
    return region_motion(flow, region_masks(landmarks))


def test_known_motion_comes_back_in_both_phases(make_clip: Make, landmarks: FloatArray) -> None:
    one = smile(landmarks, 0.6)
    found = fit_movement(film(make_clip, one, share()), MOMENTS)
    true = in_regions(one, landmarks)
    for flow, sign in ((found.flow_apex, 1), (found.flow_offset, -1)):
        moved = in_regions(flow, landmarks)
        assert moved[CORNER] @ true[CORNER] * sign > 0.75 * true[CORNER] @ true[CORNER]
        still = np.linalg.norm(true, axis=1) < 0.01
        assert still.sum() > 10 and np.linalg.norm(moved[still], axis=1).max() < 0.05
    assert (found.blink == 0).all() and set(range(10, 27)) <= set(found.frames)


def test_more_frames_hold_less_noise_than_two(make_clip: Make, landmarks: FloatArray) -> None:
    noise: dict[str, list[float]] = {"all": [], "two": []}
    still = np.zeros((2, 224, 224), np.float32)
    for seed in range(3):
        clip = film(make_clip, still, share(), noise=6.0, seed=seed)
        meter = MotionMeter(clip, MotionSettings("lk"))  # averages five frames at each end
        for name, flow in (
            ("all", fit_movement(clip, MOMENTS).flow_apex),
            ("two", meter.flow(MOMENTS.onset, MOMENTS.apex)),
        ):
            noise[name].append(float(np.square(in_regions(flow, landmarks)).mean()))
    assert np.mean(noise["all"]) < 0.8 * np.mean(noise["two"])


def test_a_held_movement_does_not_come_back(make_clip: Make, landmarks: FloatArray) -> None:
    found = fit_movement(film(make_clip, smile(landmarks), share(held=True)), MOMENTS)
    out, back = (in_regions(f, landmarks)[CORNER] for f in (found.flow_apex, found.flow_offset))
    assert np.linalg.norm(back) < 0.15 * np.linalg.norm(out)


def test_a_large_movement_is_followed(make_clip: Make, landmarks: FloatArray) -> None:
    one = bump(landmarks[54][0], landmarks[54][1], 26, 7.0, -7.0)
    clip = film(make_clip, one, share())
    true = in_regions(one, landmarks)[CORNER]
    assert np.linalg.norm(true) > 8
    found = in_regions(fit_movement(clip, MOMENTS).flow_apex, landmarks)[CORNER]
    assert np.linalg.norm(found - true) < 0.15 * np.linalg.norm(true)


def test_a_turning_head_is_no_movement(make_clip: Make, landmarks: FloatArray) -> None:
    depth = head_depth(landmarks, 224, 224)
    turn = np.stack([0.02 * depth, np.zeros_like(depth)])  # a little more than a degree
    found = fit_movement(film(make_clip, turn, share()), MOMENTS)
    assert found.turn == pytest.approx(0.02, rel=0.15)
    assert np.linalg.norm(in_regions(found.flow_apex, landmarks), axis=1).max() < 0.12


def test_depth_that_the_landmark_finder_tells_leaves_less_of_a_turn(
    make_clip: Make, landmarks: FloatArray
) -> None:
    x, y = np.clip(landmarks.round().astype(int), 0, 223).T
    told = head_depth(landmarks, 224, 224)[y, x] / 80
    told[3:14] += 0.4  # a jaw that stands forward
    depth = head_depth(np.column_stack([landmarks, 80 * told]), 224, 224)
    clip = film(make_clip, np.stack([0.03 * depth, np.zeros_like(depth)]), share())
    left = []
    for clip.landmark_depth in (None, told.astype(np.float32)):
        flow = fit_movement(clip, MOMENTS).flow_apex
        left.append(np.linalg.norm(in_regions(flow, landmarks), axis=1).max())
    assert left[1] < 0.7 * left[0]


def test_floors_grow_with_the_noise_and_hold_at_rest(
    make_clip: Make, landmarks: FloatArray
) -> None:
    still = np.zeros((2, 224, 224), np.float32)
    quiet, loud = (
        fit_movement(film(make_clip, still, share(), noise=noise), MOMENTS) for noise in (1.5, 6.0)
    )
    assert (loud.floors > quiet.floors).mean() > 0.9
    moved = in_regions(loud.flow_apex, landmarks)
    # Both components of twenty regions: their RMS over the floor is one, but for chance.
    assert 0.4 < float(np.sqrt(np.mean(np.square(moved / loud.floors[0][:, None])))) < 2.0


def test_blinking_frames_are_left_out(make_clip: Make, landmarks: FloatArray) -> None:
    (right_x, right_y), (left_x, left_y) = (landmarks[[k, k + 1]].mean(0) for k in (37, 43))
    lids = bump(right_x, right_y, 9, 0, 5.0) + bump(left_x, left_y, 9, 0, 5.0)
    closing = np.zeros(FRAMES)
    closing[13:16] = 1.0
    moves = [p * smile(landmarks) + c * lids for p, c in zip(share(), closing, strict=True)]
    clip = make_clip([move.astype(np.float32) for move in moves])
    found = fit_movement(clip, MOMENTS)
    assert not {13, 14, 15} & set(found.frames)
    # At the moments the lids are as open as at the onset, but for noise.
    assert (found.blink < 0.1).all()
    # A blink at the apex itself cannot be left out: it is told, and lids then say nothing.
    closing[13:16], closing[17:20] = 0.0, 1.0
    moves = [p * smile(landmarks) + c * lids for p, c in zip(share(), closing, strict=True)]
    found = fit_movement(make_clip([move.astype(np.float32) for move in moves]), MOMENTS)
    assert MOMENTS.apex in found.frames and (found.blink > 1.4).all()
    # Half-closed lids at the apex, beside the blink, are told as well.
    closing[17:20] = 1.0, 0.25, 0.0
    moves = [p * smile(landmarks) + c * lids for p, c in zip(share(), closing, strict=True)]
    found = fit_movement(make_clip([move.astype(np.float32) for move in moves]), MOMENTS)
    assert ((found.blink > 0.2) & (found.blink < 1.4)).all()


def test_other_movements_are_no_rest(make_clip: Make, landmarks: FloatArray) -> None:
    clip = film(make_clip, smile(landmarks), share())
    used = fit_movement(clip, MOMENTS, (Interval(28, 30, 33),)).frames
    assert not set(range(28, 34)) & set(used) and 34 in used and 0 in used


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("moments", [(17, 18, 19), (0, 1, 1), (18, 18, 26), (12, 35, 35)])
def test_a_phase_of_one_frame_or_none_is_measured(
    make_clip: Make, landmarks: FloatArray, moments: tuple[int, int, int]
) -> None:
    clip = film(make_clip, smile(landmarks), share())
    clip.frames[:, :, :30] = 0  # beside the video there is nothing
    found = fit_movement(clip, Interval(*moments))
    for values in (found.flow_apex, found.flow_offset, found.floors):
        assert np.isfinite(values).all()


def test_floors_grow_with_the_turn() -> None:
    fitted, prior = np.full((2, 20), 0.02, np.float32), np.full(20, 0.05, np.float32)
    floors = [movement_floors(fitted, prior, turn) for turn in (0.0, 0.01, 0.05)]
    assert floors[0].shape == (2, 20) and (floors[0] > 0.02).all()
    assert (floors[1] > floors[0]).all() and (floors[2] > floors[1]).all()


def test_a_far_turn_raises_the_floors_by_pixels() -> None:
    fitted, prior = np.full((2, 3), 0.02, np.float32), np.full(3, 0.02, np.float32)
    near, far = (movement_floors(fitted, prior, turn).max() for turn in (0.14, 0.21))
    assert near < 0.4 and far > 3


@pytest.mark.parametrize("windows", [2, 10, 60])
def test_the_strongest_of_many_windows_at_rest_passes_as_rarely_as_a_single_one(
    windows: int,
) -> None:
    rest = np.random.default_rng(0).rayleigh(size=(100_000, windows))
    floor = of_search(np.ones(1, np.float32), windows)
    single, strongest = (rest[:, 0] >= ACTIVE_Z).mean(), (rest.max(axis=1) >= ACTIVE_Z).mean()
    searched = (rest.max(axis=1) / floor >= ACTIVE_Z).mean()
    assert strongest > 1.8 * single and searched == pytest.approx(single, rel=0.15)
    assert of_search(np.ones(1, np.float32), 0.4)[0] == 1
