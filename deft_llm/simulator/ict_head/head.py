"""The ICT-FaceKit head behind the interface of `head.py`.

R. Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020. The model's
expressions are FACS shapes, its identities are principal components of scans. Our own choices: the
weights of `AU_SHAPES` where one AU needs several shapes, the split of shapes that have no sides,
and all colours (the light model has no textures).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.simulator.appearance.skin import draw_look
from deft_llm.simulator.appearance.texture import paint_triangles
from deft_llm.simulator.head import EYE_DEPTH, FloatArray, HeadMesh, split_sides, vertex_normals
from deft_llm.simulator.ict_head.files import SOCKET, IctData, read_ict
from deft_llm.simulator.ict_head.paint import atlas, parts, skin_map
from deft_llm.simulator.lids import turn
from deft_llm.simulator.muscles import au_fields, side_weights
from deft_llm.simulator.own_head.shape import Array, smoothstep

# AU -> shapes of the model with weights; "_L"/"_R" is added where the model has sides.
AU_SHAPES: dict[str, dict[str, float]] = {
    "1": {"browInnerUp": 1.0},
    "2": {"browOuterUp": 1.0},
    "4": {"browDown": 1.0},
    "5": {"eyeWide": 1.0},
    "6": {"cheekSquint": 0.5, "cheekRaiser": 0.5},
    "7": {"eyeSquint": 1.0},
    "8": {"mouthRollUpper": 0.15, "mouthRollLower": 0.15, "mouthPress": 0.5},
    "9": {"noseSneer": 1.0},
    "10": {"mouthShrugUpper": 0.5, "mouthUpperUp": 0.7},
    "12": {"mouthSmile": 1.0},
    "14": {"mouthDimple": 1.0},
    "15": {"mouthFrown": 1.0},
    "16": {"mouthLowerDown": 1.0},
    "17": {"mouthShrugLower": 1.0},
    "18": {"mouthPucker": 1.0},
    "20": {"mouthStretch": 1.0},
    "22": {"mouthFunnel": 1.0},
    "23": {"mouthRollUpper": 0.3, "mouthRollLower": 0.3, "mouthPucker": 0.4},
    "24": {"mouthPress": 1.0},
    "25": {"mouthLowerDown": 0.6, "mouthUpperUp": 0.3},
    "26": {"jawOpen": 0.4},
    "27": {"jawOpen": 0.9},
    "28": {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},
    "43": {"eyeBlink": 1.0},
    "45": {"eyeBlink": 1.0},
}
_BORROWED = ("13", "38", "39")  # missing in the model: taken from the own head's muscles
_HIDDEN = (
    *("M_EyeOcclusion", "M_LacrimalFluid", "M_EyeBlend", "M_EyeLashes"),  # translucent
    *("M_IrisLeft", "M_IrisRight"),  # the inner eyeballs; the outer ones are painted instead
    "M_GumsTongue",  # pierces the chin when the lips move alone
)
_SOCKET_SETBACK = 0.6  # cm that the mouth's walls are moved back; they pierce the chin otherwise
_LOOK_RANGE = 0.5  # radians of gaze at which the eyeLook shapes have weight 1
_IDENTITY_SPREAD = 0.8  # standard deviations; wider draws give implausible faces


class IctHead:
    """The head named "ict"; see `deft_llm.simulator.head.Head` for the interface.

    Args:
        path: `ict_facekit.safetensors`, or the official OBJ folder; None takes the one that
            `DEFT_ICT` or `DEFT_DATA` names.

    Raises:
        UserError: the path is missing, or the files are not those of the model.
    """

    name = "ict"

    def __init__(self, path: Path | None) -> None:
        data = read_ict(path)
        used = ~np.isin(data.material, _HIDDEN)
        # Drop the vertices that no used triangle needs, and renumber the triangles.
        keep, triangles = np.unique(data.triangles[used], return_inverse=True)
        lookup = np.full(len(data.neutral), -1, dtype=np.int32)
        lookup[keep] = np.arange(len(keep))
        self._material = data.material[used]
        self._triangles = triangles.reshape(-1, 3).astype(np.int32)
        self._landmarks = lookup[data.landmarks]
        if (self._landmarks < 0).any():
            raise UserError(f"{path}: landmark vertices lie on no face of the head")
        eyes = data.neutral[data.landmarks[36:48]].mean(axis=0)
        self._neutral = data.neutral[keep] - (eyes - [0.0, 0.0, EYE_DEPTH])
        # Keep the model's own x: the halves are split at x = 0.
        self._neutral[:, 0] = data.neutral[keep, 0]
        self._neutral[self._vertices_of(SOCKET), 2] -= _SOCKET_SETBACK
        self._identities = data.identities[:, keep]
        self._uvs = data.uvs[keep]
        self._eyeballs = [self._vertices_of(f"M_Sclera{side}") for side in ("Left", "Right")]
        self._parts = parts(self._material)
        self._plane = atlas(self._neutral, self._landmarks, self._eyeballs)
        self._face = np.zeros(len(self._neutral), dtype=bool)
        self._face[self._vertices_of("M_Face")] = True
        self._face[self._vertices_of("M_BackHead")] = True
        self._shapes = _sided_shapes(data, keep)
        self._fields = {**self._model_fields(), **self._borrowed_fields()}
        self.aus = tuple(sorted({code[1:] for code in self._fields}, key=int))

    def _vertices_of(self, material: str) -> NDArray[np.int64]:
        return np.unique(self._triangles[self._material == material])

    def _model_fields(self) -> dict[str, FloatArray]:
        """Displacement of each one-sided AU; AUs without any shape in the files are left out."""
        fields: dict[str, FloatArray] = {}
        for au, shapes in AU_SHAPES.items():
            for side in "LR":
                found = {s: w for s, w in shapes.items() if side + s in self._shapes}
                if found:
                    # If some shapes are missing, the others take over their weight.
                    share = sum(shapes.values()) / sum(found.values())
                    field = np.zeros_like(self._neutral)
                    for shape, weight in found.items():
                        field += np.float32(weight * share) * self._shapes[side + shape]
                    fields[side + au] = field
        return fields

    def _borrowed_fields(self) -> dict[str, FloatArray]:
        normals = vertex_normals(self._neutral, self._triangles)
        skin = np.zeros(len(self._neutral))
        skin[self._vertices_of("M_Face")] = 1.0
        plane = self._neutral[:, :2].astype(np.float64)
        fields = au_fields(plane, normals, np.zeros(len(plane), dtype=bool))
        # Fade out towards the back: the fields are defined in the frontal plane.
        sides = side_weights(plane[:, 0]) * skin * smoothstep(self._neutral[:, 2], 3.0, 6.0)
        return {
            side + au: (fields[au] * sides[i][:, None]).astype(np.float32)
            for au in _BORROWED
            for i, side in enumerate("LR")
        }

    def identity(self, seed: int) -> HeadMesh:
        """The identity of a seed (0 or more): random weights of the model's identity modes."""
        if seed < 0:
            raise UserError(f"identity seed {seed}, expected 0 or more")
        rng = np.random.default_rng([1968, seed])
        weights = np.clip(rng.normal(0.0, 1.0, len(self._identities)), -2.0, 2.0)
        weights = (_IDENTITY_SPREAD * weights).astype(np.float32)
        vertices = self._neutral + np.tensordot(weights, self._identities, axes=1)
        eyes = vertices[self._landmarks[36:48]].mean(axis=0)
        # The identity modes move the eyes; put them back where every head has them.
        vertices += np.array([0.0, -eyes[1], EYE_DEPTH - eyes[2]], dtype=np.float32)
        skin = skin_map(vertices, self._plane, self._face, self._landmarks, draw_look(rng))
        surface = paint_triangles(skin, self._triangles, self._parts)
        return HeadMesh(
            vertices=vertices.astype(np.float32),
            triangles=self._triangles.copy(),
            uvs=self._uvs.copy(),
            material=surface.material,
            colors=surface.albedo.astype(np.float32),
            landmarks=self._landmarks.copy(),
            skin=skin,
        )

    def deform(
        self,
        mesh: HeadMesh,
        activations: Mapping[str, float],
        *,
        blink: tuple[float, float] = (0.0, 0.0),
        gaze: tuple[float, float] = (0.0, 0.0),
    ) -> FloatArray:
        """Vertices under an expression; see `Head.deform`."""
        if len(mesh.vertices) != len(self._neutral):
            raise UserError(
                f"a mesh of {len(mesh.vertices)} vertices, this head has {len(self._neutral)}; "
                "deform a mesh with the head that made it"
            )
        moved = mesh.vertices.copy()
        for code, value in split_sides(activations, self.aus).items():
            moved += np.float32(value) * self._fields[code]
        for shape, weight in _eye_weights(blink, gaze).items():
            # In and Out, Up and Down have opposite weights: only the positive one acts.
            if weight > 0 and shape in self._shapes:
                moved += np.float32(weight) * self._shapes[shape]
        for ball in self._eyeballs:
            if len(ball) and any(gaze):
                points = mesh.vertices[ball].astype(np.float64)
                centre: Array = 0.5 * (points.min(axis=0) + points.max(axis=0))
                # Turned from rest, so that a shape that moves the eyeball too cannot turn it twice.
                moved[ball] = turn(points, centre, *gaze)
        return moved


def _sided_shapes(data: IctData, keep: NDArray[np.integer]) -> dict[str, FloatArray]:
    """Shapes by side letter and name ("LbrowDown"); shapes without sides are split."""
    sides = side_weights(data.neutral[keep, 0].astype(np.float64)).astype(np.float32)
    shapes = {}
    for name, delta in data.expressions.items():
        stem, _, side = name.rpartition("_")
        if side in ("L", "R"):
            shapes[side + stem] = delta[keep]
        else:
            for i, letter in enumerate("LR"):
                shapes[letter + name] = delta[keep] * sides[i][:, None]
    return shapes


def _eye_weights(blink: tuple[float, float], gaze: tuple[float, float]) -> dict[str, float]:
    """Weights of the blink shapes, and of the shapes that make lids and skin follow the gaze."""
    yaw, pitch = gaze[0] / _LOOK_RANGE, gaze[1] / _LOOK_RANGE
    weights = {"ReyeBlink": blink[0], "LeyeBlink": blink[1]}
    for side, outward in (("L", yaw), ("R", -yaw)):
        weights |= {
            f"{side}eyeLookOut": outward,
            f"{side}eyeLookIn": -outward,
            f"{side}eyeLookUp": pitch,
            f"{side}eyeLookDown": -pitch,
        }
    return weights
