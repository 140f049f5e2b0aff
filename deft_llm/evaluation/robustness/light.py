"""Twelve changes of light on rendered still faces: none of them may read as an expression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deft_llm.clip import Clip
from deft_llm.media.video import decode_bytes, encode_h264
from deft_llm.simulator.render.lighting import LIGHTS, LightChange
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.clips import SimulatedClip

_CRF = 18


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
    shown = LightChange(kind, strength).cast(frames) if kind in LIGHTS else frames
    return decode_bytes(
        encode_h264(shown, simulated.spec.fps, _CRF), f"{kind} {simulated.spec.name}"
    )
