"""Simulated onset-to-apex flow images like the published ones, made without rendering frames.

The vertices of a head move by AUs drawn from real codings. Their projected motion and shaded
colours are averaged on a small grid. An estimator sees motion only where there is texture (brows,
lids, nostrils and lips), and only across an edge. So we pass the exact motion through the
equations of Lucas and Kanade with the gradients of that grid, with image noise and a pull towards
a coarser estimate. The result is as sparse and patchy as real flow. ``motion.encoding.stretch``
then maps it to 8 bits. Crop geometry, amplitudes and nuisance motion follow measurements on
published images (28x28, from crops of 170x140). The grid and its constants are our own, set so
that kurtosis and neighbour correlation come near those of real flow (8, 10, 24 and .91, .93, .74
for u, v, strain). No real label is used.

Letters: N images, V vertices, K AUs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.motion.strain import optical_strain
from deft_llm.simulator.head import MATERIALS, Head, HeadMesh
from deft_llm.simulator.scene.statistics import combinations

Floats = NDArray[np.float32]

CODED_SIDE = 28
AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24)
"""AUs that are labelled; rarer ones move the face without a label."""
_FINE = 3  # grid cells along each pixel of the image
_SHOWN = [
    MATERIALS.index(m)
    for m in ("skin", "brow", "lip", "eye_white", "iris", "pupil", "lash", "nostril", "hair")
]
_WINDOWS = (10.0, 4.0, 1.3)  # SD of the estimator's windows, grid cells, coarse to fine
# Geometry in pixels of the 28x28 image: eye gap, mid-eye (x, y), and the range of the vertical
# squeeze. The squeeze puts mouths, 1.07 gaps below the eyes on either head, into the rows where
# the published crops have them.
_CROPS = ((16.0, 13.75, 7.4, (0.7, 0.82)), (13.1, 13.65, 5.3, (0.76, 0.83)))  # SMIC's, SAMM's
_SQUEEZE = 140 / 170  # pixel aspect of the published crops
_DISTANCE = 80.0  # camera to eyes, cm
_FACES_PER_SEED = 1_000_003  # keeps the faces of different draws apart
_FIRST_OF_CLIPS = 1_000  # first face of sets of clips, where a recipe says no other (scene/sets.py)


class FlowImageSettings(Settings):
    """Settings of a draw; equal settings give equal images.

    Attributes:
        images: Number of images.
        per_identity: Images of each face.
        head: Name of the head model.
        head_path: Its file, for heads that need one; by default DEFT_ICT or the DEFT_DATA folder.
        seed: Seed of the whole draw. Its faces are those from ``seed * 1_000_003`` on: other seeds
            have other faces. Sets of clips have faces from 1,000 to a million, so seed 0 is for up
            to 1,000 faces.
        amplitude: Range of the log-uniform strength, share of a full expression.
        blink: Share of images with a blink between the frames.
        gaze: Share with a gaze shift.
        stray: Share with a weak extra AU that is not part of the expression.
        noise: Range of the image noise, share of full brightness.
        stiffness: Range of the estimator's pull towards its coarser estimate.
        turn: SD of the head rotation between the frames, rad.
        drift: SD of the head translation between the frames, cm.
    """

    images: int = Field(default=6000, ge=1)
    per_identity: int = Field(default=8, ge=1)
    head: str = "own"
    head_path: Path | None = None
    seed: int = Field(default=0, ge=0)
    amplitude: tuple[float, float] = (0.08, 0.5)
    blink: float = 0.45
    gaze: float = 0.4
    stray: float = 0.4
    noise: tuple[float, float] = (0.0006, 0.008)
    stiffness: tuple[float, float] = (3e-5, 1e-3)
    turn: float = 0.0015
    drift: float = 0.012

    @model_validator(mode="after")
    def _no_face_of_a_clip(self) -> FlowImageSettings:
        faces = -(-self.images // self.per_identity)
        if self.seed == 0 and faces > _FIRST_OF_CLIPS:
            raise ValueError(
                f"{faces} faces of seed 0 reach into those of simulated clips, {_FIRST_OF_CLIPS} "
                "and on; give another seed, or more images per_identity"
            )
        return self


def draw_images(
    settings: FlowImageSettings, head: Head, rows: Iterable[int]
) -> Iterator[tuple[Floats, int, NDArray[np.uint8], int]]:
    """Draw some images of a set; none depends on the others.

    Args:
        settings: What to draw.
        head: Its head model.
        rows: Numbers of the images in the set.

    Yields:
        Field (3, 28, 28), label, AUs (K, 2) and face of each image.
    """
    table = _by_class()
    shown, camera = -1, None
    for i in rows:
        face = settings.seed * _FACES_PER_SEED + i // settings.per_identity
        if face != shown or camera is None:
            shown, camera = face, _Face(head, head.identity(face))
        # A stream per image: no image depends on those before it.
        rng = np.random.default_rng([7, settings.seed, i])
        # Classes in turn, so that the set is balanced.
        label = i % len(facs.THREE_CLASSES)
        codes, counts = table[label]
        code = codes[rng.choice(len(codes), p=counts)]
        acts = _activations(rng, code, settings, head.aus)
        yield camera.flow(rng, acts, settings), label, _au_marks(code), face


def _by_class() -> list[tuple[list[tuple[str, ...]], NDArray[np.float64]]]:
    """AU combinations of each of the three classes, with their mirror images, and their shares."""
    found: list[dict[tuple[str, ...], float]] = [{} for _ in facs.THREE_CLASSES]
    for emotion, table in combinations().items():
        label = facs.to_three(emotion)
        if label is None:
            continue
        group = found[facs.THREE_CLASSES.index(label)]
        for code, count in table.items():
            codes = tuple(code.split("+"))
            # Left and right are equally likely, whatever bias the corpora have.
            for seen in (codes, tuple(map(facs.mirror_au, codes))):
                group[seen] = group.get(seen, 0.0) + count
    return [(list(group), np.array(list(group.values())) / sum(group.values())) for group in found]


def _au_marks(codes: tuple[str, ...]) -> NDArray[np.uint8]:
    coded = np.zeros((len(AUS), 2), np.uint8)
    for code in codes:
        if facs.au_number(code) in AUS:
            for side in facs.au_sides(code):
                coded[AUS.index(facs.au_number(code)), 0 if side == "left" else 1] = 1
    return coded


def _activations(
    rng: np.random.Generator,
    codes: tuple[str, ...],
    settings: FlowImageSettings,
    known: tuple[str, ...],
) -> dict[str, float]:
    """Sided activations: one strength for the clip, spread over AUs and sides."""
    strength = np.exp(rng.uniform(*np.log(settings.amplitude)))
    acts: dict[str, float] = {}
    stray = [f"{'LR'[rng.integers(2)]}{rng.choice(AUS)}"] if rng.random() < settings.stray else []
    for code in (*codes, *stray):
        number = str(facs.au_number(code))
        share = rng.uniform(0.05, 0.3) if code in stray else rng.uniform(0.5, 1.0)
        for side in facs.au_sides(code):
            if number in known:
                name = ("L" if side == "left" else "R") + number
                uneven = np.exp(rng.normal(0, 0.25))
                acts[name] = acts.get(name, 0.0) + float(strength * share * uneven)
    return acts


class _Face:
    """One identity in front of the camera."""

    def __init__(self, head: Head, mesh: HeadMesh) -> None:
        self.head, self.mesh = head, mesh
        shown = mesh.triangles[np.isin(mesh.material, _SHOWN)]
        corners = mesh.vertices[shown]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        # The grid has no depth test: drop triangles that face away or nearly do (81 degrees).
        seen = normals[:, 2] > 0.15
        self.triangles, self.normals = shown[seen], normals[seen].astype(np.float32)
        colours = mesh.colors[np.isin(mesh.material, _SHOWN)][seen]
        # Albedo is linear; an estimator works on display values.
        self.grey = colours.mean(1) ** (1 / 2.2)
        points = mesh.vertices[mesh.landmarks]
        self.gap = float(points[42:48, 0].mean() - points[36:42, 0].mean())
        self.depth = float(points[36:48, 2].mean()) + _DISTANCE

    def flow(
        self, rng: np.random.Generator, acts: dict[str, float], settings: FlowImageSettings
    ) -> Floats:
        """u, v, strain (3, 28, 28) of one clip, in pixels of the 28x28 image."""
        look = rng.normal(0, 0.04, 2)
        shift = rng.normal(0, 0.06, 2) if rng.random() < settings.gaze else np.zeros(2)
        # Below 0 the eyes are shut at onset and open at apex; above 0 the other way round.
        shut = rng.uniform(-0.5, 0.9) if rng.random() < settings.blink else 0.0
        start, end = max(0.0, -shut), max(0.0, shut)
        before = self.head.deform(self.mesh, {}, blink=(start, start), gaze=_pair(look))
        after = self.head.deform(self.mesh, acts, blink=(end, end), gaze=_pair(look + shift))
        pose = rng.normal(0, (0.06, 0.08, 0.025))
        moved = pose + rng.normal(0, settings.turn, 3)
        project = self._crop(rng)
        first = project(before @ _rotation(pose).T)
        step = rng.normal(0, settings.drift, 3)
        second = project(after @ _rotation(moved).T + step.astype(np.float32))
        exact, image = self._spread(first, (second - first) * _FINE, self._shaded(rng))
        fine = _estimate(rng, exact, image, settings) / _FINE
        # The rows are squeezed; undo that for v, so that strain has the proportions of the face.
        strain = optical_strain(np.stack([fine[0], fine[1] / _SQUEEZE]))
        # Published images were downscaled without smoothing, so thin lines stay thin: take the
        # middle cell of each pixel.
        small: Floats = np.stack([*fine, strain])[:, 1::_FINE, 1::_FINE]
        return small

    def _shaded(self, rng: np.random.Generator) -> Floats:
        """Brightness of each triangle under a frontal light, with skin texture."""
        azimuth, height = rng.uniform(-0.8, 0.8), rng.uniform(0.0, 0.8)
        light = np.array([np.sin(azimuth), np.sin(height), 1.0])
        cosine = np.clip(self.normals @ (light / np.linalg.norm(light)), 0, 1)
        grain = 1 + 0.03 * rng.standard_normal(len(self.grey))
        shaded: Floats = (self.grey * (0.4 + 0.6 * cosine) * grain).astype(np.float32)
        return shaded

    def _crop(self, rng: np.random.Generator) -> _Crop:
        gap, x, y, squeezes = _CROPS[rng.integers(len(_CROPS))]
        scale = gap / self.gap * np.exp(rng.normal(0, 0.03))
        squeeze = rng.uniform(*squeezes)
        centre = np.array([x, y]) + rng.normal(0, 0.5, 2)
        return _Crop(self.depth, float(scale), float(squeeze), centre.astype(np.float32))

    def _spread(self, place: Floats, motion: Floats, grey: Floats) -> tuple[Floats, Floats]:
        """Exact motion (2, G, G) and image (G, G) on the grid, with small holes filled."""
        side = CODED_SIDE * _FINE
        middle = place[self.triangles].mean(1) * _FINE
        moved = motion[self.triangles].mean(1)
        cell = np.floor(middle).astype(np.int64)
        inside = ((cell >= 0) & (cell < side)).all(1)
        index = cell[inside, 1] * side + cell[inside, 0]
        values = (np.ones(len(index)), *moved[inside].T, grey[inside])
        sums = np.stack(
            [np.bincount(index, w, side * side).reshape(side, side) for w in values], axis=2
        ).astype(np.float32)
        # Normalised convolution: counts and sums are blurred alike, and the weak wide kernel only
        # matters where the narrow one finds nothing.
        near = cv2.GaussianBlur(sums, (0, 0), 0.8) + 1e-2 * cv2.GaussianBlur(sums, (0, 0), 3.0)
        # Off the face, a weak prior adds a still, grey background.
        weight = near[..., :1] + 1e-4
        filled = (near[..., 1:] + 1e-4 * np.array([0, 0, 0.3], np.float32)) / weight
        return filled[..., :2].transpose(2, 0, 1), filled[..., 2]


def _estimate(
    rng: np.random.Generator, exact: Floats, image: Floats, settings: FlowImageSettings
) -> Floats:
    """Flow (2, G, G) as an estimator finds it, coarse to fine, in an image (G, G)."""
    level = np.exp(rng.uniform(*np.log(settings.noise)))
    pull = np.exp(rng.uniform(*np.log(settings.stiffness)))
    gy, gx = np.gradient(image)
    # Brightness constancy: this is minus the temporal difference of the two images.
    change = gx * exact[0] + gy * exact[1]
    change += level * rng.standard_normal(image.shape, np.float32)
    products = np.stack([gx * gx, gx * gy, gy * gy, gx * change, gy * change], axis=2)
    u = v = np.zeros_like(image)
    for window in _WINDOWS:
        a, b, c, p, q = np.moveaxis(cv2.GaussianBlur(products, (0, 0), window), 2, 0)
        # Tikhonov term towards the coarser estimate; it also keeps the determinant above 0.
        a, c = a + pull, c + pull
        p, q = p + pull * u, q + pull * v
        determinant = a * c - b * b
        u, v = (c * p - b * q) / determinant, (a * q - b * p) / determinant
    # OpenCV's median takes float32 for kernels of 3 and 5 only.
    estimated: Floats = np.stack([cv2.medianBlur(w.astype(np.float32), 3) for w in (u, v)])
    return estimated


@dataclass(frozen=True)
class _Crop:
    """Head coordinates to pixels of the 28x28 image; the camera is ``depth`` cm from the origin."""

    depth: float
    scale: float
    squeeze: float
    centre: Floats

    def __call__(self, points: NDArray[np.floating]) -> Floats:
        factor = self.scale * _DISTANCE / (self.depth - points[:, 2])
        x = self.centre[0] + factor * points[:, 0]
        # Image y points down.
        y = self.centre[1] - factor * self.squeeze * points[:, 1]
        return np.stack([x, y], axis=1).astype(np.float32)


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _rotation(angles: NDArray[np.float64]) -> Floats:
    """Yaw about y, pitch about x (positive down), roll about z."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (yaw @ pitch @ roll).astype(np.float32)
