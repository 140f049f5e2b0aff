"""Eyelids that slide over the eyeball, and the rotation of eyeballs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.own_head import shape
from deft_llm.simulator.own_head.mesh import OwnTopology
from deft_llm.simulator.own_head.shape import Array

_UPPER_REACH, _LOWER_REACH = 1.15, 1.0  # cm from the margin at which the skin is at rest
GAZE_LIFT, GAZE_LIFT_LOWER = 0.9, 0.25
"""The lids follow the gaze: share of the opening per radian of pitch, (upper, lower) lid."""


@dataclass(frozen=True)
class Lid:
    """The lids of one eye.

    Attributes:
        vertices: (N,) vertices that move with a margin.
        weight: (N,) 1 at the margin, 0 out of reach.
        upper: (N,) True for the upper lid.
        at: (N,) position along the margins, in steps from the outer corner.
        margins: (2, M) vertices of the (upper, lower) margin.
    """

    vertices: NDArray[np.int64]
    weight: Array
    upper: NDArray[np.bool_]
    at: Array
    margins: NDArray[np.int64]

    def closure(self, points: Array, upper: float, lower: float) -> Array:
        """(N,) vertical displacement; upper and lower are closures as shares of the opening."""
        # Negative while the eye is open: lower minus upper margin, so the upper lid moves down.
        gap = points[self.margins[1], 1] - points[self.margins[0], 1]
        here = np.interp(self.at, np.arange(len(gap)), gap)
        return np.where(self.upper, upper, -lower) * self.weight * here


def lids(topology: OwnTopology, side: int) -> Lid:
    """The lids of the subject's left (0) or right (1) eye."""
    sign = 1.0 if side == 0 else -1.0
    x, y = sign * topology.plane[:, 0], topology.plane[:, 1]
    margin = topology.plane[topology.margins[side]] * np.array([sign, 1.0])
    along = margin[0, ::-1, 0]  # from the inner to the outer corner, rising
    # np.interp needs rising x; `at` counts from the outer corner, as the margins do.
    at = len(along) - 1 - np.interp(x, along, np.arange(len(along)))
    high, low = (np.interp(x, along, margin[i, ::-1, 1]) for i in (0, 1))
    upper = y > 0.5 * (high + low)
    weight = np.where(
        upper,
        shape.smoothstep(1.0 - (y - high) / _UPPER_REACH),
        shape.smoothstep(1.0 - (low - y) / _LOWER_REACH),
    )
    weight *= (topology.part == 0) & (topology.psi < np.pi / 2)
    vertices = np.flatnonzero((weight > 1e-3) & (np.abs(x - shape.EYE_X) < shape.EYE_HALF_WIDTH))
    return Lid(vertices, weight[vertices], upper[vertices], at[vertices], topology.margins[side])


def lid_positions(upper: float, lower: float, pitch: float) -> tuple[float, float]:
    """Closure of both lids, moved by the gaze and clipped so that they never cross."""
    lower = float(np.clip(lower + GAZE_LIFT_LOWER * pitch, -0.4, 1.0))
    # The upper lid can close only what the lower one leaves open.
    upper = float(np.clip(upper - GAZE_LIFT * pitch, -0.7, 1.0 - lower))
    return upper, lower


def turn(points: Array, centre: Array, yaw: float, pitch: float) -> Array:
    """Rotate points about a centre; positive yaw to +x, positive pitch up (radians)."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    swing = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turned: Array = (points - centre) @ (swing @ tilt).T + centre
    return turned
