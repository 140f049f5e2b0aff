"""One identity in one clip: everything that is constant, and its states over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.appearance.accessories import wear_glasses
from deft_llm.simulator.appearance.texture import Surface, paint, part_of, places_of
from deft_llm.simulator.appearance.wrinkles import Wrinkles, crease
from deft_llm.simulator.head import MATERIALS, SKIN, Head, HeadMesh, facing
from deft_llm.simulator.render import splat
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.scene.clip_spec import FRAME_SIZE, ClipSpec
from deft_llm.simulator.scene.life import Dragged

Floats = NDArray[np.float32]
CANONICAL_INTEROCULAR = 80.0  # px, as media/face.py places the canonical landmarks
_SPACING_PX = 2.5  # between neighbouring Gaussians, as a frontal face shows them
_DETAIL = (
    (("brow", "lash", "lip", "nostril"), 0.6),
    (("eye_white", "iris", "pupil"), 0.5),
    (("hair", "mouth"), 1.4),
)
"""Materials and the share of `_SPACING_PX` at which their Gaussians are spaced."""
_INSIDE = np.array(
    [MATERIALS.index(name) for name in ("eye_white", "iris", "pupil", "mouth", "teeth")], np.uint8
)
_RECESS_CM = 1.0  # eyes and mouth are sorted as if they lay this much deeper
_PROBE = 0.2  # activation at which the displacement of an AU is measured
_MAX_ACTIVATION = 1.5


class Shown(Protocol):
    """An expression: its AUs, and how far they move the skin; see ``ClipSpec``."""

    @property
    def aus(self) -> tuple[str, ...]:
        """AU codes."""

    @property
    def amplitudes(self) -> tuple[float, ...]:
        """Shares of the peak."""

    @property
    def asymmetry(self) -> tuple[float, ...]:
        """Excess of the subject's left."""

    @property
    def peak_px(self) -> float:
        """Largest displacement."""

    @property
    def dragged(self) -> tuple[Dragged, ...]:
        """Skin that moves along."""


class Scene:
    """One identity in one clip: everything that is constant, and its states over time."""

    def __init__(self, spec: ClipSpec, head: Head) -> None:
        self.spec, self.head = spec, head
        self.face = head.identity(spec.identity)
        self.mesh = wear_glasses(self.face)
        # Glasses are no part of the head that deforms, so their vertices are kept apart.
        self.worn = self.mesh.vertices[len(self.face.vertices) :]
        self.gaussians = splat.bind(
            self.mesh.vertices, self.mesh.triangles, _spacing(self.mesh, spec.size)
        )
        self.albedo, self.gloss, self.wrinkles = _surface(self.mesh, self.gaussians)
        self.skin = facing(self.face, SKIN)
        self.eye_gap = _eye_gap(self.mesh)
        self.view = _view(spec, self.mesh, self.eye_gap)
        self.times = np.arange(spec.curve.frames) / spec.fps
        self.movements = [(m, m.values(self.times)) for m in spec.movements]
        nod = sum((m.nod * levels.astype(np.float64) for m, levels in self.movements), 0.0)
        px_per_cm = CANONICAL_INTEROCULAR / self.eye_gap
        self.turned = np.zeros(len(self.times))
        angles = np.zeros(3)
        if spec.turn is not None:
            self.turned, angles = spec.turn.share(self.times), np.array(spec.turn.angles)
        turn = self.turned[:, None] * angles
        self.rotations, self.shifts = spec.motion.values(self.times, px_per_cm, nod, turn)
        self.gaze = spec.gaze.values(self.times)
        still = np.zeros((len(self.times), 2), np.float32)
        self.blink = still if spec.blink is None else spec.blink.values(self.times)
        self.level = spec.curve.values()
        self.activations = self.activations_of(spec)
        self._state: tuple[Any, Floats] | None = None
        self.layer = self._drawing_depth()

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle the recipe instead of the arrays: rebuilding them is deterministic.
        return Scene, (self.spec, self.head)

    def expression(self, frame: int) -> dict[str, float]:
        """AU codes to activations in a frame, distractors included; AUs at rest are left out."""
        level = float(self.level[frame])
        acting = {au: level * full for au, full in self.activations.items() if level > 0}
        for movement, levels in self.movements:
            for au, full in zip(movement.aus, movement.activations, strict=True):
                if levels[frame] > 0:
                    acting[au] = acting.get(au, 0.0) + float(levels[frame]) * full
        return acting

    def vertices(self, frame: int) -> Floats:
        """The face of a frame with its accessories, before the head pose, (V, 3)."""
        acting = self.expression(frame)
        blink = (float(self.blink[frame, 0]), float(self.blink[frame, 1]))
        gaze = (float(self.gaze[frame, 0]), float(self.gaze[frame, 1]))
        # Frames at rest repeat one state, and flow asks for a frame in several head poses.
        key = (acting, blink, gaze)
        if self._state is None or self._state[0] != key:
            deformed = self.head.deform(self.face, acting, blink=blink, gaze=gaze)
            self._state = (key, np.concatenate([deformed, self.worn]))
        return self._state[1]

    def posed(self, frame: int, pose: int) -> Floats:
        """The face of one frame in the head pose of another, (V, 3)."""
        turned: Floats = self.vertices(frame) @ self.rotations[pose].T + self.shifts[pose]
        return turned

    def splats(self, frame: int, pose: int) -> splat.Splats:
        """The projected Gaussians of one state, with the drawing order of the clip."""
        posed = self.posed(frame, pose)
        placed = splat.place(self.gaussians, posed, self.mesh.triangles, self.view)
        return replace(placed, layer=self.layer)

    def flow(self, i: int, j: int, pose: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Flow (2, H, W) and mask from frame ``i`` to the face of ``j`` in a given pose."""
        size = (self.spec.size, self.spec.size)
        before, after = self.splats(i, i), self.splats(j, pose)
        return splat.flow(before, after, self.gaussians.opacity, size)

    def exposures(self) -> Iterator[tuple[NDArray[np.uint8], Floats]]:
        """Every frame (H, W, 3) with its landmarks (68, 2) in turn, without ``lighting``."""
        spec = self.spec
        size = (spec.size, spec.size)
        albedo = spec.sensor.develop(self.albedo, spec.light.tint)
        backdrop = spec.sensor.backdrop(spec.size)
        # Variances of Gaussians add, so the lens blur is part of the splats and costs nothing.
        low_pass = splat.LOW_PASS + spec.sensor.blur**2
        for t, seconds in enumerate(self.times):
            splats = self.splats(t, t)
            lit = self._carve(splats.normal, t)
            colours = spec.light.shade(albedo, splats.normal, float(seconds), lit, self.gloss)
            image = splat.composite(splats, self.gaussians.opacity, colours, size, low_pass)
            landmarks = self.view.project(self.posed(t, t)[self.mesh.landmarks])
            yield spec.sensor.expose(*image, backdrop, t), landmarks

    def film(self) -> tuple[NDArray[np.uint8], Floats]:
        """All frames (T, H, W, 3) and landmarks (T, 68, 2)."""
        spec = self.spec
        frames = np.empty((len(self.times), spec.size, spec.size, 3), np.uint8)
        landmarks = np.empty((len(self.times), 68, 2), np.float32)
        for t, (frame, points) in enumerate(self.exposures()):
            frames[t], landmarks[t] = frame, points
        return frames if spec.lighting is None else spec.lighting.cast(frames), landmarks

    def _carve(self, normals: Floats, frame: int) -> Floats:
        """Wrinkle the normals of a frame in place; returns the share of light (N,) they get."""
        if self.wrinkles is None:
            return np.ones(len(normals), np.float32)
        return self.wrinkles.carve(normals, self.expression(frame))

    def _drawing_depth(self) -> Floats:
        """Depth of each Gaussian in the neutral face, first or half turned, (N,).

        If every frame is sorted anew, neighbours of nearly equal depth swap places and the texture
        flickers. The head moves by a few degrees and millimetres in a clip, so one order serves
        all frames, provided eyeballs and mouth are always behind lids and lips. The difference
        from frames warped by the exact flow is then 10 to 25 % smaller. If the head turns, the
        pose in the middle of the turn is the nearest to all others.
        """
        middle = int(np.abs(self.turned - self.turned[-1] / 2).argmin())
        neutral = self.mesh.vertices @ self.rotations[middle].T + self.shifts[middle]
        placed = splat.place(self.gaussians, neutral, self.mesh.triangles, self.view)
        inside = np.isin(self.mesh.material, _INSIDE)[self.gaussians.triangle]
        return (placed.depth + _RECESS_CM * inside).astype(np.float32)

    def activations_of(self, shown: Shown) -> dict[str, float]:
        """Activations at the apex, such that the skin moves by at most ``peak_px`` from rest.

        Each AU is first scaled to its own share of the peak, since heads differ in what an
        activation of 1 means. Then all are scaled together until the sum fits.
        """
        full: dict[str, float] = {}
        acting = list(zip(shown.aus, shown.amplitudes, shown.asymmetry, strict=True))
        for drag in shown.dragged:
            if str(drag.au) not in self.head.aus:
                continue
            _, share, excess = acting[shown.aus.index(drag.by)]
            side = drag.by[0] if drag.by[0] in "LR" else ""
            acting.append((f"{side}{drag.au}", drag.share * share, excess))
        for code, share, excess in acting:
            sides = _sides(code, excess)
            reach = self._peak({au: _PROBE * value for au, value in sides.items()})
            # The floor stops an AU that moves no visible skin from getting a huge activation.
            gain = _PROBE * share * shown.peak_px / max(reach, 1e-3)
            for au, value in sides.items():
                full[au] = full.get(au, 0.0) + gain * value
        # Repeated: the response is only nearly linear, and the cap changes it.
        for _ in range(3 if full else 0):
            gain = shown.peak_px / max(self._peak(full), 1e-3)
            full = {au: min(gain * value, _MAX_ACTIVATION) for au, value in full.items()}
        return full

    def _peak(self, activations: dict[str, float]) -> float:
        """Largest displacement of visible skin under these activations, canonical px."""
        moved = self.head.deform(self.face, activations)[self.skin]
        before = self.view.project(self.face.vertices[self.skin])
        distance = np.linalg.norm(self.view.project(moved) - before, axis=1).max()
        return float(distance) * CANONICAL_INTEROCULAR / self.spec.framing.interocular


def _sides(code: str, excess: float) -> dict[str, float]:
    """Split a code into one-sided activations: "12" -> {"L12": 1 + excess, "R12": 1 - excess}."""
    if code[0] in "LR":
        return {code: 1.0}
    return {f"L{code}": 1 + excess, f"R{code}": 1 - excess}


def _eye_gap(mesh: HeadMesh) -> float:
    """Distance between the eye centres, cm."""
    points = mesh.vertices[mesh.landmarks]
    return float(np.linalg.norm(points[42:48].mean(axis=0) - points[36:42].mean(axis=0)))


def _view(spec: ClipSpec, mesh: HeadMesh, eye_gap: float) -> View:
    eyes = mesh.vertices[mesh.landmarks[36:48]].mean(axis=0)
    return spec.framing.view(spec.size, eye_gap, float(eyes[2]))


def _surface(mesh: HeadMesh, gaussians: splat.Gaussians) -> tuple[Floats, Floats, Wrinkles | None]:
    """Linear albedo (N, 3) and gloss (N,) of the Gaussians, and the wrinkles on them."""
    if mesh.skin is None:
        return mesh.colors[gaussians.triangle], np.zeros(len(gaussians), np.float32), None
    part = part_of(mesh.material)[gaussians.triangle]
    places = places_of(mesh.skin, gaussians.corners, gaussians.weights, part)
    look = mesh.skin.look
    surface: Surface = paint(places, look, np.random.default_rng([look.seed, 4]))
    albedo, gloss = surface.albedo.astype(np.float32), surface.gloss.astype(np.float32)
    return albedo, gloss, crease(places, look)


def _spacing(mesh: HeadMesh, size: int) -> Floats:
    """Distance between Gaussians for each triangle, cm.

    Fine on brows, lashes, lips and eyes, coarse on the hair and where seen at a slant. Triangles
    behind the ears that face away are never visible and get no Gaussians.
    """
    corners = mesh.vertices[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    toward = normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    usual = CANONICAL_INTEROCULAR * size / FRAME_SIZE
    wanted = np.full(len(corners), _SPACING_PX)
    for names, share in _DETAIL:
        wanted[np.isin(mesh.material, [MATERIALS.index(name) for name in names])] *= share
    # A slanted triangle looks shorter, so its Gaussians may be farther apart; the clip limits
    # how coarse it gets.
    spacing = wanted * _eye_gap(mesh) / usual / np.sqrt(toward.clip(0.3))
    spacing[(toward < -0.3) & (corners[:, :, 2].max(axis=1) < 0)] = np.inf
    return spacing.astype(np.float32)
