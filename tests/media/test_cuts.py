"""Hard cuts are found; light, noise and fast heads are no cuts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest

from deft_llm.media.cuts import shots
from deft_llm.media.video import clip_from_array, decode_bytes, encode_h264
from deft_llm.simulator.scene.clips import draw_spec, render_clip
from tests.media.films import Frames

COUNT, MIDDLE = 20, 10


@cache
def person(seed: int) -> Frames:
    """Frames of one rendered person, 240 x 240."""
    frames = render_clip(draw_spec(seed)).clip.frames
    some = [frames[i % len(frames)] for i in range(COUNT)]
    return np.stack([cv2.resize(frame, (240, 240)) for frame in some]).astype(np.uint8)


def noisy(frames: np.ndarray, sd: float = 2.0) -> Frames:
    noise = np.random.default_rng(0).normal(0, sd, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def found(frames: np.ndarray) -> list[tuple[int, int]]:
    return shots(clip_from_array(noisy(frames), 25, "a"))


def moved(
    frame: Frames, right: float = 0, turn: float = 0, zoom: float = 1, blur: float = 0
) -> Frames:
    """A frame shifted by a share of its width, turned by degrees, enlarged, and smeared."""
    side = frame.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), turn, zoom)
    matrix[0, 2] += right * side
    image = cv2.warpAffine(frame, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    width = 2 * int(blur * side / 2) + 1
    return np.asarray(cv2.blur(image, (width, 1)), np.uint8)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 3), (3, 0)])
def test_cut_between_two_people(a: int, b: int) -> None:
    """The same framing, as in recordings of a lab: the hardest cut that can be seen."""
    assert found(np.concatenate([person(a)[:MIDDLE], person(b)[MIDDLE:]])) == [
        (0, MIDDLE),
        (MIDDLE, COUNT),
    ]


def test_cuts_survive_compression() -> None:
    joined = np.concatenate([person(0)[:8], person(1)[:8], person(3)[:8]])
    clip = decode_bytes(encode_h264(joined, 25, crf=30), "a")
    assert shots(clip) == [(0, 8), (8, 16), (16, 24)]


def test_black_between_two_shots_is_in_neither() -> None:
    joined = np.concatenate([person(0)[:8], np.zeros((3, 240, 240, 3)), person(1)[:8]])
    assert found(joined) == [(0, 8), (11, 19)]


# What may happen in one shot; each gets frame number and frame.
ONE_SHOT: dict[str, Callable[[int, Frames], np.ndarray]] = {
    "darker by half": lambda i, f: f * (0.5 if i >= MIDDLE else 1),
    "brighter by half": lambda i, f: f * (1.5 if i >= MIDDLE else 1),
    "twice as bright": lambda i, f: f * (2.2 if i >= MIDDLE else 1),
    "flash": lambda i, f: f * 1.5 + 60 if i == MIDDLE else f,
    "white flash": lambda i, f: f * 5.0 + 100 if abs(i - MIDDLE) < 2 else f,
    "shutter": lambda i, f: f * 0.02 if abs(i - MIDDLE) < 2 else f,
    "flicker": lambda i, f: f * (1 + 0.4 * (-1) ** i),
    "white balance": lambda i, f: f * (np.array([1.3, 1, 0.7]) if i >= MIDDLE else 1),
    "noise": lambda i, f: noisy(f, 30),
    "head jumps": lambda i, f: moved(f, 0.12 if i >= MIDDLE else 0),
    "head rolls": lambda i, f: moved(f, turn=10 if i >= MIDDLE else 0),
    "head nears": lambda i, f: moved(f, zoom=1.1 if i >= MIDDLE else 1),
    "head is smeared": lambda i, f: moved(
        f, 0.03 * min(max(i - 7, 0), 5), blur=0.1 if 7 < i < 13 else 0
    ),
    "camera shakes": lambda i, f: moved(f, 0.04 * np.sin(9 * i), 3 * np.sin(7 * i), blur=0.04),
}


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_one_shot_stays_whole(kind: str) -> None:
    for seed in (0, 3):
        frames = np.stack([ONE_SHOT[kind](i, f) for i, f in enumerate(person(seed))])
        assert found(frames) == [(0, COUNT)]


def test_repeated_frames_are_no_shots() -> None:
    """Ten pictures a second in a film of twenty: every second step is none."""
    fast = [moved(person(0)[0], 0.03 * i, blur=0.08) for i in range(10)]
    assert found(np.repeat(np.stack(fast), 2, axis=0)) == [(0, 20)]


def test_somebody_who_comes_in_is_no_cut() -> None:
    frames = np.full((COUNT, 240, 560, 3), 120, np.uint8)
    frames[:, 40:200, 20:180] = np.stack([cv2.resize(f, (160, 160)) for f in person(0)])
    frames[MIDDLE:, :, 320:] = person(1)[MIDDLE:]
    assert found(frames) == [(0, COUNT)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_are_one_shot(count: int) -> None:
    """Onset, apex and offset alone: nothing says what a usual step is."""
    assert found(np.stack([person(seed)[0] for seed in (0, 1, 3)][:count])) == [(0, count)]


def test_flat_pictures_are_one_shot() -> None:
    grey = np.repeat(np.linspace(60, 200, COUNT), 64 * 64 * 3).reshape(COUNT, 64, 64, 3)
    assert found(grey) == [(0, COUNT)]
