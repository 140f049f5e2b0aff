"""Light changes on a still, textured face: none is motion; real motion stays visible."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.media.face import AlignedClip
from deft_llm.motion.flow import to_grey
from deft_llm.motion.light import light_change
from deft_llm.motion.measure import measure
from deft_llm.motion.meter import USUAL, MotionMeter

from .test_measure import displacements

FRAMES = 24
TIME = np.linspace(0, 1, FRAMES)
ACROSS, DOWN = np.meshgrid(np.linspace(0, 1, 224), np.linspace(0, 1, 224))


def everywhere(course: np.ndarray) -> np.ndarray:
    return course[:, None, None] * np.ones((1, 224, 224))


BORDER = 1.4 * TIME[:, None, None] - 0.2  # where the edge of a shadow is
LIGHT = {
    "ramp": everywhere(1 - 0.5 * TIME),
    "step": everywhere(np.where(TIME > 0.5, 1.5, 1.0)),
    "flash": everywhere(1 + 0.5 * np.exp(-(((TIME - 0.5) / 0.08) ** 2))),
    "flicker": everywhere(1 + 0.25 * np.sin(2 * np.pi * 9 * TIME)),
    "lamp on one side": 1 + 0.5 * TIME[:, None, None] * ACROSS,
    "shadow": 1 - 0.5 / (1 + np.exp((ACROSS + 0.2 * DOWN - BORDER) / 0.05)),
}


def lit(clip: Any, gain: np.ndarray) -> Any:
    """The clip under another light, with the noise of a camera."""
    grain = np.random.default_rng(3).normal(0, 1, clip.frames.shape[:3])
    frames = clip.frames * gain[..., None] + grain[..., None]
    values = {**vars(clip), "frames": np.clip(np.rint(frames), 0, 255).astype(np.uint8)}
    return AlignedClip(name="lit", constant=True, landmark_method="mean shape", **values)


@pytest.mark.parametrize("kind", LIGHT)
def test_light_on_a_still_face_is_no_motion(kind: str, make_clip: Callable[..., Any]) -> None:
    still = make_clip([np.zeros((2, 224, 224), np.float32)] * FRAMES)
    measured = measure(lit(still, LIGHT[kind]))
    assert not measured.found and not measured.table_apex.active.any()
    assert "the light changed by up to" in measured.status and measured.light > 0.2


def test_steady_light_is_left_alone(make_clip: Callable[..., Any], landmarks: np.ndarray) -> None:
    moving = make_clip(displacements(landmarks, 2.5, 1.0))
    assert light_change(moving) is None
    assert measure(moving).evened is None


def test_a_head_that_moves_far_is_no_change_of_light(make_clip: Callable[..., Any]) -> None:
    """What is darker on the skin goes with it, so that every pixel changes its brightness."""
    far = 14.0 * np.arange(FRAMES) / FRAMES
    clip = make_clip([np.full((2, 224, 224), px, np.float32) for px in far])
    skin = 1 + 0.3 * np.sin((224 * ACROSS - far[:, None, None]) / 10)
    assert light_change(lit(clip, skin)) is None


def test_an_expression_is_seen_while_the_light_changes(
    make_clip: Callable[..., Any], landmarks: np.ndarray
) -> None:
    moving = make_clip(displacements(landmarks, 2.5, 0)[:FRAMES])
    plain = measure(moving)
    ramped = measure(lit(moving, LIGHT["ramp"]))
    assert plain.found and ramped.found
    strongest = next(plain.table_apex.strongest())
    assert next(ramped.table_apex.strongest()) == strongest
    ratio = ramped.table_apex.magnitude[strongest] / plain.table_apex.magnitude[strongest]
    assert 0.7 < ratio < 1.3


def test_what_saturates_in_one_colour_is_part_of_the_error(make_clip: Callable[..., Any]) -> None:
    still = make_clip([np.zeros((2, 224, 224), np.float32)] * FRAMES, noise=0.0)
    grey = still.frames.astype(int)
    reddish = np.clip(
        np.stack([grey[..., 0] + 60, grey[..., 1] - 20, grey[..., 2] - 20], -1), 0, 255
    )
    errors = []
    for frames in (grey, reddish):
        clip = lit(SimpleNamespace(**{**vars(still), "frames": frames}), LIGHT["step"])
        change = light_change(clip)
        assert change is not None
        difference = change.relit(clip, 0, FRAMES - 1) - to_grey(change.even(clip).frames[0])
        errors.append(float(np.abs(difference).mean()))
    assert errors[1] > 3 * errors[0]


def test_a_frame_that_was_dark_adds_to_the_noise(make_clip: Callable[..., Any]) -> None:
    still = make_clip([np.zeros((2, 224, 224), np.float32)] * FRAMES)
    dark = np.where(TIME > 0.6, 0.5, 1.0)  # after the apex, so that only the offset is in the dark
    clip = lit(still, everywhere(dark))
    change = light_change(clip)
    assert change is not None
    meter = MotionMeter(change.even(clip), USUAL)
    bright, half = Interval(0, 5, 10), Interval(0, 5, FRAMES - 1)
    assert (meter.light_floor(clip, change, half) > meter.light_floor(clip, change, bright)).all()
