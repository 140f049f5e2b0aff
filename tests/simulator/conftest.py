"""A stand-in for a head, and a z-buffer: rasterization by triangles, which knows no splats."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from deft_llm.simulator.head import EYE_DEPTH, MATERIALS, Head, HeadMesh, load_head
from deft_llm.simulator.render.camera import View

_SKIN = MATERIALS.index("skin")
_PATCHES = {
    "1": (2.5, 3.0, (0.0, 1.0)),
    "12": (2.5, -6.0, (0.7, 0.7)),
    "4": (1.5, 2.0, (-0.3, -1.0)),
}


class EllipsoidHead:
    """An ellipsoid whose "AUs" push two patches of its front; about 5,000 triangles."""

    name = "ellipsoid"
    aus = tuple(_PATCHES)

    def identity(self, seed: int) -> HeadMesh:
        rng = np.random.default_rng(seed)
        rows, columns = 44, 60
        polar, around = np.meshgrid(
            np.linspace(0.01, np.pi - 0.01, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
        )
        x = 7.5 * np.sin(polar) * np.sin(around)
        y = 11 * np.cos(polar) - 3
        z = EYE_DEPTH * np.sin(polar) * np.cos(around)
        vertices = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b = index[:-1, :-1].ravel(), index[1:, :-1].ravel()
        c, d = index[1:, 1:].ravel(), index[:-1, 1:].ravel()
        halves = [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
        triangles = np.concatenate(halves).astype(np.int32)
        colors = rng.uniform(0.2, 0.7, (len(triangles), 1)) * [1.0, 0.8, 0.7]
        return HeadMesh(
            vertices=vertices,
            triangles=triangles,
            uvs=np.zeros((len(vertices), 2), np.float32),
            material=np.full(len(triangles), _SKIN, np.uint8),
            colors=colors.astype(np.float32),
            landmarks=_landmarks(vertices),
        )

    def deform(
        self,
        mesh: HeadMesh,
        activations: Mapping[str, float],
        *,
        blink: tuple[float, float] = (0.0, 0.0),
        gaze: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[np.float32]:
        moved = mesh.vertices.astype(np.float64)
        for code, level in activations.items():
            x, y, (dx, dy) = _PATCHES[code.lstrip("LR")]
            for sign in [s for s, side in ((1, "L"), (-1, "R")) if side in code or code.isdigit()]:
                far = ((mesh.vertices[:, :2] - [sign * x, y]) ** 2).sum(1)
                bump = level * np.exp(-far / 4.0) * (mesh.vertices[:, 2] > 0)
                moved += bump[:, None] * [sign * dx, dy, 0.0]
        return moved.astype(np.float32)


def _landmarks(vertices: NDArray[np.float32]) -> NDArray[np.int32]:
    """Eyes 6.4 cm apart at the height of the origin; the rest on a ring."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([5 * np.cos(angle), 5 * np.sin(angle) - 3], 1)
    points[36:42], points[42:48] = (-3.2, 0), (3.2, 0)
    front = np.where(vertices[:, 2] > 0, 0.0, 100.0)
    return np.array(
        [np.argmin(((vertices[:, :2] - p) ** 2).sum(1) + front) for p in points], np.int32
    )


@pytest.fixture(scope="session")
def ellipsoid() -> Head:
    return EllipsoidHead()


@pytest.fixture(scope="session")
def ict() -> Head:
    data = os.environ.get("DEFT_DATA")
    if data is None:
        pytest.skip("set DEFT_DATA to the folder of ict_facekit")
    return load_head("ict", Path(data) / "ict_facekit")


@dataclass(frozen=True)
class Reference:
    """What a z-buffer of the mesh shows: flow (2, H, W), depth and triangle (H, W), mask."""

    flow: NDArray[np.float64]
    depth: NDArray[np.float64]
    triangle: NDArray[np.int64]
    mask: NDArray[np.bool_]


ZBuffer = Callable[..., Reference]


@njit
def _rasterize(before, after, triangles, height, width):  # type: ignore[no-untyped-def]
    nearest = np.full((height, width), np.inf)
    shown = np.full((height, width), -1, np.int64)
    flow = np.zeros((2, height, width))
    for f in range(len(triangles)):
        i, j, k = triangles[f]
        x0, y0, x1, y1 = before[i, 0], before[i, 1], before[j, 0], before[j, 1]
        x2, y2 = before[k, 0], before[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0:  # v points down: front faces wind the other way
            continue
        top, bottom = max(0, np.ceil(min(y0, y1, y2))), min(height - 1, max(y0, y1, y2))
        left, right = max(0, np.ceil(min(x0, x1, x2))), min(width - 1, max(x0, x1, x2))
        for y in range(int(top), int(np.floor(bottom)) + 1):
            for x in range(int(left), int(np.floor(right)) + 1):
                b = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                c = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                if b < 0 or c < 0 or b + c > 1:
                    continue
                a, b, c = (1 - b - c) / before[i, 2], b / before[j, 2], c / before[k, 2]
                depth = 1 / (a + b + c)
                if depth < nearest[y, x]:
                    nearest[y, x], shown[y, x] = depth, f
                    for n in range(2):
                        start = a * before[i, n] + b * before[j, n] + c * before[k, n]
                        end = a * after[i, n] + b * after[j, n] + c * after[k, n]
                        flow[n, y, x] = depth * (end - start)
    return flow, nearest, shown


@pytest.fixture(scope="session")
def z_buffer() -> ZBuffer:
    """(view, vertices before, vertices after, triangles, size) -> Reference."""

    def render(
        view: View,
        before: NDArray[np.float32],
        after: NDArray[np.float32],
        triangles: NDArray[np.int32],
        size: tuple[int, int],
    ) -> Reference:
        first, second = (
            np.column_stack([view.project(v), view.distance - v[:, 2]]).astype(float)
            for v in (before, after)
        )
        flow, nearest, shown = _rasterize(first, second, triangles, *size)
        return Reference(flow, nearest, shown, np.isfinite(nearest))

    return render
