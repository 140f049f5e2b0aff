"""How a simulated eye moves: fixations, saccades, pursuit, reading, blinks; sampled each 1 ms.

Durations of saccades follow their main sequence (Bahill et al. 1975: 2.2 ms a degree and 21 ms);
the five activities are those of the 3ET+ recordings. All distributions are our own choice.

T milliseconds. Positions are pixels of a 640 x 480 sensor, relative to the eye's centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ACTIVITIES = ("random", "saccade", "reading", "pursuit", "blink")
_PX_PER_DEGREE = 5.5
_PEAK = 2.0 * _PX_PER_DEGREE  # px that an eye sinks while it is closed


@dataclass(frozen=True)
class EyeMotion:
    """Motion of one eye.

    Attributes:
        gaze: (T, 2) pupil centre relative to the eye's centre, px.
        head: (T, 2) motion of the whole eye, lids and all, px.
        closure: (T,) 0 open to 1 closed.
        pupil: (T,) radius of the pupil over its mean.
        saccades: (K, 2) first and last ms of each saccade.
        blinks: (K, 2) first and last ms of each blink.
    """

    gaze: Floats
    head: Floats
    closure: Floats
    pupil: Floats
    saccades: NDArray[np.int64]
    blinks: NDArray[np.int64]


def move_eye(
    rng: np.random.Generator,
    seconds: float,
    reach: tuple[float, float],
    activity: str,
    blink_rate: float,
    sway: float,
) -> EyeMotion:
    """Draw a motion.

    Args:
        rng: Source of all chance.
        seconds: Length.
        reach: Furthest gaze to a side, and up or down, px.
        activity: One of ``ACTIVITIES``.
        blink_rate: Blinks a second.
        sway: SD of the motion of the whole eye, px.
    """
    count = round(1000 * seconds)
    gaze, saccades = _gaze(rng, count, np.array(reach), activity)
    closure, blinks = _blinks(rng, count, blink_rate)
    # A closing eye sinks and turns to the nose, and comes back.
    gaze = gaze + closure[:, None] * np.array([rng.uniform(-0.5, 0.5), rng.uniform(0.2, 1)]) * _PEAK
    slow = _noise(rng, count, 0.8)
    return EyeMotion(
        gaze=gaze,
        head=sway * np.stack([_noise(rng, count, 2.0), _noise(rng, count, 2.0)], axis=1),
        closure=closure,
        pupil=1 + 0.05 * slow,
        saccades=np.array(saccades, np.int64).reshape(-1, 2),
        blinks=np.array(blinks, np.int64).reshape(-1, 2),
    )


def _noise(rng: np.random.Generator, count: int, hertz: float) -> Floats:
    """Smooth noise (count,) with SD about 1 and no motion faster than a few times ``hertz``."""
    knots = rng.normal(0, 1, int(count / 1000 * 2 * hertz) + 4)
    at = np.arange(count) / 1000 * 2 * hertz
    k, f = at.astype(int), at % 1.0
    # Cubic B-spline: its second derivative is continuous, as that of a mass is.
    weights = (
        (1 - f) ** 3,
        3 * f**3 - 6 * f**2 + 4,
        -3 * f**3 + 3 * f**2 + 3 * f + 1,
        f**3,
    )
    # 6: the sum of the weights. The spline, a mean of four knots, keeps 0.69 of their SD of 1.
    return np.sum([w * knots[k + j] for j, w in enumerate(weights)], axis=0) / 6 / 0.69


def _gaze(
    rng: np.random.Generator, count: int, reach: Floats, activity: str
) -> tuple[Floats, list[tuple[int, int]]]:
    """Gaze (count, 2), and the saccades in it."""
    place = rng.uniform(-0.6, 0.6, 2) * reach
    path, saccades, at = np.empty((count, 2)), [], 0
    line = 0.0
    while at < count:
        if activity == "pursuit" and rng.random() < 0.7:
            part = _pursuit(rng, place, reach)
        else:
            part = _fixation(rng, place, activity)
        end = min(at + len(part), count)
        path[at:end] = part[: end - at]
        at, place = end, part[-1]
        if at >= count:
            break
        target, line = _target(rng, place, reach, activity, line)
        part = _saccade(rng, place, target)
        end = min(at + len(part), count)
        path[at:end] = part[: end - at]
        saccades.append((at, end - 1))
        at, place = end, part[-1]
    return path, saccades


def _fixation(rng: np.random.Generator, place: Floats, activity: str) -> Floats:
    """Slow drift and, now and then, a microsaccade."""
    longest = {"reading": 0.35, "blink": 2.0, "saccade": 1.2}.get(activity, 0.9)
    count = round(1000 * rng.uniform(0.15, longest))
    # A random walk of 1 ms steps that is a quarter of a degree away after a second.
    step = rng.normal(0, 0.25 * _PX_PER_DEGREE / np.sqrt(1000), (count, 2))
    path = place + np.cumsum(step, axis=0)
    for start in np.flatnonzero(rng.random(count) < 1e-3):
        jump = rng.normal(0, 0.25 * _PX_PER_DEGREE, 2)
        ramp = np.clip((np.arange(count) - start) / 20, 0, 1)[:, None]
        path = path + jump * ramp
    return path


def _pursuit(rng: np.random.Generator, place: Floats, reach: Floats) -> Floats:
    """Along an arc, at up to 30 degrees a second."""
    count = round(1000 * rng.uniform(0.6, 2.0))
    target = rng.uniform(-0.9, 0.9, 2) * reach
    speed = rng.uniform(8, 30) * _PX_PER_DEGREE / 1000
    count = max(count, int(np.linalg.norm(target - place) / speed))
    s = np.linspace(0, 1, count)
    bend = rng.normal(0, 0.15, 2) * reach
    return place + s[:, None] * (target - place) + np.sin(np.pi * s)[:, None] * bend


def _target(
    rng: np.random.Generator, place: Floats, reach: Floats, activity: str, line: float
) -> tuple[Floats, float]:
    """Where the next saccade goes, and the line of text that is read."""
    if activity == "reading":
        if place[0] < 0.55 * reach[0]:
            step = np.array([rng.uniform(0.12, 0.3) * reach[0], rng.normal(0, 1.0)])
            return place + step, line
        line = (line + 0.18) % 1.2
        return np.array([-0.6, line - 0.6]) * reach + rng.normal(0, 2, 2), line
    if activity == "saccade":
        side = -np.sign(place[0]) if rng.random() < 0.7 else np.sign(place[0])
        return np.array([side * rng.uniform(0.4, 1.0), rng.uniform(-0.8, 0.8)]) * reach, line
    return rng.uniform(-0.9, 0.9, 2) * reach, line


def _saccade(rng: np.random.Generator, start: Floats, stop: Floats) -> Floats:
    """Minimum-jerk, slightly bent."""
    far = float(np.linalg.norm(stop - start))
    count = max(12, round(21 + 2.2 * far / _PX_PER_DEGREE))
    s = np.arange(1, count + 1) / count
    along = 10 * s**3 - 15 * s**4 + 6 * s**5
    across = np.array([start[1] - stop[1], stop[0] - start[0]]) * rng.normal(0, 0.03)
    return start + along[:, None] * (stop - start) + np.sin(np.pi * along)[:, None] * across


def _blinks(
    rng: np.random.Generator, count: int, rate: float
) -> tuple[Floats, list[tuple[int, int]]]:
    """Closure (count,), and the blinks in it."""
    closure, found = np.zeros(count), []
    at = int(1000 * rng.exponential(1 / rate)) if rate > 0 else count
    while at < count:
        close, hold, reopen = rng.integers(70, 120), rng.integers(10, 60), rng.integers(120, 220)
        depth = rng.uniform(0.88, 1.0)
        down = 0.5 - 0.5 * np.cos(np.pi * np.arange(close) / close)
        up = 0.5 + 0.5 * np.cos(np.pi * np.arange(reopen) / reopen)
        shape = depth * np.concatenate([down, np.ones(hold), up])
        end = min(at + len(shape), count)
        closure[at:end] = shape[: end - at]
        found.append((at, end - 1))
        at = end + 150 + int(1000 * rng.exponential(1 / rate))
    return closure, found
