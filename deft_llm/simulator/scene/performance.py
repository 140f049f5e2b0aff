"""Motion over time: an expression, a blink, a gaze shift, the drift and a turn of the head.

Every curve depends only on its few drawn parameters and the frame times. Times are in seconds,
angles in radians, lengths in pixels of the canonical face (interocular distance 80 px).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval

Floats = NDArray[np.float32]
_LEVER_CM = 8.5  # from the eyes to the head's origin, about which it rotates


@dataclass(frozen=True)
class Curve:
    """One expression in a clip.

    It may begin before the clip or end after it: then the clip is cut off.

    Attributes:
        frames: Length of the clip.
        onset: Last neutral frame; below 0 if the clip begins within the onset phase.
        apex: First frame of the full expression.
        offset: First frame that is neutral again; ``frames`` or more if the clip ends before it.
        onset_skew: Skew of the onset phase; below 1 is a fast start.
        offset_skew: Skew of the offset phase.
        hold: Frames after the apex in which the expression stays full.
        repeats: Peaks of the further pulses, 0..1 of the first one, which is the one that is coded.
        gap: Neutral frames between two pulses.
    """

    frames: int
    onset: int
    apex: int
    offset: int
    onset_skew: float
    offset_skew: float
    hold: int = 0
    repeats: tuple[float, ...] = ()
    gap: int = 0

    @property
    def interval(self) -> Interval:
        """Onset, apex and offset as an annotation has them: inside the clip."""
        return Interval(max(self.onset, 0), self.apex, min(self.offset, self.frames - 1))

    @property
    def cut(self) -> bool:
        """Whether the first or the last frame of the clip lies within the expression."""
        return self.onset < 0 or self.offset >= self.frames

    def values(self) -> Floats:
        """Activation in 0..1 at each frame, shape (T,): 0 outside, 1 from the apex to the hold."""
        t = np.arange(self.frames, dtype=np.float64)
        level = self._pulse(t)
        for k, peak in enumerate(self.repeats, 1):
            later = t - k * (self.offset - self.onset + self.gap)
            level = np.maximum(level, peak * self._pulse(later))
        return level.astype(np.float32)

    def _pulse(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        up = np.clip((t - self.onset) / (self.apex - self.onset), 0, 1)
        down = np.clip((self.offset - t) / (self.offset - self.apex - self.hold), 0, 1)
        # Raised cosine: it starts and ends without a jump in velocity.
        phase = np.where(t <= self.apex, up**self.onset_skew, down**self.offset_skew)
        pulse: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * phase)
        return pulse


@dataclass(frozen=True)
class Blink:
    """One blink: the eyes close in the first third of its duration and open in the rest.

    Attributes:
        start: Seconds.
        duration: Seconds.
        depth: Peak closure of the (subject's right, left) eye, 0..1.
    """

    start: float
    duration: float
    depth: tuple[float, float]

    def values(self, times: NDArray[np.float64]) -> Floats:
        """Closure (T, 2) of the subject's right and left eye."""
        phase = np.clip((times - self.start) / self.duration, 0, 1)
        closing = np.where(phase < 1 / 3, 3 * phase, 1.5 * (1 - phase))
        smooth = closing * closing * (3 - 2 * closing)
        return (smooth[:, None] * np.array(self.depth)).astype(np.float32)


@dataclass(frozen=True)
class Gaze:
    """A fixation, optionally followed by one saccade to another.

    Attributes:
        first: (yaw, pitch) before the saccade, rad: positive yaw looks to the subject's left,
            positive pitch up, where a head's pitch is positive down.
        second: (yaw, pitch) after it; equal to ``first`` without a saccade.
        start: Seconds.
        duration: Seconds.
    """

    first: tuple[float, float]
    second: tuple[float, float]
    start: float
    duration: float

    def values(self, times: NDArray[np.float64]) -> Floats:
        """(yaw, pitch) at each time, (T, 2)."""
        phase = np.clip((times - self.start) / self.duration, 0, 1)[:, None]
        smooth = phase * phase * (3 - 2 * phase)
        first, second = np.array(self.first), np.array(self.second)
        return (first + (second - first) * smooth).astype(np.float32)


@dataclass(frozen=True)
class HeadMotion:
    """A resting pose, slow drift and a faint tremor.

    Attributes:
        rest: (yaw, pitch, roll) of the head, rad: positive yaw turns the face to the subject's
            left (image right), positive pitch down, positive roll anticlockwise in the image.
        drift: Largest displacement of the face from its position at time 0, px.
        turn: Share of the drift that comes from rotation rather than translation, 0..1.
        tremor: Amplitude of the tremor, px.
        seed: Seed of the harmonics.
    """

    rest: tuple[float, float, float]
    drift: float
    turn: float
    tremor: float
    seed: int

    def values(
        self,
        times: NDArray[np.float64],
        px_per_cm: float,
        nod: NDArray[np.float64] | float = 0.0,
        turned: NDArray[np.float64] | float = 0.0,
    ) -> tuple[Floats, Floats]:
        """The pose over time.

        Args:
            times: Seconds, (T,).
            px_per_cm: Canonical pixels in one cm of this head.
            nod: Additional forward bend of the head, (T,) rad.
            turned: Additional (yaw, pitch, roll), (T, 3) rad.

        Returns:
            Rotations (T, 3, 3) and translations (T, 3) in cm.
        """
        rng = np.random.default_rng(self.seed)
        moving = _wander(rng, times, 3, (0.2, 1.5))
        turning = _wander(rng, times, 3, (0.2, 1.5))
        # Little drift in depth, which would show as a change of size.
        shift = moving * (1 - self.turn) * [1, 1, 0.3]
        angles = turning * self.turn / _LEVER_CM
        # Positive yaw moves the face to image right, positive pitch moves it down.
        total = shift[:, :2] + _LEVER_CM * angles[:, :2] * [1, -1]
        reach = np.linalg.norm(total, axis=1).max(initial=1e-9)
        scale = self.drift / px_per_cm / reach
        shift, angles = shift * scale, angles * scale
        # After the scaling: nod, turn and tremor are not part of the drift.
        angles[:, 1] += nod
        shift[:, :2] += self.tremor / px_per_cm * _wander(rng, times, 2, (4.0, 9.0))
        return _rotations(angles + self.rest + turned), shift.astype(np.float32)


@dataclass(frozen=True)
class HeadTurn:
    """One smooth turn of the head, in addition to its drift.

    Attributes:
        angles: (yaw, pitch, roll) by which it turns, rad.
        start: Seconds; may lie before the clip.
        duration: Seconds.
    """

    angles: tuple[float, float, float]
    start: float
    duration: float

    def share(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the turn that is done at each time, (T,) in 0..1."""
        phase = np.clip((times - self.start) / self.duration, 0, 1)
        done: NDArray[np.float64] = phase * phase * (3 - 2 * phase)
        return done


def _wander(
    rng: np.random.Generator, times: NDArray[np.float64], axes: int, band: tuple[float, float]
) -> NDArray[np.float64]:
    """Smooth random paths (T, axes) that start at 0: three harmonics in a band of Hz."""
    hz = rng.uniform(*band, (3, axes))
    phase = rng.uniform(0, 2 * np.pi, (3, axes))
    weight = rng.normal(0, 1 / math.sqrt(3), (3, axes))
    # Subtracting the value at time 0 makes every path start at 0.
    waves = np.sin(2 * np.pi * hz * times[:, None, None] + phase) - np.sin(phase)
    path: NDArray[np.float64] = (weight * waves).sum(axis=1)
    return path


def _rotations(angles: NDArray[np.float64]) -> Floats:
    """(T, 3) yaw about y, pitch about x, roll about z to matrices (T, 3, 3)."""
    cos, sin = np.cos(angles), np.sin(angles)
    one, nil = np.ones(len(angles)), np.zeros(len(angles))

    def matrix(*rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(rows, axis=1).reshape(-1, 3, 3)

    yaw = matrix(cos[:, 0], nil, sin[:, 0], nil, one, nil, -sin[:, 0], nil, cos[:, 0])
    pitch = matrix(one, nil, nil, nil, cos[:, 1], -sin[:, 1], nil, sin[:, 1], cos[:, 1])
    roll = matrix(cos[:, 2], -sin[:, 2], nil, sin[:, 2], cos[:, 2], nil, nil, nil, one)
    return (yaw @ pitch @ roll).astype(np.float32)


def draw_duration(
    rng: np.random.Generator, quantiles: list[float], bounds: tuple[float, float]
) -> float:
    """Draw a phase duration by linear interpolation of its 5, 25, 50, 75 and 95 % quantiles.

    Args:
        rng: Source of randomness.
        quantiles: Seconds at the five levels.
        bounds: The duration is clipped to these, seconds.

    Returns:
        Seconds.
    """
    drawn = np.interp(rng.random(), [0.05, 0.25, 0.5, 0.75, 0.95], quantiles)
    return float(np.clip(drawn, *bounds))


def draw_blink(rng: np.random.Generator, seconds: float) -> Blink:
    """A blink of 0.1 to 0.3 s that begins somewhere in a clip of this length."""
    depth = rng.uniform(0.7, 1.0)
    uneven = rng.uniform(0.93, 1.0)
    # Which eye closes less is a coin flip.
    depths = (depth, depth * uneven) if rng.random() < 0.5 else (depth * uneven, depth)
    return Blink(
        start=float(rng.uniform(0, max(seconds - 0.1, 0.05))),
        duration=float(rng.uniform(0.1, 0.3)),
        depth=(float(depths[0]), float(depths[1])),
    )


def draw_gaze(rng: np.random.Generator, seconds: float, shifts: bool) -> Gaze:
    """A fixation near the camera, with a saccade of 2 to 9 degrees if ``shifts``."""
    first = np.radians(rng.normal(0, 2.5, 2))
    second = first
    if shifts:
        angle, size = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(2, 9))
        # Vertical saccades are drawn smaller than horizontal ones.
        second = first + size * np.array([np.cos(angle), 0.7 * np.sin(angle)])
    return Gaze(
        first=(float(first[0]), float(first[1])),
        second=(float(second[0]), float(second[1])),
        start=float(rng.uniform(0.02, max(seconds - 0.06, 0.03))),
        duration=float(rng.uniform(0.02, 0.05)),
    )


def draw_head_motion(rng: np.random.Generator) -> HeadMotion:
    """A head that is frontal within a few degrees and drifts by 0.5 to 3 px."""
    yaw, pitch, roll = np.radians(rng.normal(0, [3.0, 2.5, 1.5]).clip(-8, 8))
    return HeadMotion(
        rest=(float(yaw), float(pitch), float(roll)),
        drift=float(rng.uniform(0.5, 3.0)),
        turn=float(rng.uniform(0.0, 0.4)),
        tremor=float(rng.uniform(0.01, 0.05)),
        seed=int(rng.integers(1 << 31)),
    )
