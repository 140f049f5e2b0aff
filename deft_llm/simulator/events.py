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
from deft_llm.simulator.eye_motion import ACTIVITIES, EyeMotion, move_eye

Floats = NDArray[np.float64]
PERIOD = 10_000
"""µs between two labels: 100 a second, as in 3ET+."""
_MOVED, _LONGEST = 0.7, 12  # px and ms after which the picture is drawn again
_IRIS_SIDE, _LASH_ROWS = 200, 46  # px of the textures
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


@dataclass(frozen=True)
class _Eye:
    """What an eye looks like, and the sensor before it; px of the sensor, light from 0 to 1."""

    centre: Floats
    iris: float
    pupil: float
    opening: Floats  # half of the width, height above and below the centre
    reach: tuple[float, float]
    levels: NDArray[np.float32]
    texture: NDArray[np.float32]
    lashes: NDArray[np.float32]
    skin: NDArray[np.float32]
    glints: Floats  # (G, 4): x and y from the centre, radius, light
    rise: NDArray[np.float32]
    fall: NDArray[np.float32]
    background: float  # noise events of a pixel a second
    hot: Floats  # (K, 3): x, y, events a second
    sway: float


def simulate_eye(spec: EyeSpec) -> EyeRecording:
    """Simulate one recording; the same spec gives the same events on every machine.

    Args:
        spec: The recipe.
    """
    eye = _draw_eye(np.random.default_rng([spec.eye, 41]))
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


def _draw_eye(rng: np.random.Generator) -> _Eye:
    width, height = DVXPLORER
    iris = rng.uniform(52, 78)
    opening = np.array([iris * rng.uniform(1.7, 2.1), iris * rng.uniform(0.65, 1.0), 0.0])
    opening[2] = iris * rng.uniform(0.6, 0.85)
    skin, sclera = rng.uniform(0.45, 0.75), rng.uniform(0.5, 0.85)
    levels = [skin, sclera, rng.uniform(0.2, 0.45), rng.uniform(0.04, 0.1), rng.uniform(0.1, 0.25)]
    glints = [
        [*rng.normal(0, 14, 2), rng.uniform(2.5, 5), 1.5] for _ in range(int(rng.integers(1, 4)))
    ]
    threshold, spread = rng.uniform(0.18, 0.35), rng.uniform(0.02, 0.05)
    unequal = rng.uniform(0.9, 1.1)
    rise, fall = (
        np.clip(rng.normal(mean, spread * mean, (height, width)), 0.5 * mean, None)
        for mean in (threshold, threshold * unequal)
    )
    hot = rng.uniform([0, 0, 20], [width, height, 300], (int(rng.integers(3, 40)), 3))
    return _Eye(
        centre=np.array([width / 2, height / 2]) + rng.normal(0, [35, 25]),
        iris=iris,
        pupil=iris * rng.uniform(0.3, 0.62),
        opening=opening,
        reach=(opening[0] * 0.62, opening[1] * 0.7),
        levels=np.array(levels, np.float32),
        texture=_iris_texture(rng, iris),
        lashes=_lashes(rng, opening[0]),
        skin=_patches(rng, (height, width), 6.0, 0.06),
        glints=np.array(glints),
        rise=rise.astype(np.float32),
        fall=fall.astype(np.float32),
        background=float(np.exp(rng.uniform(np.log(0.02), np.log(0.3)))),
        hot=hot,
        sway=float(rng.uniform(0.3, 2.5)),
    )


def _patches(
    rng: np.random.Generator, shape: tuple[int, int], size: float, contrast: float
) -> NDArray[np.float32]:
    """Factors about 1, smooth over ``size`` px."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.normal(0, 1, shape), size)
    return (1 + contrast * smooth / smooth.std()).astype(np.float32)


def _iris_texture(rng: np.random.Generator, iris: float) -> NDArray[np.float32]:
    """Spokes and rings, factors about 1."""
    half = _IRIS_SIDE // 2
    y, x = np.mgrid[-half:half, -half:half]
    angle, away = np.arctan2(y, x), np.hypot(x, y) / iris
    texture = np.ones((_IRIS_SIDE, _IRIS_SIDE))
    for spokes in rng.integers(5, 40, 4):
        texture += 0.05 * np.cos(spokes * angle + rng.uniform(0, 6) + rng.normal(0, 3) * away)
    # The limbus is darker.
    texture *= 1 - 0.3 * np.clip((away - 0.85) / 0.15, 0, 1)
    return np.clip(texture, 0.4, 1.6).astype(np.float32)


def _lashes(rng: np.random.Generator, half_width: float) -> NDArray[np.float32]:
    """Share of the light that passes below the upper lid's edge, by row and column."""
    columns = int(2 * half_width)
    passed = np.ones((_LASH_ROWS, columns), np.float32)
    length = rng.uniform(8, _LASH_ROWS - 6)
    for root in rng.uniform(0, columns, int(rng.integers(10, 45))):
        lean = (root / columns - 0.5) * 1.2 + rng.normal(0, 0.15)
        for row in range(int(length * rng.uniform(0.6, 1.1))):
            col = int(root + lean * row)
            if row < _LASH_ROWS and 0 <= col < columns - 1:
                passed[row, col : col + 2] *= 0.45
    return passed


def _covered(eye: _Eye, motion: EyeMotion) -> NDArray[np.bool_]:
    """Whether the lids cover most of the pupil, (T ms,)."""
    lids = _lids(eye, motion)
    place = eye.centre + motion.head + motion.gaze
    arch = 1 - ((place[:, 0] - lids[:, 0]) / lids[:, 2]) ** 2
    low, high = lids[:, 1] + lids[:, 4] * arch, lids[:, 1] - lids[:, 3] * arch
    shut = high + lids[:, 5] * (low - high)
    radius = eye.pupil * motion.pupil
    seen = np.minimum(low, place[:, 1] + radius) - np.maximum(shut, place[:, 1] - radius)
    return np.asarray(seen < (1 - _COVERED) * 2 * radius)


def _lids(eye: _Eye, motion: EyeMotion) -> Floats:
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


def _filmed(eye: _Eye, motion: EyeMotion) -> Events:
    """Events of the moving eye alone."""
    lids = _lids(eye, motion)
    place = eye.centre + motion.head + motion.gaze
    radius = eye.pupil * motion.pupil
    # A turned eye shows its pupil as an ellipse.
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


def _box(eye: _Eye) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what moves, px."""
    far = np.array([eye.opening[0] + 8, eye.opening[1] + 0.5 * eye.reach[1] + 12])
    low = np.maximum(eye.centre - far, 0).astype(int)
    below = eye.opening[2] + _LASH_ROWS + 8
    right = int(min(eye.centre[0] + far[0], DVXPLORER[0]))
    return int(low[0]), int(low[1]), right, int(min(eye.centre[1] + below, DVXPLORER[1]))


def _moments(eye: _Eye, motion: EyeMotion, lids: Floats, place: Floats) -> list[int]:
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


def _with_noise(clean: Events, eye: _Eye, rng: np.random.Generator, length: int) -> Events:
    """Add noise of all pixels and of the hot ones, and sort by time."""
    width, height = DVXPLORER
    count = rng.poisson(eye.background * width * height * length / 1e6)
    places = [rng.integers(0, width, count), rng.integers(0, height, count)]
    fires = rng.poisson(eye.hot[:, 2] * length / 1e6)
    hot = np.repeat(eye.hot[:, :2].astype(np.int64), fires, axis=0)
    x, y = (np.concatenate([a, b]) for a, b in zip(places, hot.T, strict=True))
    t = rng.integers(0, length, len(x))
    p = rng.random(len(x)) < 0.4  # noise of a dark pixel is mostly a loss of light
    columns = zip((clean.t, clean.x, clean.y, clean.p), (t, x, y, p), strict=True)
    return Events.sorted(*(np.concatenate([a, b.astype(a.dtype)]) for a, b in columns))
