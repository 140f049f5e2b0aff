"""Simulated recordings of one eye by an event camera, with the exact place of the pupil.

Drawn are a pupil, an iris with texture, two lids with lashes, glints, and skin under infrared
light, as in the recordings of 3ET+ (640 x 480 pixels, dark pupil); they move as
``simulator.eye_motion`` says. Each pixel fires when the log of its light has changed by its own
threshold; noise, a leak and hot pixels are added. All distributions are our own choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.media.events import DVXPLORER, Events
from deft_llm.simulator.eye_kernels import fire, light
from deft_llm.simulator.eye_looks import LASH_ROWS, EyeLook, draw_eye
from deft_llm.simulator.eye_motion import ACTIVITIES, EyeMotion, move_eye

Floats = NDArray[np.float64]
PERIOD = 10_000
"""µs between two labels: 100 a second, as in 3ET+."""
_MOVED, _LONGEST = 0.7, 12  # px and ms after which the picture is drawn again
_COVERED = 0.7  # share of the pupil's height under the lids from which the eye counts as closed


@dataclass(frozen=True)
class EyeSpec:
    """Recipe of one recording; everything else follows from its seed.

    Attributes:
        seed: Seed of the motion and of the noise.
        eye: Seed of the person's eye, camera and light.
        seconds: Length.
        activity: One of ``ACTIVITIES``; "" draws one.
    """

    seed: int
    eye: int
    seconds: float = 8.0
    activity: str = ""


@dataclass(frozen=True)
class EyeRecording:
    """Events of one eye and what is true.

    Attributes:
        spec: Its recipe.
        activity: What the eye does.
        events: The events, from time 0.
        times: (T,) µs of the labels, 10,000 apart; the first is 10,000.
        pupil: (T, 2) centre of the pupil, px of the sensor; while it is covered as well.
        closed: (T,) whether the lids cover most of the pupil.
        saccades: (K, 2) first and last µs of each saccade.
        blinks: (K, 2) first and last µs of each blink.
    """

    spec: EyeSpec
    activity: str
    events: Events
    times: NDArray[np.int64]
    pupil: Floats
    closed: NDArray[np.bool_]
    saccades: NDArray[np.int64]
    blinks: NDArray[np.int64]

    def during(self, spans: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which labels (T,) lie in one of the spans (K, 2), µs."""
        inside = np.zeros(len(self.times), bool)
        for first, last in spans:
            inside |= (self.times >= first) & (self.times <= last)
        return inside


def simulate_eye(spec: EyeSpec) -> EyeRecording:
    """Simulate one recording; the same spec gives the same events on every machine.

    Args:
        spec: The recipe.
    """
    eye = draw_eye(np.random.default_rng([spec.eye, 41]))
    rng = np.random.default_rng([spec.seed, 42])
    drawn = ACTIVITIES[int(rng.integers(len(ACTIVITIES)))]
    activity = spec.activity or drawn
    rate = 0.6 if activity == "blink" else rng.uniform(0.1, 0.35)
    motion = move_eye(rng, spec.seconds, eye.reach, activity, rate, eye.sway)
    clean = _filmed(eye, motion)
    events = _with_noise(clean, eye, rng, round(1e6 * spec.seconds))
    ms = np.arange(PERIOD // 1000, len(motion.gaze) + 1, PERIOD // 1000)
    at = np.minimum(ms, len(motion.gaze) - 1)
    return EyeRecording(
        spec=spec,
        activity=activity,
        events=events,
        times=ms.astype(np.int64) * 1000,
        pupil=(eye.centre + motion.head + motion.gaze)[at],
        closed=_covered(eye, motion)[at],
        saccades=motion.saccades * 1000,
        blinks=motion.blinks * 1000,
    )


def _covered(eye: EyeLook, motion: EyeMotion) -> NDArray[np.bool_]:
    """Whether the lids cover most of the pupil, (T ms,)."""
    lids = _lids(eye, motion)
    place = eye.centre + motion.head + motion.gaze
    arch = 1 - ((place[:, 0] - lids[:, 0]) / lids[:, 2]) ** 2
    low, high = lids[:, 1] + lids[:, 4] * arch, lids[:, 1] - lids[:, 3] * arch
    shut = high + lids[:, 5] * (low - high)
    radius = eye.pupil * motion.pupil
    seen = np.minimum(low, place[:, 1] + radius) - np.maximum(shut, place[:, 1] - radius)
    return np.asarray(seen < (1 - _COVERED) * 2 * radius)


def _lids(eye: EyeLook, motion: EyeMotion) -> Floats:
    """The kernel's ``lids`` at every ms, (T, 6)."""
    count = len(motion.gaze)
    lids = np.empty((count, 6))
    lids[:, :2] = eye.centre + motion.head
    lids[:, 2] = eye.opening[0]
    # The upper lid follows the gaze up and down.
    lids[:, 3] = np.maximum(eye.opening[1] - 0.5 * motion.gaze[:, 1], 4.0)
    lids[:, 4] = eye.opening[2]
    lids[:, 5] = motion.closure
    return lids


def _filmed(eye: EyeLook, motion: EyeMotion) -> Events:
    """Events of the moving eye alone."""
    lids = _lids(eye, motion)
    place = eye.centre + motion.head + motion.gaze
    radius = eye.pupil * motion.pupil
    # A turned eye shows its pupil as an ellipse: cosines of the angles whose sines are the gaze
    # over the radius about which the pupil turns, 3.2 of the iris (our own choice).
    flat = np.sqrt(1 - np.minimum((motion.gaze / (3.2 * eye.iris)) ** 2, 0.6))
    eyes = np.concatenate([place, radius[:, None] * flat, np.full((len(place), 1), eye.iris)], 1)
    box = _box(eye)
    drawn = [np.empty((box[3] - box[1], box[2] - box[0]), np.float32) for _ in range(2)]
    memory = np.zeros(eye.skin.shape, np.float32)
    room = drawn[0].size * 2
    columns = [np.empty(room, kind) for kind in (np.int64, np.int16, np.int16, np.uint8)]
    parts: list[list[NDArray]] = [[], [], [], []]
    last = 0
    for number, ms in enumerate(_moments(eye, motion, lids, place)):
        glints = eye.glints.copy()
        # A glint sits on the cornea and follows the gaze by a third.
        glints[:, :2] += eye.centre + motion.head[ms] + 0.35 * motion.gaze[ms]
        now, before = drawn[number % 2], drawn[1 - number % 2]
        values = (eyes[ms], lids[ms], eye.levels, eye.texture, eye.lashes, eye.skin, glints)
        light(now, (box[0], box[1]), *(np.asarray(v, np.float32) for v in values))
        if not number:
            memory[box[1] : box[3], box[0] : box[2]] = now
            continue
        found = fire(
            before, now, memory, eye.rise, eye.fall, (box[0], box[1]), last * 1000, ms * 1000,
            *columns,
        )  # fmt: skip
        for part, column in zip(parts, columns, strict=True):
            part.append(column[: min(found, room)].copy())
        last = ms
    return Events(*(np.concatenate(part) for part in parts))


def _box(eye: EyeLook) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what moves, px."""
    far = np.array([eye.opening[0] + 8, eye.opening[1] + 0.5 * eye.reach[1] + 12])
    low = np.maximum(eye.centre - far, 0).astype(int)
    below = eye.opening[2] + LASH_ROWS + 8
    right = int(min(eye.centre[0] + far[0], DVXPLORER[0]))
    return int(low[0]), int(low[1]), right, int(min(eye.centre[1] + below, DVXPLORER[1]))


def _moments(eye: EyeLook, motion: EyeMotion, lids: Floats, place: Floats) -> list[int]:
    """The ms at which the picture is drawn: more often while something moves fast."""
    height = eye.opening[1] + eye.opening[2]
    speed = np.abs(np.diff(place, axis=0)).max(axis=1)
    speed = np.maximum(speed, height * np.abs(np.diff(lids[:, 5])))
    speed = np.maximum(speed, eye.pupil * np.abs(np.diff(motion.pupil)))
    moved, waited, moments = 0.0, 0, [0]
    for ms, step in enumerate(speed, 1):
        moved, waited = moved + float(step), waited + 1
        if moved >= _MOVED or waited >= _LONGEST:
            moments.append(ms)
            moved, waited = 0.0, 0
    return moments


def _with_noise(clean: Events, eye: EyeLook, rng: np.random.Generator, length: int) -> Events:
    """Add noise of all pixels and of the hot ones, and sort by time."""
    width, height = DVXPLORER
    count = rng.poisson(eye.background * width * height * length / 1e6)
    places = [rng.integers(0, width, count), rng.integers(0, height, count)]
    fires = rng.poisson(eye.hot[:, 2] * length / 1e6)
    hot = np.repeat(eye.hot[:, :2].astype(np.int64), fires, axis=0)
    x, y = (np.concatenate([a, b]) for a, b in zip(places, hot.T, strict=True))
    t = rng.integers(0, length, len(x))
    p = rng.random(len(x)) < 0.4  # noise of a dark pixel is mostly a loss of light
    before: list[NDArray] = [clean.t, clean.x, clean.y, clean.p]
    columns = zip(before, (t, x, y, p), strict=True)
    return Events.sorted(*(np.concatenate([a, b.astype(a.dtype)]) for a, b in columns))
