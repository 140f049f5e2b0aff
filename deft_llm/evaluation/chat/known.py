"""What is known of a simulated clip: exact motion, AUs, emotion, times, blink and head.

Between what clearly moved and what clearly did not lies motion that nobody could call right or
wrong; nothing is judged by it. R regions are those of ``facs.REGIONS``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.data.simulated import true_motion
from deft_llm.media.canonical import CANONICAL_LANDMARKS, fit_similarity
from deft_llm.simulator.scene.clips import SimulatedClip

#: Canonical px from onset to apex above which a region moved, and below which it stayed still.
MOVED_PX, STILL_PX = 0.3, 0.06
#: Closure of the eyes above which it is a blink, and below which it is none.
_SHUT, _OPEN = 0.6, 0.1
# Bridge of the nose and corners of the eyes: iBUG landmarks that no AU moves far.
_HEAD = (27, 28, 29, 36, 39, 42, 45)
REGIONS: tuple[str, ...] = tuple(facs.REGIONS)
State = Literal["moved", "still", "unsure"]


@dataclass(frozen=True)
class Known:
    """The truth about one clip.

    Attributes:
        clip: Its name.
        motion: (R, 2) exact motion (u, v) of the regions from onset to apex, without the head's.
        aus: AU codes.
        emotion: One of ``facs.EMOTIONS``, or None.
        times: "onset", "apex" and "offset" in seconds; empty without an expression.
        blink: Whether the eyes blink; None if they half do.
        head: Largest displacement of the head from the first frame, canonical px.
        fps: Frames per second.
        frames: Number of frames.
    """

    clip: str
    motion: tuple[tuple[float, float], ...]
    aus: tuple[str, ...]
    emotion: str | None
    times: dict[str, float]
    blink: bool | None
    head: float
    fps: float
    frames: int

    def px(self, region: str) -> float:
        """How far a region moved, px."""
        u, v = self.motion[REGIONS.index(region)]
        return float(np.hypot(u, v))

    def state(self, region: str) -> State:
        """Whether a region moved; lids of a clip with a blink are unsure unless they moved."""
        far = self.px(region)
        if far >= MOVED_PX:
            return "moved"
        if far > STILL_PX or (region.endswith("lid") and self.blink is not False):
            return "unsure"
        return "still"

    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / self.fps

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Known:
        """From a row that ``to_json`` made."""
        motion = tuple((float(u), float(v)) for u, v in row["motion"])
        return cls(**{**row, "motion": motion, "aus": tuple(row["aus"])})


def known_of(simulated: SimulatedClip) -> Known:
    """The truth about a rendered clip."""
    spec = simulated.spec
    interval = spec.curve.interval
    moments = {"onset": interval.onset, "apex": interval.apex, "offset": interval.offset}
    motion = true_motion(simulated).round(4).tolist()
    return Known(
        clip=spec.name,
        motion=tuple((u, v) for u, v in motion),
        aus=spec.aus,
        emotion=spec.emotion,
        times={name: frame / spec.fps for name, frame in moments.items()} if spec.aus else {},
        blink=_blinks(simulated),
        head=round(_head_motion(simulated.landmarks), 3),
        fps=spec.fps,
        frames=spec.curve.frames,
    )


def _blinks(simulated: SimulatedClip) -> bool | None:
    spec = simulated.spec
    if spec.blink is None:
        return False
    closed = spec.blink.values(np.arange(spec.curve.frames) / spec.fps).min(axis=1).max()
    return True if closed >= _SHUT else False if closed <= _OPEN else None


def _head_motion(landmarks: NDArray[np.float32]) -> float:
    matrix = fit_similarity(landmarks[0].astype(np.float64), CANONICAL_LANDMARKS)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    path = landmarks[:, _HEAD].mean(axis=1)
    return scale * float(np.linalg.norm(path - path[0], axis=1).max())
