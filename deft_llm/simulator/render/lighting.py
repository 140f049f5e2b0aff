"""Light that changes during a clip: gains of the recorded frames over time and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Course = Callable[[Any, Any, Any, float], Any]


def _bump(t: Any, middle: float, width: float) -> Any:
    return np.exp(-(((t - middle) / width) ** 2))


def _edge(t: Any, x: Any, y: Any, softness: float) -> Any:
    # A slanted border that crosses the frame once, from outside to outside.
    return 1 / (1 + np.exp((x + 0.2 * y - 1.4 * t + 0.2) / softness))


# Gain of the light at time t (T, 1, 1) of 0 to 1, and place x, y (H, W) of 0 to 1; s: its strength.
LIGHTS: dict[str, Course] = {
    "ramp up": lambda t, x, y, s: 1 + s * t,
    "ramp down": lambda t, x, y, s: 1 - s * t,
    "step up": lambda t, x, y, s: 1 + s * (t > 0.5),
    "step down": lambda t, x, y, s: 1 - s * (t > 0.5),
    "flash": lambda t, x, y, s: 1 + s * _bump(t, 0.5, 0.08),
    "dip": lambda t, x, y, s: 1 - s * _bump(t, 0.5, 0.08),
    "flicker": lambda t, x, y, s: 1 + s / 2 * np.sin(2 * np.pi * 9 * t),
    "on and off": lambda t, x, y, s: 1 + s * ((t > 0.35) & (t < 0.65)),
    "lamp on one side": lambda t, x, y, s: 1 + s * _bump(t, 0.5, 0.15) * (1 - x),
    "lamp from above": lambda t, x, y, s: 1 + s * t * (1 - y),
    "soft shadow": lambda t, x, y, s: 1 - s * _bump(x - 1.4 * t, -0.2, 0.15),
    "hard shadow": lambda t, x, y, s: 1 - s * _edge(t, x, y, 0.02),
}


@dataclass(frozen=True)
class LightChange:
    """One change of the light in a clip.

    Attributes:
        kind: A key of ``LIGHTS``.
        strength: Largest relative change.
        shift: Share of the clip by which it comes earlier; negative is later.
    """

    kind: str
    strength: float
    shift: float = 0.0

    def gain(self, count: int, height: int, width: int) -> NDArray[np.float64]:
        """The factor on every pixel of a clip, (T, H, W) or what broadcasts to it."""
        y, x = np.mgrid[:height, :width]
        t = np.clip(np.linspace(0, 1, count) + self.shift, 0, 1)[:, None, None]
        return np.asarray(LIGHTS[self.kind](t, x / width, y / height, self.strength))

    def cast(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frames (T, H, W, 3) under this light; what gets too bright is clipped."""
        gain = self.gain(*frames.shape[:3])
        return np.clip(np.rint(frames * gain[..., None]), 0, 255).astype(np.uint8)
