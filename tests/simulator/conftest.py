"""A stand-in for a head: an ellipsoid whose "AUs" push two patches of its front."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.simulator.head import EYE_DEPTH, MATERIALS, Head, HeadMesh

_SKIN = MATERIALS.index("skin")
_PATCHES = {
    "1": (2.5, 3.0, (0.0, 1.0)),
    "12": (2.5, -6.0, (0.7, 0.7)),
    "4": (1.5, 2.0, (-0.3, -1.0)),
}


class EllipsoidHead:
    """Follows the `Head` protocol with about 5,000 triangles."""

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
