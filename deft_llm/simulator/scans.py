"""Scans of the simulated heads, as a scanner would deliver them.

A head is drawn into a range image by the splatting rasterizer, and the range image becomes a
surface: one layer, without what a scanner cannot see. Noise, holes, crop and pose differ from scan
to scan. All distributions are our own.

Units: mm, in the frame of `head.py` (the nose looks along +z).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from deft_llm.scans.range_images import grid_surface
from deft_llm.scans.scan import Scan
from deft_llm.simulator.head import MATERIALS, Head, HeadMesh, vertex_normals
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.render.splat import Gaussians, bind, place, rasterize

Floats = NDArray[np.float32]
MM = 10.0  # in one cm, the unit of the heads
NOSE_TIP = 30  # of the 68 landmarks
_HIDDEN = ("lash", "mouth", "nostril", "hair", "glasses")
_FIELD_CM = 26.0  # side of the range image
_DISTANCE_CM = 100.0  # of the camera; any, as the projection ignores it
_SPACING_CM = 0.14  # between the Gaussians of a head
_GAMMA = 1 / 2.2
_TEMPLATE_IDENTITIES, _TEMPLATE_REACH = 24, 78.0


@dataclass(frozen=True)
class Scanner:
    """How a scan is taken.

    Attributes:
        pitch: mm between neighbours of the range image.
        noise: SD of the range, mm.
        holes: Share of the surface that is missing, in round holes.
        crop: mm around the nose tip that are kept.
        turn: (yaw, pitch, roll) of the head, degrees.
        seed: Of noise and holes.
    """

    pitch: float = 0.95
    noise: float = 0.0
    holes: float = 0.0
    crop: float = 105.0
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seed: int = 0


def draw_scanner(
    rng: np.random.Generator, noise: tuple[float, float] = (0.05, 0.5), holes: float = 0.1
) -> Scanner:
    """A scanner as they differ: noise log-uniform in a range of mm, up to a share of holes."""
    missing = rng.uniform(0, holes) if rng.random() < 0.5 else 0.0
    yaw, pitch, roll = rng.normal(0, (4.0, 3.0, 2.0)).clip(-10, 10)
    return Scanner(
        pitch=float(rng.uniform(0.85, 1.3)),
        noise=float(np.exp(rng.uniform(*np.log(noise)))),
        holes=float(missing),
        crop=float(rng.uniform(92, 120)),
        turn=(float(yaw), float(pitch), float(roll)),
        seed=int(rng.integers(1 << 31)),
    )


@dataclass(frozen=True)
class Sitter:
    """One identity, ready to be scanned many times.

    Attributes:
        head: The head model.
        mesh: The identity.
        triangles: (F, 3) of what a scanner sees.
        gaussians: Bound to them.
        colours: (N, 3) display colours of the Gaussians.
    """

    head: Head
    mesh: HeadMesh
    triangles: NDArray[np.int32]
    gaussians: Gaussians
    colours: Floats

    @classmethod
    def of(cls, head: Head, identity: int) -> Sitter:
        """The identity of a seed."""
        mesh = head.identity(identity)
        hidden = [MATERIALS.index(name) for name in _HIDDEN]
        seen = ~np.isin(mesh.material, hidden)
        triangles = np.ascontiguousarray(mesh.triangles[seen])
        gaussians = bind(mesh.vertices, triangles, _SPACING_CM)
        albedo = np.clip(mesh.colors[seen][gaussians.triangle], 0, 1)
        return cls(head, mesh, triangles, gaussians, (albedo**_GAMMA).astype(np.float32))

    def scan(self, activations: Mapping[str, float], scanner: Scanner) -> Scan:
        """One scan.

        Args:
            activations: AU codes, see `head.Head.deform`.
            scanner: How it is taken.
        """
        points, colours = self.range_image(activations, scanner)
        return grid_surface(points, colours)

    def range_image(
        self, activations: Mapping[str, float], scanner: Scanner
    ) -> tuple[Floats, Floats]:
        """What a scanner measures before it is a surface.

        Returns:
            Points (H, W, 3) in mm from the middle of the image, NaN where nothing was measured,
            and display RGB (H, W, 3) in 0..1.
        """
        vertices = self.head.deform(self.mesh, activations)
        turn = _turn(scanner.turn)
        posed = (vertices @ turn.T).astype(np.float32)
        tip = turn @ self.mesh.vertices[self.mesh.landmarks[NOSE_TIP]]
        side = round(_FIELD_CM * MM / scanner.pitch)
        scale, middle = MM / scanner.pitch, (side - 1) / 2
        centre = (middle - scale * float(tip[0]), middle + scale * float(tip[1]))
        view = View(scale * _DISTANCE_CM, _DISTANCE_CM, centre, orthographic=True)
        splats = place(self.gaussians, posed, self.triangles, view)
        raster = rasterize(splats, self.gaussians.opacity, self.colours, (side, side))
        rng = np.random.default_rng(scanner.seed)
        z = MM * (_DISTANCE_CM - raster.depth) + rng.normal(0, scanner.noise, raster.depth.shape)
        there = raster.mask & _within(raster.mask.shape, scanner)
        there &= ~_holes(raster.mask, rng, scanner)
        across = (np.arange(side) - middle) * scanner.pitch
        points = np.stack([*np.meshgrid(across, -across), z], axis=-1).astype(np.float32)
        points[~there] = np.nan
        return points, np.clip(raster.colour, 0, 1)


def _turn(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    # Signs as of `performance.HeadMotion.rest`: to the subject's left, down, anticlockwise.
    yaw, pitch, roll = np.radians(degrees)
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    turned: NDArray[np.float64] = np.array(about_y) @ np.array(about_x) @ np.array(about_z)
    return turned


def _within(shape: tuple[int, ...], scanner: Scanner) -> NDArray[np.bool_]:
    """Pixels (H, W) within the crop around the nose tip, which lies in the middle."""
    rows, columns = np.indices(shape)
    middle = np.array(shape) / 2 - 0.5
    apart = np.hypot(rows - middle[0], columns - middle[1]) * scanner.pitch
    inside: NDArray[np.bool_] = apart < scanner.crop
    return inside


def _holes(
    mask: NDArray[np.bool_], rng: np.random.Generator, scanner: Scanner
) -> NDArray[np.bool_]:
    """Round holes of 4 to 14 mm radius within 80 mm of the nose tip, up to the wanted share."""
    gone = np.zeros(mask.shape, np.uint8)
    middle = np.array(mask.shape) / 2 - 0.5
    whole = np.pi * 80.0**2 / scanner.pitch**2
    while gone.sum() < scanner.holes * whole:
        place = middle + rng.uniform(-80, 80, 2) / scanner.pitch
        radius = rng.uniform(4, 14) / scanner.pitch
        cv2.circle(gone, (round(place[1]), round(place[0])), round(radius), 1, -1)
    return gone.astype(bool)


def template() -> dict[str, Floats]:
    """The mean face of `scans.placing`: ``points`` and ``normals`` (N, 3), mm from the nose tip."""
    head = OwnHead()
    meshes = [head.identity(seed) for seed in range(_TEMPLATE_IDENTITIES)]
    tips = [m.vertices[m.landmarks[NOSE_TIP]] for m in meshes]
    mean = MM * np.mean([m.vertices - t for m, t in zip(meshes, tips, strict=True)], axis=0)
    skin = np.isin(meshes[0].material, [MATERIALS.index(n) for n in ("skin", "brow", "lip")])
    normals = vertex_normals(mean, meshes[0].triangles[skin])
    used = np.zeros(len(mean), bool)
    used[meshes[0].triangles[skin]] = True
    chosen = used & (np.linalg.norm(mean, axis=1) < _TEMPLATE_REACH) & (normals[:, 2] > 0.15)
    return {
        "points": mean[chosen].round(2).astype(np.float32),
        "normals": normals[chosen].round(3).astype(np.float32),
    }


def write_template(path: Path) -> None:
    """Write the mean face to a safetensors file."""
    save_file(template(), path)
