"""Views of a scan: pictures of its shape from several sides, the input `views` of FACET-VLM.

The surface is drawn by the project's own splatting rasterizer, orthographically, so that a mm is
the same number of pixels everywhere. Normals and shape index (Koenderink and van Doorn, 1992) are
taken from the smoothed depth and not from the mesh, so that they do not depend on how finely it
is triangulated. The channels, their ranges and all smoothing are our own.

Letters: V views, C channels, S side of a picture in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError, did_you_mean
from deft_llm.scans.scan import Scan
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.render.splat import Gaussians, bind, place, rasterize

Floats = NDArray[np.float32]
YAWS = (0.0, -45.0, 45.0)
"""Degrees by which the head is turned in the usual views: ahead, to its right, to its left."""
CHANNELS = ("normal_x", "normal_y", "shape_index")
"""The usual channels."""
SIDE = 224
FIELD = 190.0  # mm across a picture
_PIVOT = -60.0  # z about which the head is turned, mm: keeps it in the picture
_DISTANCE = 1000.0  # mm; any, as the projection ignores it
_DEEPEST, _NEAREST = -110.0, 10.0  # mm, the range of the channel depth
_SMOOTH_MM, _CURVED_MM = 1.7, 3.0  # SD of the smoothing, for normals and for curvatures
_FLAT = 0.012  # 1 / mm; curvature below which the shape index is mostly noise
_COARSE_MM = 1.6  # target distance between Gaussians
_FEWER = 30_000  # triangles on the face from which on not each needs a Gaussian


@dataclass(frozen=True)
class Relief:
    """What one view shows.

    Attributes:
        depth: (S, S) mm towards the viewer from the plane of the nose tip ahead, smoothed; 0 off
            the mask.
        mask: (S, S) bool, True on the face.
        grey: (S, S) grey of the texture in 0..1, 0 without texture.
        pitch: mm in a pixel.
    """

    depth: Floats
    mask: NDArray[np.bool_]
    grey: Floats
    pitch: float


class Surface:
    """A normalised scan, ready to be drawn.

    Args:
        scan: A face from `scans.normalise`.
    """

    def __init__(self, scan: Scan) -> None:
        triangles = np.ascontiguousarray(scan.triangles, np.int32)
        self._vertices, self._triangles = scan.vertices, triangles
        self._gaussians = _bound(scan.vertices, triangles)
        grey = np.ones((len(scan.vertices), 1), np.float32)
        if scan.colours is not None:
            # Luma of ITU-R BT.601, as OpenCV's grey.
            grey = (scan.colours @ np.array([0.299, 0.587, 0.114], np.float32))[:, None]
        self._grey = self._gaussians.interpolate(grey)
        self.textured = scan.colours is not None

    def relief(self, yaw: float, side: int = SIDE, threads: int = 1) -> Relief:
        """Draw it.

        Args:
            yaw: Degrees by which the head is turned to its left.
            side: Of the picture, px.
            threads: Of the rasterizer; the result does not depend on it.
        """
        angle = np.radians(yaw)
        # z points to the viewer: a positive turn takes the nose to image right, the subject's left.
        turn = np.array(
            [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        )
        pivot = np.array([0.0, 0.0, _PIVOT])
        turned = ((self._vertices - pivot) @ turn.T + pivot).astype(np.float32)
        scale, middle = side / FIELD, (side - 1) / 2
        view = View(scale * _DISTANCE, _DISTANCE, (middle, middle), orthographic=True)
        splats = place(self._gaussians, turned, self._triangles, view)
        raster = rasterize(
            splats, self._gaussians.opacity, self._grey, (side, side), threads=threads
        )
        mask = raster.mask
        depth = _smoothed(_DISTANCE - raster.depth, mask, _SMOOTH_MM * scale)
        grey = raster.colour[..., 0] if self.textured else np.zeros_like(depth)
        return Relief(depth, mask, np.where(mask, grey, 0).astype(np.float32), 1 / scale)


def _bound(vertices: Floats, triangles: NDArray[np.int32]) -> Gaussians:
    """Gaussians on a surface; of a fine mesh, fewer and larger ones."""
    gaussians = bind(vertices, triangles, _COARSE_MM)
    share = len(triangles) // _FEWER
    if share < 1:
        return gaussians
    # Every other triangle, twice as large in area: the depth is smoothed far more than that.
    kept = np.zeros(len(triangles), bool)
    kept[:: share + 1] = True
    large = np.bincount(gaussians.triangle, minlength=len(triangles)) > 1
    chosen = (kept | large)[gaussians.triangle]
    # The root, because a Gaussian's scale is a length and the area it covers for has grown.
    wider = np.where(large[gaussians.triangle], 1.0, np.sqrt(share + 1.0)).astype(np.float32)
    return Gaussians(
        corners=np.ascontiguousarray(gaussians.corners[chosen]),
        weights=np.ascontiguousarray(gaussians.weights[chosen]),
        scale=(gaussians.scale * wider)[chosen],
        opacity=gaussians.opacity[chosen],
        triangle=gaussians.triangle[chosen],
    )


def _smoothed(values: Floats, mask: NDArray[np.bool_], sigma: float) -> Floats:
    """Gaussian smoothing over the mask alone; 0 off it."""
    weight = mask.astype(np.float32)
    # Normalised convolution: what lies off the face neither counts nor darkens the edge.
    both = cv2.GaussianBlur(np.dstack([np.where(mask, values, 0), weight]), (0, 0), sigma)
    smooth: Floats = both[..., 0] / np.maximum(both[..., 1], np.float32(1e-6)) * weight
    return smooth.astype(np.float32)


def _filled(relief: Relief) -> Floats:
    """The depth, continued a little beyond the mask, so that derivatives do not see its edge."""
    inside = relief.mask.astype(np.float32)
    sigma = _CURVED_MM / relief.pitch
    both = cv2.GaussianBlur(np.dstack([relief.depth, inside]), (0, 0), sigma)
    beyond = both[..., 0] / np.maximum(both[..., 1], np.float32(1e-3))
    filled: Floats = np.where(relief.mask, relief.depth, beyond).astype(np.float32)
    return filled


def _slopes(depth: Floats, pitch: float) -> tuple[Floats, Floats]:
    """Slope (mm / mm) to the right and up; central differences."""
    kernel = np.array([-0.5, 0.0, 0.5], np.float32) / pitch
    one = np.ones(1, np.float32)
    right = cv2.sepFilter2D(depth, cv2.CV_32F, kernel, one, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(depth, cv2.CV_32F, one, kernel, borderType=cv2.BORDER_REPLICATE)
    # Rows run downwards, and up is positive here.
    return right, -down


def _normals(relief: Relief) -> tuple[Floats, Floats]:
    right, up = _slopes(_filled(relief), relief.pitch)
    length = np.sqrt(1 + right**2 + up**2)
    return -right / length, -up / length


def shaded(relief: Relief) -> Floats:
    """The surface lit from the upper left, for people: (S, S) in 0..1, 1 around it."""
    # (-0.3, 0.35, 0.88) points to the light, about a unit vector.
    right, up = _normals(relief)
    ahead = np.sqrt(np.maximum(1 - right**2 - up**2, 0))
    light = 0.25 + 0.75 * np.clip(-0.3 * right + 0.35 * up + 0.88 * ahead, 0, 1)
    lit: Floats = np.where(relief.mask, light, 1.0).astype(np.float32)
    return lit


def shape_index(relief: Relief) -> Floats:
    """Shape index in -1..1, -1 for a cup and 1 for a cap, faded to 0 where the surface is flat.

    S = 2 / pi * arctan((k2 + k1) / (k2 - k1)) with the principal curvatures of the height field.
    """
    depth = cv2.GaussianBlur(_filled(relief), (0, 0), _CURVED_MM / relief.pitch)
    p, q = _slopes(depth, relief.pitch)
    r, s = _slopes(p, relief.pitch)
    _, t = _slopes(q, relief.pitch)
    square = 1 + p * p + q * q
    # Mean and Gaussian curvature of a height field from its derivatives p, q, r, s and t.
    mean = ((1 + q * q) * r - 2 * p * q * s + (1 + p * p) * t) / (2 * square**1.5)
    gauss = (r * t - s * s) / square**2
    # Half the difference of the principal curvatures; rounding may make its square negative.
    apart = np.sqrt(np.maximum(mean * mean - gauss, 0))
    # Minus: the height of a cap bends downwards, so its mean curvature is negative here.
    index = -2 / np.pi * np.arctan2(mean, apart)
    # Koenderink's curvedness, the RMS of the principal curvatures.
    curved = np.sqrt(np.maximum(2 * mean * mean - gauss, 0))
    faded: Floats = (index * curved / (curved + _FLAT)).astype(np.float32)
    return faded


def channel(relief: Relief, name: str) -> Floats:
    """One channel of a view, (S, S) in -1..1, 0 off the face.

    Args:
        relief: The view.
        name: "depth", "normal_x", "normal_y", "shape_index" or "texture".

    Raises:
        UserError: If there is no such channel.
    """
    known = ("depth", "normal_x", "normal_y", "shape_index", "texture")
    if name == "depth":
        values = 2 * (relief.depth - _DEEPEST) / (_NEAREST - _DEEPEST) - 1
    elif name in ("normal_x", "normal_y"):
        values = _normals(relief)[name == "normal_y"]
    elif name == "shape_index":
        values = shape_index(relief)
    elif name == "texture":
        values = 2 * relief.grey - 1
    else:
        raise UserError(
            f"channel {name!r}: expected one of {', '.join(known)}{did_you_mean(name, known)}"
        )
    return np.where(relief.mask, np.clip(values, -1, 1), 0).astype(np.float32)


def channels(relief: Relief, names: Sequence[str]) -> Floats:
    """Several channels of a view, (C, S, S)."""
    made: dict[str, Floats] = {}
    if {"normal_x", "normal_y"} <= set(names):
        both = (np.where(relief.mask, n, 0).astype(np.float32) for n in _normals(relief))
        made = dict(zip(("normal_x", "normal_y"), both, strict=True))
    return np.stack([made[name] if name in made else channel(relief, name) for name in names])


def views(
    scan: Scan,
    yaws: Sequence[float] = YAWS,
    names: Sequence[str] = CHANNELS,
    side: int = SIDE,
    threads: int = 1,
) -> Floats:
    """Draw a normalised scan from several sides.

    Args:
        scan: A face from `scans.normalise`.
        yaws: Degrees by which the head is turned to its left, one for each view.
        names: Channels, see `channel`.
        side: Of the pictures, px.
        threads: Of the work; the result does not depend on it.

    Returns:
        (V, C, S, S) float32 in -1..1, 0 off the face.

    Raises:
        UserError: If a channel is unknown.
    """
    surface = Surface(scan)

    def draw(yaw: float) -> Floats:
        return channels(surface.relief(yaw, side), names)

    if threads <= 1:
        return np.stack([draw(yaw) for yaw in yaws])
    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(draw, yaws)))
