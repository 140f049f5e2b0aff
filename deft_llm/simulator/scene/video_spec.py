"""The recipe of one long simulated video: a face at rest, and all that happens to it.

Frames count from 0 and intervals are inclusive; times are seconds, angles radians.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Expression, Interval
from deft_llm.files import digest
from deft_llm.simulator.render.lighting import LIGHTS
from deft_llm.simulator.scene.clip_spec import DATASET, ClipSpec
from deft_llm.simulator.scene.life import Dragged
from deft_llm.simulator.scene.performance import Blink, Curve, HeadMotion, HeadTurn

Floats = NDArray[np.float32]
MICRO, MACRO = "micro", "macro"


@dataclass(frozen=True)
class ShownExpression:
    """One expression of a long video.

    Attributes:
        kind: Micro or macro.
        emotion: One of ``facs.EMOTIONS``.
        aus: AU codes, as in ``ClipSpec``.
        amplitudes: For each AU its share of the peak displacement.
        asymmetry: For each AU the excess of the subject's left.
        peak_px: Largest displacement of skin, px of the canonical face.
        curve: The expression over time; its interval is the coding.
        dragged: As in ``ClipSpec``.
    """

    kind: Literal["micro", "macro"]
    emotion: str | None
    aus: tuple[str, ...]
    amplitudes: tuple[float, ...]
    asymmetry: tuple[float, ...]
    peak_px: float
    curve: Curve
    dragged: tuple[Dragged, ...] = ()

    @property
    def coded(self) -> Expression:
        """The coding."""
        return Expression(self.curve.interval, self.emotion)

    @property
    def interval(self) -> Interval:
        """Onset, apex and offset."""
        return self.curve.interval


@dataclass(frozen=True)
class HeadPath(HeadMotion):
    """Drift and tremor of a head that also turns.

    Attributes:
        turns: Turns; one and its opposite make the head come back.
    """

    turns: tuple[HeadTurn, ...] = ()

    def values(
        self,
        times: NDArray[np.float64],
        px_per_cm: float,
        nod: NDArray[np.float64] | float = 0.0,
        turned: NDArray[np.float64] | float = 0.0,
    ) -> tuple[Floats, Floats]:
        """See the base."""
        shares = (turn.share(times)[:, None] * np.array(turn.angles) for turn in self.turns)
        return super().values(times, px_per_cm, nod, sum(shares, turned + np.zeros(3)))


@dataclass(frozen=True)
class LightEvent:
    """A change of the light in a part of a video.

    Attributes:
        kind: A key of ``LIGHTS``, one that ends as it begins.
        strength: Largest relative change.
        start: Seconds.
        duration: Seconds.
    """

    kind: str
    strength: float
    start: float
    duration: float

    def cast(self, frame: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        """The frame (H, W, 3) of a time under this light; what gets too bright is clipped."""
        share = (seconds - self.start) / self.duration
        if not 0 < share < 1:
            return frame
        height, width = frame.shape[:2]
        y, x = np.mgrid[:height, :width]
        gain = np.asarray(LIGHTS[self.kind](share, x / width, y / height, self.strength))
        return np.clip(np.rint(frame * gain[..., None]), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class VideoSpec:
    """Everything that determines the frames of a long video.

    Attributes:
        rest: The face, camera, light, pose, and the movements that are not coded (speech,
            swallowing): a clip without expression, blink or saccade, as long as the video.
        expressions: Micro- and macro-expressions in order of time; they may touch, not overlap.
        blinks: The blinks.
        fixations: Time of a saccade, and (yaw, pitch) of the gaze from there on; the first at 0.
        lights: Changes of the light.
    """

    rest: ClipSpec
    expressions: tuple[ShownExpression, ...]
    blinks: tuple[Blink, ...]
    fixations: tuple[tuple[float, float, float], ...]
    lights: tuple[LightEvent, ...]

    @cached_property
    def name(self) -> str:
        """Equal for equal recipes alone, as of clips."""
        parts = (self.expressions, self.blinks, self.fixations, self.lights)
        text = json.dumps(parts, default=asdict)
        return f"{DATASET}-video-{digest(self.rest.to_json(), text)[:8]}-{self.rest.seed}"

    @property
    def subject(self) -> str:
        """Head and identity."""
        return self.rest.subject

    @property
    def frames(self) -> int:
        """Length of the video."""
        return self.rest.curve.frames

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self.frames / self.rest.fps

    @property
    def speaks(self) -> bool:
        """Whether some of the video shows speech."""
        return any(movement.kind == "speech" for movement in self.rest.movements)

    def of_kind(self, kind: str) -> tuple[ShownExpression, ...]:
        """The micro- or the macro-expressions."""
        return tuple(shown for shown in self.expressions if shown.kind == kind)
