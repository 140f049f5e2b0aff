"""The regions of the ME-TST papers, on a face with any 68 landmarks.

Eighteen regions of interest: brows, mouth, wings of the nose and lower lids, and smaller boxes
around single landmarks. ME-TST reads five of them (``FIVE``), ME-TST+ and BoostingVRME all. The
public code states them in pixels of a square crop, ``CROP_SIDE`` wide, that spans 4.5 times the
distance of the inner corners of the eyes; here they scale with that distance. Left and right are
the subject's, so the papers' "left brow" is the right one.

Points are (68, 2), iBUG order; boxes are (top, bottom, left, right), in pixels of that crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Box = tuple[float, float, float, float]

CROP_SIDE = 320
_SPAN = 4.5  # side of the crop over the distance of the inner corners of the eyes
_INNER_CORNERS = (39, 42)
_LEAST = 12.0  # crop px: least side of a region that is measured on the flow of the whole face


@dataclass(frozen=True)
class Roi:
    """One region.

    Attributes:
        name: For people.
        crop: The part of the face in ``CROPS`` that it lies in.
        landmark: The landmark that it is around; -1 takes the crop without its edge.
        around: Extent above, below, left and right of the landmark, or the edge that is left out.
        share: Share of the pixels, those that moved most, whose mean is the region's motion in
            the papers' form.
    """

    name: str
    crop: str
    landmark: int
    around: Box
    share: float


#: Part of the face -> its landmarks, and the margins around their bounding box.
CROPS: dict[str, tuple[slice, Box]] = {
    "right brow": (slice(17, 22), (15, 5, 5, 0)),
    "left brow": (slice(22, 27), (15, 5, 0, 0)),
    "mouth": (slice(48, 67), (15, 10, 20, 20)),
    "nose": (slice(30, 36), (20, 5, 30, 30)),
    # Placed below the eyes, in proportion to their width.
    "right lower lid": (slice(36, 42), (0, 0, 0, 0)),
    "left lower lid": (slice(42, 48), (0, 0, 0, 0)),
}
# Pixels of the crop: left out at the edge of a part, and taken around a single landmark.
_EDGE, _LID_EDGE, _SMALL = (10.0,) * 4, (5.0,) * 4, (10.0,) * 4
ROIS: tuple[Roi, ...] = (
    Roi("right brow", "right brow", -1, _EDGE, 0.3),
    Roi("right brow, inner", "right brow", 20, _SMALL, 0.2),
    Roi("right brow, middle", "right brow", 19, _SMALL, 0.2),
    Roi("right brow, outer", "right brow", 18, _SMALL, 0.2),
    # Shares of 0.3 here and 0.2 at the other brow are the public code's.
    Roi("left brow", "left brow", -1, _EDGE, 0.3),
    Roi("left brow, inner", "left brow", 23, _SMALL, 0.3),
    Roi("left brow, middle", "left brow", 24, _SMALL, 0.3),
    Roi("left brow, outer", "left brow", 25, _SMALL, 0.3),
    Roi("mouth", "mouth", -1, _EDGE, 0.3),
    Roi("right mouth corner", "mouth", 48, (10, 10, 10, 20), 0.2),
    Roi("left mouth corner", "mouth", 54, (10, 10, 20, 10), 0.2),
    Roi("upper lip", "mouth", 51, _SMALL, 0.2),
    Roi("lower lip", "mouth", 57, _SMALL, 0.2),
    Roi("between the lips", "mouth", 62, _SMALL, 0.2),
    Roi("right nose wing", "nose", 31, (20, 5, 20, 10), 0.2),
    Roi("left nose wing", "nose", 35, (20, 5, 10, 20), 0.2),
    Roi("right lower lid", "right lower lid", -1, _LID_EDGE, 0.3),
    Roi("left lower lid", "left lower lid", -1, _LID_EDGE, 0.3),
)
#: Indices of ME-TST's five: brows, mouth, wings of the nose.
FIVE = (0, 4, 8, 14, 15)
#: Index of each region's mirror image.
MIRRORED = (4, 5, 6, 7, 0, 1, 2, 3, 8, 10, 9, 11, 12, 13, 15, 14, 17, 16)


def crop_pixel(points: NDArray[Any]) -> float:
    """Size of a pixel of the papers' crop in pixels of an image with these landmarks."""
    left, right = (float(points[i, 0]) for i in _INNER_CORNERS)
    return max(right - left, 1.0) * _SPAN / CROP_SIDE


def crop_boxes(points: NDArray[Any]) -> dict[str, Box]:
    """The parts of the face, from landmarks in crop pixels."""
    boxes = {}
    for name, (landmarks, (above, below, before, after)) in CROPS.items():
        (left, top), (right, bottom) = points[landmarks].min(0), points[landmarks].max(0)
        if name.endswith("lid"):
            half, middle = (right - left) / 2, (top + bottom) / 2
            top, bottom = middle + half / 2, middle + 3 * half / 2
        boxes[name] = (top - above, bottom + below, left - before, right + after)
    return boxes


def roi_box(roi: Roi, points: NDArray[Any], crops: Mapping[str, Box]) -> Box:
    """The pixels that a region is measured on, from landmarks and parts in crop pixels."""
    above, below, before, after = roi.around
    if roi.landmark < 0:
        top, bottom, left, right = crops[roi.crop]
        return top + above, bottom - below, left + before, right - after
    x, y = (float(value) for value in points[roi.landmark])
    return y - above, y + below, x - before, x + after


def roi_masks(landmarks: NDArray[Any], side: int) -> FloatArray:
    """Weights of the regions on a square image, for ``region_paths.track_regions``.

    Args:
        landmarks: (68, 2) in its pixels.
        side: Its side.

    Returns:
        (18, side, side), 0..1, with edges of one pixel; a region that would be too narrow to
        measure is widened about its middle.
    """
    unit = crop_pixel(landmarks)
    points = np.asarray(landmarks, np.float64) / unit
    crops = crop_boxes(points)
    frames = np.arange(side, dtype=np.float64)
    masks = np.empty((len(ROIS), side, side), np.float32)
    for mask, roi in zip(masks, ROIS, strict=True):
        top, bottom, left, right = (unit * x for x in _widened(roi_box(roi, points, crops)))
        rows = np.clip(np.minimum(frames - top, bottom - frames) + 0.5, 0, 1)
        columns = np.clip(np.minimum(frames - left, right - frames) + 0.5, 0, 1)
        mask[...] = rows[:, None] * columns
    return masks


def _widened(box: Box) -> Box:
    top, bottom, left, right = box
    down, across = (max(0.0, _LEAST - size) / 2 for size in (bottom - top, right - left))
    return top - down, bottom + down, left - across, right + across
