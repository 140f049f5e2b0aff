"""Parts of the own head other than the skull: eyeballs, mouth, teeth, ears, neck."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deft_llm.facs import MIRROR_68
from deft_llm.simulator.own_head import shape
from deft_llm.simulator.own_head.shape import Array

__all__ = ["EYE_RINGS", "EYE_SEGMENTS", "MIRROR_68", "SHELLS", "all_parts"]

SHELLS = ("skull", "left eye", "right eye", "mouth", "teeth", "left ear", "right ear", "neck")
EYE_SEGMENTS = 24
EYE_RINGS = (0.08, 0.165, 0.25, 0.35, 0.45, 0.5, 0.6, 0.75, 0.95, 1.15, 1.35)
"""Polar angles of the eyeball's rings, radians; the iris reaches to 0.505."""

Part = tuple[str, Array, NDArray[np.int64], Array | None]


def grid_cells(rows: int, columns: int) -> NDArray[np.int64]:
    """Triangles of a rows x columns grid; they face +z if columns run to +x and rows to -y."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (i * columns + j).ravel()
    b, c, d = a + 1, a + columns, a + columns + 1
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def _eyeball(side: float) -> tuple[Array, NDArray[np.int64]]:
    turn = np.arange(EYE_SEGMENTS) * (2 * np.pi / EYE_SEGMENTS)
    points = [np.array([[0.0, 0.0, 1.0]])]
    for ring in EYE_RINGS:
        points.append(
            np.stack(
                [
                    np.sin(ring) * np.cos(turn) * side,
                    np.sin(ring) * np.sin(turn),
                    np.full(EYE_SEGMENTS, np.cos(ring)),
                ],
                axis=1,
            )
        )
    centre = np.array([side * shape.EYE_X, 0.0, shape.EYEBALL_Z])
    vertices = np.concatenate(points) * shape.EYEBALL_RADIUS + centre
    k = np.arange(EYE_SEGMENTS)
    cells = [np.stack([np.zeros_like(k), 1 + k, 1 + (k + 1) % EYE_SEGMENTS], axis=1)]
    for ring in range(len(EYE_RINGS) - 1):
        a, b = 1 + ring * EYE_SEGMENTS + k, 1 + ring * EYE_SEGMENTS + (k + 1) % EYE_SEGMENTS
        c, d = a + EYE_SEGMENTS, b + EYE_SEGMENTS
        cells += [np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)]
    # The right eye is mirrored in x, which flips the winding.
    triangles = np.concatenate(cells)
    return vertices, triangles if side > 0 else triangles[:, ::-1]


def _sheet(half: float, top: float, bottom: float, rows: int, columns: int, deep: float) -> Array:
    """A grid behind the lips, `deep` cm behind the face's surface and curved with it."""
    x, y = np.meshgrid(np.linspace(-half, half, columns), np.linspace(top, bottom, rows))
    flat = np.stack([np.abs(x).ravel(), np.full(x.size, shape.MOUTH_Y)], axis=1)
    z = shape.disc_to_head(shape.frontal_to_disc(flat))[2] + 0.5 - deep
    return np.column_stack([x.ravel(), y.ravel(), z - 0.06 * x.ravel() ** 2])


def _ear(side: float) -> Array:
    turn, radius = np.meshgrid(np.linspace(0, 2 * np.pi, 15), np.linspace(0.15, 1.0, 5))
    y = -0.9 + 2.7 * radius * np.sin(turn)
    z = -0.3 + 1.3 * radius * np.cos(turn) + 0.25 * radius * np.sin(turn)
    x = 6.9 + 0.7 * (1.0 - radius**3) - 0.25 * z
    return np.stack([side * x.ravel(), y.ravel(), z.ravel()], axis=1)


def _neck() -> Array:
    turn, y = np.meshgrid(np.linspace(-1.9, 1.9, 22), np.linspace(-8.5, -21.0, 12))
    wide = 5.3 + 2.5 * shape.smoothstep(-y, 14.5, 21.0)
    z = -2.2 + 5.0 * np.cos(turn) + 0.12 * (y + 8.5)
    return np.stack([(wide * np.sin(turn)).ravel(), y.ravel(), z.ravel()], axis=1)


def all_parts() -> Iterator[Part]:
    """Each part as (name, vertices, triangles, frontal anchor it moves with, or None)."""
    for side, name in ((1.0, "left"), (-1.0, "right")):
        yield f"{name} eye", *_eyeball(side), np.array([side * shape.EYE_X, 0.0])
    mouth = np.array([0.0, shape.MOUTH_Y])
    yield "mouth", _sheet(2.7, -5.9, -8.7, 7, 13, 0.9), grid_cells(7, 13), mouth
    yield "teeth", _sheet(2.0, -6.15, -7.1, 4, 15, 0.55), grid_cells(4, 15), mouth
    for side, name in ((1.0, "left"), (-1.0, "right")):
        cells = grid_cells(5, 15) if side < 0 else grid_cells(5, 15)[:, ::-1]
        yield f"{name} ear", _ear(side), cells, np.array([side * 7.0, -0.9])
    yield "neck", _neck(), grid_cells(12, 22), None
