"""Further layers of a rendered pair: face regions and occlusion.

Letters: N Gaussians, H x W pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.regions import region_radius
from deft_llm.simulator.head import HeadMesh
from deft_llm.simulator.render.splat import Gaussians, vertex_normals

Floats = NDArray[np.float32]
NO_REGION = -1
_CANONICAL_INTEROCULAR = 80.0  # px
_RETURN_PX = 0.1  # a pixel that returns this near to its start is visible in both frames,
_RETURN_SHARE = 0.05  # plus this share of its motion,
_LEAST_COVER = 0.25  # if the head covers at least this share of the target


def gaussian_regions(mesh: HeadMesh, gaussians: Gaussians) -> NDArray[np.int8]:
    """The face region of every Gaussian, by its frontal position on the neutral face.

    Args:
        mesh: The identity at rest.
        gaussians: Bound to it.

    Returns:
        (N,) index in ``facs.REGIONS``: the region whose centre is nearest in units of the
        region's size; ``NO_REGION`` outside all regions and on surfaces that face away.
    """
    points = mesh.vertices[mesh.landmarks]
    eyes = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    scale = _CANONICAL_INTEROCULAR / float(np.linalg.norm(eyes))
    # The regions are defined in image pixels: y points down.
    flat = mesh.vertices[:, :2] * np.array([scale, -scale], np.float32)
    radius = region_radius(flat[mesh.landmarks], gaussians.interpolate(flat))
    region = np.where(radius.min(axis=0) <= 1, radius.argmin(axis=0), NO_REGION)
    toward = gaussians.interpolate(vertex_normals(mesh.vertices, mesh.triangles))[:, 2] > 0
    return np.where(toward, region, NO_REGION).astype(np.int8)


def region_map(surface: NDArray[np.int32], regions: NDArray[np.int8]) -> NDArray[np.int8]:
    """The region that each pixel shows.

    Args:
        surface: (H, W) index of the visible Gaussian, -1 for none (``splat.Raster.surface``).
        regions: (N,) from :func:`gaussian_regions`.

    Returns:
        (H, W) index in ``facs.REGIONS`` or ``NO_REGION``.
    """
    return np.where(surface >= 0, regions[surface], np.int8(NO_REGION))


def occluded(
    forward: Floats, backward: Floats, mask: NDArray[np.bool_], mask_after: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Pixels of the first frame whose surface the second frame does not show.

    The forward-backward check (Sundaram et al., ECCV 2010): a pixel that is still visible returns
    to where it started. Both flows are exact, so the tolerance (ours) is far tighter than for
    estimated ones: 0.1 px and 5 % of the motion. Pixels at a depth edge that mix two surfaces
    return to neither, and count as occluded.

    Args:
        forward: (2, H, W) pixels, first frame to second.
        backward: (2, H, W) second to first.
        mask: (H, W) where the first frame shows the head.
        mask_after: (H, W) the same for the second.

    Returns:
        (H, W) bool; False outside ``mask``. A pixel that leaves the frame is occluded.
    """
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    to_x, to_y = x + forward[0], y + forward[1]
    weight = _sample(mask_after.astype(np.float32), to_x, to_y)
    # The flow is 0 off the mask, so bilinear samples at the silhouette are too small; dividing by
    # the sampled mask makes them means over the covered pixels.
    back = [_sample(channel, to_x, to_y) / np.maximum(weight, 1e-3) for channel in backward]
    missed = np.hypot(forward[0] + back[0], forward[1] + back[1])
    seen = missed <= _RETURN_PX + _RETURN_SHARE * np.hypot(*forward)
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    return mask & ~(seen & inside & (weight > _LEAST_COVER))


def _sample(image: Floats, x: Floats, y: Floats) -> Floats:
    values: Floats = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values
