"""Twelve changes of light on rendered still faces: none of them may read as an expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from deft_llm.clip import Clip
from deft_llm.media.video import decode_bytes, encode_h264
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.clips import SimulatedClip

Course = Callable[[Any, Any, Any, float], Any]
_CRF = 18


def _bump(t: Any, middle: float, width: float) -> Any:
    return np.exp(-(((t - middle) / width) ** 2))


def _edge(t: Any, x: Any, y: Any, softness: float) -> Any:
    # A slanted border that crosses the frame once, from outside to outside.
    return 1 / (1 + np.exp((x + 0.2 * y - 1.4 * t + 0.2) / softness))


# Gain of the light at time t (T, 1, 1) of 0 to 1, and place x, y (H, W) of 0 to 1; s: its strength.
LIGHTS: dict[str, Course] = {
    "ramp up": lambda t, x, y, s: 1 + s * t,
    "ramp down": lambda t, x, y, s: 1 - s * t,
    "step up": lambda t, x, y, s: 1 + s * (t > 0.5),
    "step down": lambda t, x, y, s: 1 - s * (t > 0.5),
    "flash": lambda t, x, y, s: 1 + s * _bump(t, 0.5, 0.08),
    "dip": lambda t, x, y, s: 1 - s * _bump(t, 0.5, 0.08),
    "flicker": lambda t, x, y, s: 1 + s / 2 * np.sin(2 * np.pi * 9 * t),
    "on and off": lambda t, x, y, s: 1 + s * ((t > 0.35) & (t < 0.65)),
    "lamp on one side": lambda t, x, y, s: 1 + s * _bump(t, 0.5, 0.15) * (1 - x),
    "lamp from above": lambda t, x, y, s: 1 + s * t * (1 - y),
    "soft shadow": lambda t, x, y, s: 1 - s * _bump(x - 1.4 * t, -0.2, 0.15),
    "hard shadow": lambda t, x, y, s: 1 - s * _edge(t, x, y, 0.02),
}


def still_specs(faces: int, first_identity: int, seed: int, head: str) -> Iterator[ClipSpec]:
    """Faces that do nothing: no AU, no blink, a fixed gaze; head and camera as in other clips."""
    for i in range(faces):
        spec = draw_spec(seed + i, first_identity + i, emotion=None, aus=(), blink=None, head=head)
        yield replace(spec, gaze=replace(spec.gaze, second=spec.gaze.first))


def lit(simulated: SimulatedClip, kind: str, strength: float) -> Clip:
    """A rendered clip under a changing light, through H.264.

    Args:
        simulated: The clip.
        kind: A key of ``LIGHTS``; anything else leaves the light as it is.
        strength: Largest relative change.
    """
    frames = simulated.clip.frames
    count, height, width, _ = frames.shape
    y, x = np.mgrid[:height, :width]
    t = np.linspace(0, 1, count)[:, None, None]
    gain = LIGHTS[kind](t, x / width, y / height, strength) if kind in LIGHTS else np.ones_like(t)
    shown = np.clip(np.rint(frames * gain[..., None]), 0, 255).astype(np.uint8)
    return decode_bytes(
        encode_h264(shown, simulated.spec.fps, _CRF), f"{kind} {simulated.spec.name}"
    )
