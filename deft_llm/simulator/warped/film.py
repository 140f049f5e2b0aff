"""Film a portrait in motion: every frame is the base frame, sampled where the skin came from.

A point of the skin is first moved by the AUs, then with the head. The inverse is found by fixed
points, and the base is sampled once, by cubic splines, which keep the picture as it is where
nothing moved. OpenCV's sampling would round positions to 1/32 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

from deft_llm.compiled import compiled
from deft_llm.media.canonical import compose, invert, transform_flow
from deft_llm.simulator.render.camera import Sensor
from deft_llm.simulator.warped.lids import close_lids
from deft_llm.simulator.warped.motion import PAD, FaceMotion, Floats
from deft_llm.simulator.warped.portrait import Portrait

_ITERATIONS = 12


@dataclass(frozen=True)
class Take:
    """What happens in a clip of T frames.

    Attributes:
        field: (2, G, G) motion of the skin at level 1, canonical pixels (`FaceMotion.field`).
        levels: (T,) how much of it is there.
        turn: (T, 2) yaw and pitch of the head against the portrait, radians.
        closure: (T, 2) of the subject's right and left eye, 0 to 1.
        sensor: Noise of the camera; None adds none, as for a resting clip, which has its own.
    """

    field: Floats
    levels: NDArray[np.floating]
    turn: NDArray[np.floating]
    closure: NDArray[np.floating]
    sensor: Sensor | None = None


def film(
    portrait: Portrait, motion: FaceMotion, take: Take, gain: Floats | None = None
) -> NDArray[np.uint8]:
    """The frames of a take, uint8 RGB (T, H, W, 3).

    Args:
        portrait: The face; the frames of a resting clip are played to and fro.
        motion: Its motion.
        take: What happens.
        gain: Light that falls on it: a factor (T, H, W), or one that broadcasts to it.
    """
    count, (height, width) = len(take.levels), portrait.frames.shape[1:3]
    light = None if gain is None else np.broadcast_to(gain, (count, height, width))
    clear, wall = np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32)
    base = BaseFrames(portrait)
    frames = np.empty((count, height, width, 3), np.uint8)
    for t in range(count):
        image = base.moved(t, motion, take)
        if light is not None:
            image = image * light[t][..., None]
        if take.sensor is None:
            frames[t] = np.clip(np.rint(image), 0, 255)
        else:
            frames[t] = take.sensor.expose(image / np.float32(255), clear, wall, t)
    return frames


class BaseFrames:
    """The frames to sample from, with what they share between neighbours."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self._spline: tuple[object, Floats] | None = None
        self._field: tuple[bytes, Floats, Floats] | None = None

    def moved(self, t: int, motion: FaceMotion, take: Take) -> Floats:
        """Frame t before light and noise, (H, W, 3)."""
        number = _to_and_fro(t, len(self.portrait.frames))
        matrix = self.portrait.transforms[number]
        closure = (float(take.closure[t, 0]), float(take.closure[t, 1]))
        image = self.portrait.frames[number].astype(np.float32)
        image = close_lids(image, matrix, self.portrait.landmarks, closure)
        yaw, pitch = (float(angle) for angle in take.turn[t])
        level = np.float32(take.levels[t])
        if not (yaw or pitch or level):
            return image
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        if yaw or pitch:
            turned = in_frame(motion.turned(yaw, pitch), matrix, image.shape)
            columns, rows = origin(turned, np.float32(1), columns, rows)
        if level:
            key, kept = matrix.tobytes(), self._field
            if kept is None or kept[0] != key or kept[1] is not take.field:
                kept = (key, take.field, in_frame(take.field, matrix, image.shape))
                self._field = kept
            columns, rows = origin(kept[2], level, columns, rows)
        spline = (number, closure)
        if self._spline is None or self._spline[0] != spline:
            self._spline = (spline, _coefficients(image))
        found: Floats = _sample(self._spline[1], columns, rows)
        return found


def in_frame(field: Floats, to_canonical: NDArray[np.float64], shape: tuple[int, ...]) -> Floats:
    """A field on the grid (2, G, G) as displacement in a frame (2, H, W), in its pixels."""
    grid = np.array([[1.0, 0.0, -PAD], [0.0, 1.0, -PAD]])
    return transform_flow(field, compose(invert(to_canonical), grid), (shape[1], shape[0]))


def origin(field: Floats, level: np.float32, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where the points that a field moved to some places came from.

    Args:
        field: (2, H, W) displacement, px.
        level: Factor on it.
        x: (H, W) places, px.
        y: The same.
    """
    found: tuple[Floats, Floats] = _origin(field, level, x, y, _ITERATIONS)
    return found


def _to_and_fro(t: int, count: int) -> int:
    t %= max(2 * count - 2, 1)
    return min(t, 2 * count - 2 - t) if count > 1 else 0


def _coefficients(image: Floats) -> Floats:
    """Coefficients of the cubic splines through the pixels of an image (H, W, 3)."""
    for axis in (0, 1):
        image = spline_filter1d(image, order=3, axis=axis, output=np.float32, mode="mirror")
    return np.ascontiguousarray(image)


@compiled(fastmath=True)
def _origin(field, level, x, y, iterations):  # type: ignore[no-untyped-def]
    height, width = field.shape[1:]
    across, down = np.empty_like(x), np.empty_like(y)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            px, py = x[i, j], y[i, j]
            for _ in range(iterations):
                cx = min(max(px, np.float32(0)), np.float32(width - 1.001))
                cy = min(max(py, np.float32(0)), np.float32(height - 1.001))
                left, top = int(cx), int(cy)
                a, b = cx - np.float32(left), cy - np.float32(top)
                u, v = np.float32(0), np.float32(0)
                for k in range(2):
                    wy = b if k else np.float32(1) - b
                    for m in range(2):
                        w = wy * (a if m else np.float32(1) - a)
                        u += w * field[0, top + k, left + m]
                        v += w * field[1, top + k, left + m]
                nx, ny = x[i, j] - level * u, y[i, j] - level * v
                step = abs(nx - px) + abs(ny - py)
                px, py = nx, ny
                if step < np.float32(1e-4):
                    break
            across[i, j], down[i, j] = px, py
    return across, down


@compiled(fastmath=True)
def _weights(t):  # type: ignore[no-untyped-def]
    one = np.float32(1)
    s, sixth = one - t, np.float32(1 / 6)
    four = np.float32(2 / 3)
    return (
        s * s * s * sixth,
        four - t * t * (one - np.float32(0.5) * t),
        four - s * s * (one - np.float32(0.5) * s),
        t * t * t * sixth,
    )


@compiled(fastmath=True)
def _mirror(i, n):  # type: ignore[no-untyped-def]
    i = abs(i)
    return i if i < n else 2 * n - 2 - i


@compiled(fastmath=True)
def _sample(spline, x, y):  # type: ignore[no-untyped-def]
    height, width, channels = spline.shape
    out = np.zeros((x.shape[0], x.shape[1], channels), np.float32)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            px = min(max(x[i, j], np.float32(0)), np.float32(width - 1))
            py = min(max(y[i, j], np.float32(0)), np.float32(height - 1))
            left, top = int(px), int(py)
            across, down = _weights(px - np.float32(left)), _weights(py - np.float32(top))
            for k in range(4):
                row = _mirror(top + k - 1, height)
                for m in range(4):
                    column = _mirror(left + m - 1, width)
                    w = down[k] * across[m]
                    for c in range(channels):
                        out[i, j, c] += w * spline[row, column, c]
    return out
