"""The region motion table: distance, direction and significance of each region's motion.

R regions are those of ``facs.REGIONS``, in that order; H, W are the size of the canonical face.
Motion is in pixels of the canonical face after head motion is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs

FloatArray = NDArray[np.float32]

REGION_NAMES: tuple[str, ...] = tuple(facs.REGIONS)
# Each region against its own floor: a rule across regions, as some public code has it, calls 7 of
# 29 active on pure noise.
ACTIVE_Z = 3.0
ACTIVE_PX = 0.02  # px
_PEAK_PERCENTILE = 90.0
UPPER_LIDS = [i for i, name in enumerate(REGION_NAMES) if name.endswith("upper lid")]
LOWER_LIDS = [i for i, name in enumerate(REGION_NAMES) if name.endswith("lower lid")]
_LIDS: FloatArray = np.array([name.endswith("lid") for name in REGION_NAMES], np.float32)
BESIDE_EYES = np.array([name.endswith(("brow", "glabella", "cheek")) for name in REGION_NAMES])
# Share of the upper lids' motion that flow shows beside the eyes while they blink: up to 0.31 on
# simulated clips (50 frames per second, H.264).
_DRAG = 1 / 3


# px that both upper lids close in a blink: on simulated clips of both heads nine in ten blinks
# close by 1.7 px or more, and 0.9 px is rare without one.
BLINK_PX = 1.4


@dataclass(frozen=True)
class RegionTable:
    """Motion of every region; each array has shape (R,).

    Attributes:
        u: Mean motion to the image's right, px.
        v: Mean motion down, px.
        magnitude: Length of the mean motion, px.
        peak: 90th percentile of the pixels' motion, px.
        coherence: ``|sum f| / sum |f|``, 0 (pixels cancel) to 1 (all move the same way).
        noise: Noise floor, px: the robust SD of one component of the mean motion when the
            region is at rest.
        z: ``magnitude / noise``. At rest, with Gaussian components, it follows a Rayleigh
            distribution: z >= 3 in 1.1 % of the regions.
        active: ``z >= 3`` and ``magnitude >= 0.02`` px.
        placed: False if the region cannot be measured, since its landmarks are too uncertain or
            the pictures hide it; its motion is then all zeros.
    """

    u: FloatArray
    v: FloatArray
    magnitude: FloatArray
    peak: FloatArray
    coherence: FloatArray
    noise: FloatArray
    z: FloatArray
    active: NDArray[np.bool_]
    placed: NDArray[np.bool_]

    def direction(self, index: int) -> str:
        """The direction of region ``index`` in words (``facs.direction_name``)."""
        side = facs.REGIONS[REGION_NAMES[index]].side
        return facs.direction_name(float(self.u[index]), float(self.v[index]), side)

    def strongest(self) -> Iterator[int]:
        """Indices of the active regions, largest z first."""
        order = np.argsort(-self.z, kind="stable")
        return (int(i) for i in order if self.active[i])


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def region_masks(landmarks: NDArray[Any], size: int | tuple[int, int] = 224) -> FloatArray:
    """Soft weights of the face regions.

    Each region is a rounded box with soft edges, placed by the mean of its anchors plus its
    offset, sized in interocular units and turned with the eye line.

    Args:
        landmarks: (68, 2) pixels, iBUG order.
        size: Side of a square image, or (height, width).

    Returns:
        (R, H, W) float32, 0..1; read-only because it is cached.
    """
    key = np.ascontiguousarray(landmarks, dtype=np.float32).tobytes()
    return _masks(key, *_size(size))


def region_radius(landmarks: NDArray[Any], points: NDArray[Any]) -> FloatArray:
    """Distance of points from the centre of every region: 0 at the centre, 1 on the border.

    Args:
        landmarks: (68, 2) pixels, iBUG order.
        points: (..., 2) pixels.

    Returns:
        (R, ...) float32; the lines of equal radius are rounded boxes.
    """
    eyes = landmarks[42:48].mean(0) - landmarks[36:42].mean(0)
    # The eye line points to image right, from the subject's right eye (36-41) to the left one.
    iod = max(float(np.hypot(*eyes)), 1.0)
    right = eyes / iod
    down = np.array([-right[1], right[0]])
    xs, ys = points[..., 0], points[..., 1]
    radius = np.empty((len(REGION_NAMES), *xs.shape), np.float32)
    for each, region in zip(radius, facs.REGIONS.values(), strict=True):
        offset = region.offset[0] * right + region.offset[1] * down
        cx, cy = landmarks[list(region.anchors)].mean(0) + offset * iod
        across = ((xs - cx) * right[0] + (ys - cy) * right[1]) / (region.half_size[0] * iod)
        along = ((xs - cx) * down[0] + (ys - cy) * down[1]) / (region.half_size[1] * iod)
        # The fourth-power norm gives rounded boxes. Products and roots, because powers of an array
        # are ten times slower.
        across, along = across * across, along * along
        each[...] = np.sqrt(np.sqrt(across * across + along * along))
    return radius


@lru_cache(maxsize=16)
def _masks(key: bytes, height: int, width: int) -> FloatArray:
    points = np.frombuffer(key, np.float32).reshape(68, 2)
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    # Weight 1 inside radius 0.8, 0.5 on the border, 0 beyond 1.2. Soft edges make the mean of a
    # region less sensitive to small landmark errors.
    masks = np.clip((1.2 - region_radius(points, pixels.astype(np.float32))) / 0.4, 0.0, 1.0)
    masks.setflags(write=False)
    return masks


def regions_placed(landmarks: NDArray[Any], uncertainty: NDArray[Any] | float) -> NDArray[np.bool_]:
    """Regions whose position error is at most half of their smaller side.

    The error of a region is the root mean square over its anchors. It is not divided by their
    number, because neighbouring landmarks err together.

    Args:
        landmarks: (68, 2) pixels.
        uncertainty: Expected RMS error of each landmark (68,), or one value for all, pixels.

    Returns:
        (R,) bool.
    """
    eyes = landmarks[42:48].mean(0) - landmarks[36:42].mean(0)
    iod = float(np.hypot(*eyes))
    half = np.array([min(r.half_size) * iod for r in facs.REGIONS.values()])
    variance = np.broadcast_to(np.square(np.asarray(uncertainty, np.float64)), len(landmarks))
    unsure = [np.sqrt(variance[list(r.anchors)].mean()) for r in facs.REGIONS.values()]
    return np.asarray(np.array(unsure) <= half)


def region_motion(flow: FloatArray, masks: FloatArray) -> FloatArray:
    """Mean motion of every region.

    Args:
        flow: (2, H, W), pixels.
        masks: (R, H, W) weights.

    Returns:
        (R, 2) float32, (u, v) pixels; zero for a region outside the image.
    """
    flat = masks.reshape(len(masks), -1)
    total = flat.sum(axis=1, keepdims=True)
    # einsum, not BLAS: when cores are shared, its threads cost more than this thin product.
    moved = np.einsum("rp,cp->rc", flat, flow.reshape(2, -1)) / np.maximum(total, 1e-6)
    return moved.astype(np.float32)


def dragged_by_lids(closed: float) -> FloatArray:
    """Upper bound of the motion that closing lids cause in the regions beside the eyes, (R,) px."""
    return np.asarray(_DRAG * closed * BESIDE_EYES, np.float32)


def blink_floor(closed: float) -> FloatArray:
    """Motion (R,) that says nothing while the eyes blink: of the lids and what they drag, px."""
    return np.asarray(closed * _LIDS + dragged_by_lids(closed), np.float32)


def region_rms(image: FloatArray, masks: FloatArray) -> FloatArray:
    """Root mean square (R,) of an image (H, W) over every region."""
    total = np.maximum(masks.sum(axis=(1, 2)), 1e-6)
    return np.sqrt(np.einsum("rhw,hw->r", masks, image * image) / total).astype(np.float32)


def region_table(
    flow: FloatArray,
    masks: FloatArray,
    noise: FloatArray,
    placed: NDArray[np.bool_] | None = None,
) -> RegionTable:
    """Build the table of one head-compensated flow field.

    Args:
        flow: (2, H, W), pixels.
        masks: (R, H, W) weights.
        noise: (R,) noise floors, pixels.
        placed: (R,) False excludes a region; default all True.

    Returns:
        The table.
    """
    placed = np.ones(len(masks), bool) if placed is None else placed
    moved = region_motion(flow, masks) * placed[:, None]
    length = np.hypot(flow[0], flow[1])
    flat, total = masks.reshape(len(masks), -1), masks.sum(axis=(1, 2))
    mean_length = np.einsum("rp,p->r", flat, length.ravel()) / np.maximum(total, 1e-6) * placed
    magnitude = np.hypot(moved[:, 0], moved[:, 1])
    peak = np.array([_peak(length, mask) for mask in masks], np.float32) * placed
    z = magnitude / np.maximum(noise, 1e-6)
    table = RegionTable(
        u=moved[:, 0],
        v=moved[:, 1],
        magnitude=magnitude,
        peak=peak,
        coherence=(magnitude / np.maximum(mean_length, 1e-6)).astype(np.float32),
        noise=noise.astype(np.float32),
        z=z.astype(np.float32),
        active=np.zeros(len(masks), bool),
        placed=placed,
    )
    # From the float32 z of the table, so that `active` always agrees with the stored values.
    return replace(table, active=(table.z >= ACTIVE_Z) & (magnitude >= ACTIVE_PX))


def _peak(length: FloatArray, mask: FloatArray) -> float:
    # 0.5 is the weight on a region's border.
    inside = length[mask > 0.5]
    return float(np.percentile(inside, _PEAK_PERCENTILE)) if inside.size else 0.0
