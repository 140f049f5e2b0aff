"""Heads: the interface of the simulator's face models, and how to load one by name.

A head makes identities (`HeadMesh`) from seeds and moves their vertices by AUs. There are two:
"own" (`own_head/head.py`, needs no file) and "ict" (`ict_head/head.py`, needs the ICT-FaceKit
files).

All heads share one frame of reference, in centimetres: +x to the subject's left (image right), +y
up, +z towards the camera. The origin lies in the mid-sagittal plane at the height of the eyes,
8.5 cm behind the eye openings. That is near the middle of the head, so a rotation about the origin
looks natural.

Letters: V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.registry import resolve
from deft_llm.simulator.appearance.skin import Look

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

MATERIALS = (
    "skin",
    "brow",
    "lip",
    "eye_white",
    "iris",
    "pupil",
    "lash",
    "mouth",
    "nostril",
    "hair",
    "teeth",
    "glasses",
)
SKIN = ("skin", "brow", "lip")  # materials that move with the muscles and are seen to
EYE_DEPTH = 8.5
"""z of the eye openings, cm in front of the origin."""

HEADS = {
    "own": "deft_llm.simulator.own_head.head:OwnHead",
    "ict": "deft_llm.simulator.ict_head.head:IctHead",
}


@dataclass(frozen=True)
class SkinMap:
    """Per-vertex data of an identity that `texture.paint` and the wrinkles need.

    Attributes:
        atlas: (V, 2) float32, position on the reference face of `own_head/shape.py`, frontal
            plane, cm, the same for all identities; on eyeballs the direction (x, y) from the
            ball's centre at rest, of length 1 on the edge of the iris.
        base: (V, 3) float32 linear albedo of the bare skin.
        over: (V,) float32 height above the hairline, cm; negative where no hair grows.
        front: (V,) float32, 1 on the front of the head.
        look: the identity's look.
    """

    atlas: FloatArray
    base: FloatArray
    over: FloatArray
    front: FloatArray
    look: Look


@dataclass(frozen=True)
class HeadMesh:
    """One identity, neutral expression, eyes open and looking ahead.

    Attributes:
        vertices: (V, 3) float32, cm, in the frame of the module's docstring.
        triangles: (F, 3) int32, wound so that the normals point outwards.
        uvs: (V, 2) float32 in 0..1, a front-facing unwrapping.
        material: (F,) uint8 index in `MATERIALS`.
        colors: (F, 3) float32 linear RGB albedo in 0..1.
        landmarks: (68,) int32 vertex indices in the iBUG order as seen in the image
            (0-16 jaw from image left, the subject's right; 36-41 the subject's right eye).
        skin: data for texture finer than the triangles; None for a head with plain `colors`.
    """

    vertices: FloatArray
    triangles: IntArray
    uvs: FloatArray
    material: NDArray[np.uint8]
    colors: FloatArray
    landmarks: IntArray
    skin: SkinMap | None = None


class Head(Protocol):
    """A face model: identities from seeds, deformation by AUs."""

    @property
    def name(self) -> str:
        """Name of this head in the registry."""

    @property
    def aus(self) -> tuple[str, ...]:
        """Numbers of the AUs that `deform` knows, for instance ("1", "2")."""

    def identity(self, seed: int) -> HeadMesh:
        """The identity of a seed: the same seed gives the same arrays."""

    def deform(
        self,
        mesh: HeadMesh,
        activations: Mapping[str, float],
        *,
        blink: tuple[float, float] = (0.0, 0.0),
        gaze: tuple[float, float] = (0.0, 0.0),
    ) -> FloatArray:
        """Vertices of an identity under an expression.

        Args:
            mesh: an identity of this head.
            activations: AU code to activation, 0 rest and 1 a full macro-expression. "12" moves
                both sides, "L12" and "R12" the subject's left and right. Nearly linear.
            blink: closure of the subject's (right, left) eye, 0 open and 1 closed.
            gaze: (yaw, pitch) of both eyes in radians; positive yaw looks to the subject's left,
                positive pitch up.

        Returns:
            (V, 3) float32, cm.

        Raises:
            UserError: the head does not have an AU, or the mesh belongs to another head.
        """


def load_head(name: str, path: Path | None = None) -> Head:
    """Load a head by its registry name.

    Args:
        name: "own" or "ict".
        path: the head's file or folder; only "ict" takes one. None takes the one that the
            environment names (`ict_head/files.py`).

    Raises:
        UserError: the name is unknown, or there is no file, or it is unreadable.
    """
    factory = resolve(HEADS, name, "head")
    if name == "own" and path is not None:
        raise UserError(f"the head 'own' takes no file, got {path}; use the head 'ict' for a path")
    head: Head = factory() if name == "own" else factory(path)
    return head


def split_sides(activations: Mapping[str, float], aus: tuple[str, ...]) -> dict[str, float]:
    """Split AU activations by side: a code without a side acts on both; activations add up.

    Returns:
        "L<number>" and "R<number>" to activation; zeros are left out.

    Raises:
        UserError: an AU number is not in `aus`, or an activation is not finite.
    """
    sided: dict[str, float] = {}
    for code, value in activations.items():
        sides, number = ("LR", code) if code[:1] not in ("L", "R") else (code[0], code[1:])
        if number not in aus:
            raise UserError(f"AU code {code!r} is unknown to this head, expected L/R plus {aus}")
        if not np.isfinite(value):
            raise UserError(f"AU {code!r} has activation {value}, expected a finite number")
        for side in sides:
            sided[side + number] = sided.get(side + number, 0.0) + float(value)
    return {code: value for code, value in sided.items() if value != 0.0}


def facing(mesh: HeadMesh, materials: Iterable[str]) -> NDArray[np.intp]:
    """Indices of the vertices of some materials that face the camera."""
    wanted = [MATERIALS.index(name) for name in materials]
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    some = np.unique(mesh.triangles[np.isin(mesh.material, wanted)])
    return np.asarray(some[normals[some, 2] > 0], np.intp)


def vertex_normals(
    vertices: NDArray[np.floating], triangles: IntArray | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Unit normals (V, 3), area-weighted over the triangles around each vertex."""
    a, b, c = (vertices[triangles[:, i]].astype(np.float64) for i in range(3))
    # Not normalised: its length is twice the area, which is the weight.
    normal = np.cross(b - a, c - a)
    total = np.zeros((len(vertices), 3))
    for i in range(3):
        # `+=` with repeated indices would count each vertex only once.
        np.add.at(total, triangles[:, i], normal)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit: NDArray[np.float64] = total / np.maximum(length, 1e-12)
    return unit
