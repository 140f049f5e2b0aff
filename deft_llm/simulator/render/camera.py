"""From a head to a recorded frame: projection, light, background and sensor.

Colours are display values in 0..1 (linear albedo to the power 1 / 2.2). Light is summed in linear
values per Gaussian instead of per pixel, so no pixel needs a power function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.compiled import compiled

Floats = NDArray[np.float32]
_DISPLAY_GAMMA = 2.2
_NOISE_BANK = 1 << 20
WET = np.float32(0.2)
"""Gloss above which a surface is wet: Blinn's exponent for its highlight is 128, not 16."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class View:
    """A pinhole camera on the +z axis that looks at the origin.

    Attributes:
        focal: Focal length times magnification, px * cm / cm.
        distance: Camera to the plane z = 0, cm.
        centre: (x, y) pixel that shows the origin.
        orthographic: Ignore depth in the projection; the scale is ``focal / distance``.
    """

    focal: float
    distance: float
    centre: tuple[float, float]
    orthographic: bool = False

    def project(self, points: Floats) -> Floats:
        """Head coordinates (..., 3) in cm to pixels (..., 2)."""
        depth = self.distance - (0.0 if self.orthographic else points[..., 2])
        scale = np.float32(self.focal) / depth
        x = np.float32(self.centre[0]) + scale * points[..., 0]
        # Image y points down, head y up.
        y = np.float32(self.centre[1]) - scale * points[..., 1]
        return np.stack([x, y], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Framing:
    """Size and position of the face in the frame.

    Attributes:
        interocular: Pixels between the eye centres of a frontal face.
        distance: Camera to the eyes, cm.
        place: (x, y) of the point between the eyes, as shares of the frame's size.
    """

    interocular: float
    distance: float
    place: tuple[float, float]

    def view(self, size: int, eye_gap: float, eye_depth: float) -> View:
        """The camera that frames a head in this way.

        Args:
            size: Side of the square frame, px.
            eye_gap: Distance between the eye centres, cm.
            eye_depth: z of the eyes, cm.

        Returns:
            The camera; the head's origin must lie at the height of the eyes.
        """
        # The eyes lie at `distance`, so this scale shows them `interocular` px apart there.
        focal = self.interocular * self.distance / eye_gap
        centre = (self.place[0] * size, self.place[1] * size)
        return View(focal, self.distance + eye_depth, centre)


@dataclass(frozen=True)
class Light:
    """Ambient light and one directional light.

    Attributes:
        direction: Unit vector from the face to the light, head axes.
        ambient: Share of the ambient light in 0..1.
        gain: Overall brightness, about 1.
        tint: (r, g, b) about 1.
        flicker: Relative amplitude of the slow flicker.
        flicker_hz: Frequency of the flicker.
        flicker_phase: Phase of the flicker at time 0, rad.
    """

    direction: tuple[float, float, float]
    ambient: float
    gain: float
    tint: tuple[float, float, float]
    flicker: float
    flicker_hz: float
    flicker_phase: float

    def at(self, seconds: float) -> float:
        """Brightness at a time."""
        phase = 2 * math.pi * self.flicker_hz * seconds + self.flicker_phase
        return self.gain * (1 + self.flicker * math.sin(phase))

    def shade(
        self, albedo: Floats, normals: Floats, seconds: float, share: Floats, gloss: Floats
    ) -> Floats:
        """Lambert's law and Blinn's highlight on every Gaussian.

        J. F. Blinn, "Models of light reflection for computer synthesized pictures" (SIGGRAPH
        1977), seen from far in front: the half vector lies between the light and +z.

        Args:
            albedo: (N, C) display values, from :meth:`Sensor.develop`.
            normals: (N, 3) unit, head axes.
            seconds: Time, for the flicker.
            share: (N,) share of the light that reaches the Gaussian, in 0..1.
            gloss: (N,) strength of the highlight, linear.

        Returns:
            Display colours (N, C).
        """
        direction = np.array(self.direction, np.float32)
        half = direction + np.array([0, 0, 1], np.float32)
        shaded: Floats = _shade(
            albedo,
            normals,
            direction,
            half / np.linalg.norm(half),
            np.float32(self.ambient),
            np.float32(self.at(seconds)),
            share,
            gloss,
        )
        return shaded


@dataclass(frozen=True)
class Sensor:
    """Lens and image sensor.

    Attributes:
        grey: A monochrome camera: the three channels are equal.
        gamma: Tone curve on display values, about 1.
        blur: SD of the lens blur, px.
        read_noise: SD of the signal-independent noise, in 8-bit steps.
        shot_noise: Added variance at full brightness, in 8-bit steps squared.
        background: Mean brightness of the background in 0..1.
        background_seed: Seed of its texture.
        noise_seed: Seed of the noise.
    """

    grey: bool
    gamma: float
    blur: float
    read_noise: float
    shot_noise: float
    background: float
    background_seed: int
    noise_seed: int

    def develop(self, albedo: Floats, tint: tuple[float, float, float]) -> Floats:
        """Linear albedo (N, 3) under tinted light to display values (N, C); C is 1 for grey."""
        linear = np.clip(albedo * np.array(tint, np.float32), 1e-4, 1.0)
        if self.grey:
            linear = (linear @ _LUMA)[:, None]
        return np.ascontiguousarray(linear ** (self.gamma / _DISPLAY_GAMMA), np.float32)

    def backdrop(self, size: int) -> Floats:
        """A smooth random background (size, size, C) in 0..1."""
        rng = np.random.default_rng(self.background_seed)
        channels = 1 if self.grey else 3
        cells = int(rng.integers(3, 8))
        # Mostly shared by the channels: walls are nearly grey.
        smooth = rng.standard_normal((cells, cells, 1)) + 0.2 * rng.standard_normal(
            (cells, cells, channels)
        )
        slope = rng.uniform(-0.5, 0.5, 2)
        y, x = np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j]
        image = cv2.resize(smooth.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        image = image.reshape(size, size, channels) * rng.uniform(0.01, 0.07)
        image += (self.background * (1 + slope[0] * x + slope[1] * y))[..., None]
        return np.clip(image, 0, 1).astype(np.float32)

    def expose(self, colour: Floats, clear: Floats, backdrop: Floats, index: int) -> NDArray:
        """Composite over the background, add noise, quantise.

        Args:
            colour: (H, W, C) summed display colours.
            clear: (H, W) transmittance to the background.
            backdrop: (H, W, C).
            index: Frame number; the noise depends only on it and on the seed.

        Returns:
            uint8 RGB (H, W, 3).
        """
        height, width, channels = colour.shape
        rng = np.random.default_rng([self.noise_seed, index])
        # One random start per row: drawing a fresh normal sample per pixel is far slower.
        starts = rng.integers(0, _NOISE_BANK - width * channels, height)
        frame: NDArray[np.uint8] = _expose(
            colour,
            clear,
            backdrop,
            _noise_bank(),
            starts,
            np.float32(self.read_noise**2),
            np.float32(self.shot_noise),
        )
        return frame


def draw_framing(rng: np.random.Generator, size: int) -> Framing:
    """A face that fills the frame: 70 to 85 px between the eyes in 288 px."""
    return Framing(
        interocular=float(rng.uniform(70, 85)) * size / 288,
        distance=float(rng.uniform(50, 140)),
        place=(float(rng.normal(0.5, 0.01)), float(rng.normal(0.39, 0.01))),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """A light from the front, anywhere between overhead and the sides."""
    azimuth = rng.uniform(-1.0, 1.0)
    height = rng.uniform(-0.1, 0.9)
    direction = np.array(
        [math.sin(azimuth) * math.cos(height), math.sin(height), math.cos(azimuth)]
    )
    direction /= np.linalg.norm(direction)
    tint = 1 + rng.normal(0, 0.04, 3)
    return Light(
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        ambient=float(rng.uniform(0.3, 0.6)),
        gain=float(rng.uniform(0.9, 1.25)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        flicker=float(rng.uniform(0, 0.015)),
        flicker_hz=float(rng.uniform(0.3, 3)),
        flicker_phase=float(rng.uniform(0, 2 * math.pi)),
    )


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """A decent laboratory camera: 0.6 to 2.5 grey levels of noise at mid brightness."""
    return Sensor(
        grey=bool(rng.random() < 0.35),
        gamma=float(rng.uniform(0.85, 1.15)),
        blur=float(rng.uniform(0.4, 0.8)),
        read_noise=float(rng.uniform(0.4, 1.5)),
        shot_noise=float(rng.uniform(0.3, 5.0)),
        background=float(rng.uniform(0.15, 0.75)),
        background_seed=int(rng.integers(1 << 31)),
        noise_seed=int(rng.integers(1 << 31)),
    )


@lru_cache(maxsize=1)
def _noise_bank() -> Floats:
    """Standard normal samples; every frame reads runs of them from random positions."""
    return np.random.default_rng(0).standard_normal(_NOISE_BANK, np.float32)


@compiled(fastmath=True)
def _shade(albedo, normals, direction, half, ambient, gain, share, gloss):  # type: ignore[no-untyped-def]
    out = np.empty_like(albedo)
    for n in range(albedo.shape[0]):
        cosine = (
            normals[n, 0] * direction[0]
            + normals[n, 1] * direction[1]
            + normals[n, 2] * direction[2]
        )
        light = gain * (ambient + (np.float32(1) - ambient) * max(np.float32(0), cosine))
        # The product of powers is the power of the product: one power lights all channels.
        factor = (light * share[n]) ** np.float32(1 / _DISPLAY_GAMMA)
        toward = normals[n, 0] * half[0] + normals[n, 1] * half[1] + normals[n, 2] * half[2]
        shine = np.float32(0)
        # Off the highlight the power is negligible: 0.8^16 is below 0.03.
        if toward > np.float32(0.8):
            power = toward * toward  # to the 16th by squaring
            power *= power
            power *= power
            power *= power
            if gloss[n] > WET:  # a smooth surface: a smaller spot
                power *= power
                power *= power
                power *= power
            shine = gain * (np.float32(1) - ambient) * share[n] * gloss[n] * power
        for c in range(albedo.shape[1]):
            value = albedo[n, c] * factor
            if shine > np.float32(1e-3):
                # A highlight adds to linear light: convert this Gaussian to linear and back.
                linear = value ** np.float32(_DISPLAY_GAMMA) + shine
                value = linear ** np.float32(1 / _DISPLAY_GAMMA)
            out[n, c] = value
    return out


@compiled(fastmath=True)
def _expose(colour, clear, backdrop, bank, starts, read, shot):  # type: ignore[no-untyped-def]
    height, width, channels = colour.shape
    frame = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        at = starts[y]
        for x in range(width):
            for c in range(channels):
                value = colour[y, x, c] + clear[y, x] * backdrop[y, x, c]
                value = min(max(value, np.float32(0)), np.float32(1))
                # Shot noise: its variance grows with the light.
                noise = math.sqrt(read + shot * value) * bank[at]
                at += 1
                level = np.float32(255) * value + noise + np.float32(0.5)
                frame[y, x, c] = np.uint8(min(max(level, np.float32(0)), np.float32(255)))
            # A grey camera has one channel; RGB frames repeat it.
            for c in range(channels, 3):
                frame[y, x, c] = frame[y, x, 0]
    return frame
