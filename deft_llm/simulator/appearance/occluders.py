"""Paint on what simulated heads lack: background, hair, teeth, glasses, hands and other objects.

The layers are painted in the image. Over a clip they keep their look and follow the landmarks.
They need not look realistic: they teach the network to ignore what is not the face.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Shares of clips that get each layer.
_ROOM, _HAIR, _GLASSES, _BEARD, _TEETH, _THING = 0.85, 0.75, 0.25, 0.25, 0.8, 0.25


def add_occluders(
    frames: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    landmarks: Floats,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Paint backgrounds and occluders on rendered frames.

    Args:
        frames: RGB (T, H, W, 3).
        masks: (T, H, W), True on the head.
        landmarks: (T, 68, 2), px.
        rng: Source of randomness.

    Returns:
        New frames; the landmarks remain valid.
    """
    size = frames.shape[1]
    room = _texture(rng, size) if rng.random() < _ROOM else None
    wardrobe: tuple[tuple[float, Callable[[np.random.Generator, int], _Layer]], ...] = (
        (_TEETH, _Teeth),
        (_BEARD, _Beard),
        (_HAIR, _Hair),
        (_GLASSES, _Glasses),
        (_THING, _Thing),
    )
    # In the order of painting: hair may cover teeth and beard, glasses and objects everything.
    layers = [layer(rng, size) for share, layer in wardrobe if rng.random() < share]
    dressed = np.empty_like(frames)
    for t, frame in enumerate(frames):
        image = frame.astype(np.float32)
        if room is not None:
            # A soft edge, or the cut-out outline would give the face away.
            soft = cv2.GaussianBlur(masks[t].astype(np.float32), (0, 0), 1.0)[..., None]
            image = room + soft * (image - room)
        for layer in layers:
            paint, cover = layer.on(landmarks[t])
            image += cover[..., None] * (paint - image)
        dressed[t] = np.clip(np.rint(image), 0, 255)
    return dressed


def _texture(rng: np.random.Generator, size: int, level: float | None = None) -> Floats:
    """Random background (size, size, 3): clouds of all sizes, edges and outlines."""
    level = float(rng.uniform(10, 245)) if level is None else level
    image = np.full((size, size, 3), level, np.float32) + rng.normal(0, 12, 3).astype(np.float32)
    for cells in (3, 8, 24, 64):
        noise = rng.standard_normal((cells, cells, 1)) * rng.exponential(12)
        noise = noise + rng.standard_normal((cells, cells, 3)) * 3
        image += cv2.resize(noise.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 9))):
        colour = tuple(float(c) for c in rng.uniform(0, 255) + rng.normal(0, 25, 3))
        corners = rng.uniform(-0.2, 1.2, 2) * size + rng.normal(0, 0.25 * size, (4, 2))
        hull = cv2.convexHull(corners.astype(np.int32))
        if rng.random() < 0.5:
            cv2.fillConvexPoly(image, hull, colour, cv2.LINE_AA)
        else:
            cv2.polylines(image, [hull], True, colour, int(rng.integers(1, 6)), cv2.LINE_AA)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 4)))
    return np.clip(image, 0, 255).astype(np.float32)


def _frame_of(points: Floats) -> tuple[Floats, Floats, Floats]:
    """The point between the eyes, and the face's axes to image right and down, 1 interocular."""
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    middle, across = (left + right) / 2, right - left
    # A turned head is narrower but not shorter, so the down axis comes from the face's height.
    # From the eyes to the mean of nose base and lower lip it is about 0.97 interocular.
    down = points[[33, 57]].mean(0) - middle
    return middle, across, down / 0.97


def _filled(size: int, outline: Floats, soft: float) -> Floats:
    cover = np.zeros((size, size), np.float32)
    # OpenCV's shift of 4 reads coordinates as sixteenths of a pixel: no jitter from rounding.
    cv2.fillPoly(cover, [np.rint(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), soft), np.float32)


class _Layer(Protocol):
    """An occluder with its own look."""

    def on(self, points: Floats) -> tuple[Floats, Floats]:
        """Paint (H, W, 3) and coverage (H, W) in 0..1 on a face with these landmarks."""


class _Hair:
    """A ring around the upper face: fringe, temples, and sometimes long."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.size = size
        self.paint = _strands(rng, size, float(rng.choice([25, 60, 110, 190])))
        self.line = rng.uniform(0.55, 1.05)  # the hairline above the eyes, interoculars
        self.temple = rng.uniform(1.0, 1.3)
        self.length = rng.choice([-0.2, 0.4, 1.2, 2.6])
        self.width = rng.uniform(1.35, 1.9)
        self.top = rng.uniform(1.5, 2.1)
        self.ragged = rng.normal(0, 0.06, 12)
        self.tilt = rng.normal(0, 0.15)
        self.soft = float(rng.uniform(0.5, 2.0))

    def on(self, points: Floats) -> tuple[Floats, Floats]:
        middle, across, down = _frame_of(points)
        angle = np.linspace(np.pi, 2 * np.pi, 12)
        inner = np.stack([self.temple * np.cos(angle), self.line * np.sin(angle)], 1)
        inner[:, 1] += self.ragged + self.tilt * inner[:, 0]
        outer = np.stack([self.width * np.cos(angle), self.top * np.sin(angle)], 1)
        ends = [[self.width, self.length], [self.temple, self.length]]
        starts = [[-self.temple, self.length], [-self.width, self.length]]
        ring = np.concatenate([inner, ends[::-1], outer[::-1], starts[::-1]])
        outline = middle + ring[:, :1] * across + ring[:, 1:] * down
        return self.paint, _filled(self.size, outline.astype(np.float32), self.soft)


class _Teeth:
    """The upper teeth between parted lips: at most as wide as the mouth, light or shaded."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.size = size
        self.reach = float(rng.uniform(0.4, 1.0))  # share of the opening that they fill
        self.width = float(rng.uniform(0.7, 1.0))  # share of the mouth's width
        tint = np.array([1.0, rng.uniform(0.92, 1.0), rng.uniform(0.75, 0.98)], np.float32)
        self.paint = np.full((size, size, 3), rng.uniform(110, 245) * tint, np.float32)
        gap, start = int(rng.integers(3, 7)), int(rng.integers(0, 3))
        self.paint[:, start::gap] *= np.float32(rng.uniform(0.6, 1.0))

    def on(self, points: Floats) -> tuple[Floats, Floats]:
        # The inner lip contours, both from image left to right; equal for a closed mouth, which
        # then shows no teeth.
        upper, lower = points[60:65], points[[60, 67, 66, 65, 64]]
        edge = upper + self.reach * (lower - upper)
        outline = np.concatenate([upper, edge[::-1]])
        middle = outline.mean(0)
        outline = middle + (outline - middle) * (self.width, 1.0)
        return self.paint, _filled(self.size, outline.astype(np.float32), 0.5)


class _Beard:
    """Stubble or hair on the chin and perhaps the upper lip."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.size = size
        self.paint = _strands(rng, size, float(rng.choice([30, 60, 100])))
        self.strength = float(rng.uniform(0.2, 0.85))
        self.moustache = bool(rng.random() < 0.7)

    def on(self, points: Floats) -> tuple[Floats, Floats]:
        jaw = points[2:15]
        mouth = points[[54, 53, 52, 51, 50, 49, 48]]
        upper = 0.35 * mouth + 0.65 * points[33] if self.moustache else mouth
        cover = _filled(self.size, np.concatenate([jaw, upper]), 2.0)
        lips = _filled(self.size, points[48:60], 1.0)
        return self.paint, self.strength * cover * (1 - lips)


class _Glasses:
    """Two rims with a bridge, dark or light, thin or thick, sometimes tinted."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.size = size
        self.paint = np.full((size, size, 3), rng.choice([15.0, 50.0, 120.0, 220.0]), np.float32)
        self.rim = int(rng.integers(1, 4))
        self.radii = rng.uniform((0.30, 0.22), (0.42, 0.36))
        self.power = float(rng.choice([2.0, 4.0]))
        self.tint = float(rng.choice([0.0, 0.1, 0.3]))
        self.drop = float(rng.uniform(-0.02, 0.10))

    def on(self, points: Floats) -> tuple[Floats, Floats]:
        _, across, down = _frame_of(points)
        cover = np.zeros((self.size, self.size), np.float32)
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        c, s = np.cos(angle), np.sin(angle)
        ring = np.stack(
            # A superellipse: 2 is an ellipse, 4 nearly a rectangle.
            [np.sign(c) * abs(c) ** (2 / self.power), np.sign(s) * abs(s) ** (2 / self.power)],
            1,
        )
        inner = []
        for eye, side in ((points[36:42], 1), (points[42:48], -1)):
            centre = eye.mean(0) + self.drop * down
            outline = (
                centre + ring[:, :1] * self.radii[0] * across + ring[:, 1:] * self.radii[1] * down
            )
            line = [np.rint(outline * 16).astype(np.int32)]
            cv2.fillPoly(cover, line, self.tint, cv2.LINE_AA, 4)
            cv2.polylines(cover, line, True, 1.0, self.rim, cv2.LINE_AA, 4)
            inner.append(centre + side * self.radii[0] * across)
            temple = centre - side * self.radii[0] * across
            far = temple - side * 0.5 * across
            cv2.line(cover, *_pair(temple, far), 1.0, self.rim, cv2.LINE_AA, 4)
        cv2.line(cover, *_pair(*inner), 1.0, self.rim, cv2.LINE_AA, 4)
        return self.paint, cover


def _pair(a: Floats, b: Floats) -> tuple[tuple[int, int], tuple[int, int]]:
    first, second = np.rint(np.stack([a, b]) * 16).astype(int)
    return (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))


class _Thing:
    """A hand, a cup, the edge of a shadow: any blob in front of part of the face."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.size = size
        self.paint = _texture(rng, size)
        self.place = rng.uniform((-1.2, -0.8), (1.2, 2.2))
        corners = rng.normal(0, rng.uniform(0.15, 0.5), (6, 2))
        self.blob = cv2.convexHull(corners.astype(np.float32))[:, 0]
        self.strength = float(rng.choice([1.0, 1.0, 0.5]))

    def on(self, points: Floats) -> tuple[Floats, Floats]:
        middle, across, down = _frame_of(points)
        shape = self.blob + self.place
        outline = middle + shape[:, :1] * across + shape[:, 1:] * down
        return self.paint, self.strength * _filled(self.size, outline.astype(np.float32), 0.8)


def _strands(rng: np.random.Generator, size: int, level: float) -> Floats:
    """Noise stretched along one direction, like hair, (size, size, 3)."""
    noise = rng.standard_normal((size, size // 8, 1)).astype(np.float32)
    noise = noise if rng.random() < 0.5 else noise.reshape(size // 8, size, 1)
    fine = cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    coarse = cv2.resize(
        rng.standard_normal((8, 8)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )[..., None]
    tint = rng.normal(0, 6, 3) + np.array([8.0, 0.0, -8.0]) * rng.random()
    contrast = 0.15 * level + 6
    return np.clip(level + tint + contrast * (fine + 0.7 * coarse), 0, 255).astype(np.float32)
