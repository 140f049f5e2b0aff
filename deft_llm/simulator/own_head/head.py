"""The project's own parametric head: a face from a seed, moved by muscles, without external files.

About 6,500 vertices. `shape` defines the reference face, `mesh` triangulates it, `identity` and
`paint` make identities, `muscles` and `lids` move them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deft_llm.errors import UserError
from deft_llm.simulator.appearance.skin import draw_look
from deft_llm.simulator.appearance.texture import paint_triangles
from deft_llm.simulator.head import FloatArray, HeadMesh, split_sides, vertex_normals
from deft_llm.simulator.lids import lid_positions, lids, turn
from deft_llm.simulator.muscles import LID_ACTIONS, MUSCLES, au_fields, side_weights
from deft_llm.simulator.own_head import shape
from deft_llm.simulator.own_head.identity import shape_modes, shape_weights
from deft_llm.simulator.own_head.mesh import own_topology
from deft_llm.simulator.own_head.paint import hair_thickness, parts, skin_map
from deft_llm.simulator.own_head.parts import SHELLS
from deft_llm.simulator.own_head.shape import Array


class OwnHead:
    """The head named "own"; see `deft_llm.simulator.head.Head` for the interface."""

    name = "own"
    aus = tuple(MUSCLES)

    def __init__(self) -> None:
        self._mesh = own_topology()
        self._modes, self._eye_share = shape_modes(self._mesh)
        self._parts = parts(self._mesh)
        skull = self._mesh.part == 0
        self._normals = vertex_normals(self._mesh.reference, self._mesh.triangles)
        fields = au_fields(self._mesh.plane, self._normals, self._mesh.below)
        # The AU fields move the front of the skull only and fade out towards the ears.
        fading = np.where(skull, shape.smoothstep(self._mesh.reference[:, 2], -1.0, 2.5), 0.0)
        sides = side_weights(self._mesh.plane[:, 0]) * fading
        self._fields = {
            side + au: (field * sides[i][:, None]).astype(np.float32)
            for au, field in fields.items()
            for i, side in enumerate("LR")
        }
        self._lids = [lids(self._mesh, side) for side in (0, 1)]
        self._eyeballs = [
            np.flatnonzero(self._mesh.part == SHELLS.index(f"{side} eye"))
            for side in ("left", "right")
        ]

    def identity(self, seed: int) -> HeadMesh:
        """The identity of a seed (any integer from 0); the same seed gives the same bytes."""
        if seed < 0:
            raise UserError(f"identity seed {seed}, expected 0 or more")
        rng = np.random.default_rng([68, seed])
        mesh = self._mesh
        # The order of the draws from one stream defines the identities: do not change it.
        weights = shape_weights(rng, len(self._modes))
        vertices = mesh.reference + np.tensordot(weights, self._modes, axes=1)
        look = draw_look(rng)
        vertices += self._normals * hair_thickness(mesh, look)[:, None]
        skin = skin_map(mesh, look)
        surface = paint_triangles(skin, mesh.triangles, self._parts)
        vertices = self._above_eyeballs(vertices)
        return HeadMesh(
            vertices=vertices.astype(np.float32),
            triangles=mesh.triangles.copy(),
            uvs=self._uvs(),
            material=surface.material,
            colors=surface.albedo.astype(np.float32),
            landmarks=mesh.landmarks.copy(),
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
        if len(mesh.vertices) != len(self._mesh.reference):
            raise UserError(
                f"a mesh of {len(mesh.vertices)} vertices, the head 'own' has "
                f"{len(self._mesh.reference)}; deform a mesh with the head that made it"
            )
        sided = split_sides(activations, self.aus)
        points = mesh.vertices.astype(np.float64)
        moved = points.copy()
        for code, value in sided.items():
            moved += value * self._fields[code]
        for side, name in enumerate("LR"):
            upper, lower = (
                sum(
                    value * LID_ACTIONS[code[1:]][i]
                    for code, value in sided.items()
                    if code[0] == name and code[1:] in LID_ACTIONS
                )
                for i in (0, 1)
            )
            # blink is (right, left), side 0 is left.
            shut = blink[1 - side]
            full = LID_ACTIONS["45"]
            closure = lid_positions(upper + shut * full[0], lower + shut * full[1], gaze[1])
            # Closure is a share of the opening at rest, so it is computed from the rest positions.
            lid = self._lids[side]
            moved[lid.vertices, 1] += lid.closure(points, *closure)
            self._keep_off(moved, points, side, slack=1e-4)
            ball = self._eyeballs[side]
            moved[ball] = turn(points[ball], self._eye(points, side), *gaze)
        return moved.astype(np.float32)

    def _eye(self, points: Array, side: int) -> Array:
        """Centre of the eyeball: one radius behind its front pole."""
        pole = points[self._eyeballs[side][0]]
        return pole - np.array([0.0, 0.0, shape.EYEBALL_RADIUS])

    def _keep_off(self, moved: Array, points: Array, side: int, slack: float = 0.0) -> None:
        """Lift lid vertices that sink into the eyeball by more than `slack` cm, in place.

        The slack absorbs the rounding of stored vertices, so that the face at rest does not move.
        """
        chosen = self._lids[side].vertices
        radius = shape.EYEBALL_RADIUS + shape.LID_THICKNESS
        floor = shape.lid_floor(moved[chosen, :2], self._eye(points, side), radius)
        moved[chosen, 2] = np.maximum(moved[chosen, 2], floor - slack)

    def _above_eyeballs(self, vertices: Array) -> Array:
        for side in (0, 1):
            self._keep_off(vertices, vertices, side)
        return vertices

    def _uvs(self) -> FloatArray:
        disc = self._mesh.disc
        low, high = disc.min(axis=0), disc.max(axis=0)
        return ((disc - low) / (high - low)).astype(np.float32)
