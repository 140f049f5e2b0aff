"""What of a face its pictures do not show: what is cut off, turned away, covered, or drowned.

R regions, H = W = 224 pixels of the canonical face.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.motion.flow import to_grey
from deft_llm.motion.light import LightChange
from deft_llm.motion.pixels import smaller
from deft_llm.motion.regions import region_masks, region_rms

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

DARK, BRIGHT = 30.0, 250.0  # grey levels
# From the nose bridge to the outer corner of one eye, over the same to the other: 1.5 on rendered
# heads of both kinds that turn by 20 degrees, 1.8 to 2.1 at 30, 2.3 to 2.7 at 40. Of the far side
# a camera sees less than half of the width then, and the nose covers some of it.
_FAR_SIDE = 2.2
_BRIDGE, _RIGHT_EYE, _LEFT_EYE, _RIGHT_JAW, _LEFT_JAW = 27, 36, 45, 0, 16
# Share of a region that is plain white: what moves there leaves no trace, however quiet it looks.
_GLARE = 0.5
# Slope of the gain (1 / px) inside a region: 0.001 under a lamp at one side, 0.005 to 0.013 where a
# hand moves in front of a face or the hard edge of a shadow over it. No flow tells these from skin.
_EDGE = 0.004
_OTHER_LIGHT = 0.1  # of the logarithm of brightness
# px beside the picture's edge: what lies beyond is made up, and flow looks so far around a pixel.
_MARGIN = 6
_CUT = 0.5  # share of a region that may be missing
_NARROW = 60.0  # px: a face of this width shows a motion of 1 px of the canonical face as a third
_LOOKS = 8  # frames at which a part of a video is looked at for its light


def visible_masks(
    aligned: AlignedClip,
    side: int,
    masks_of: Callable[[NDArray[Any], int], NDArray[np.float32]] = region_masks,
) -> NDArray[np.float32]:
    """Weights (R, side, side) of the regions, without what lies outside of the picture.

    Args:
        aligned: The clip.
        side: Of the image of the face.
        masks_of: Landmarks and the side of an image -> weights of other regions (R, side, side).

    Returns:
        The weights; none of a region of which more than half is missing.
    """
    masks = masks_of(smaller(aligned.landmarks, aligned.frames.shape[1] / side), side)
    if aligned.inside is None:
        return masks
    around = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
    # Beyond the square's own border the picture goes on.
    inside = cv2.erode(aligned.inside.astype(np.uint8), around, borderValue=1).astype(np.float32)
    if len(inside) != side:
        # A pixel of the smaller image counts only if all under it is inside.
        inside = (cv2.resize(inside, (side, side), interpolation=cv2.INTER_AREA) > 0.99) * 1.0
    left = masks * inside
    kept = left.sum(axis=(1, 2)) >= (1 - _CUT) * masks.sum(axis=(1, 2))
    return np.asarray(left * kept[:, None, None], np.float32)


def hidden_regions(
    aligned: AlignedClip,
    interval: Interval,
    masks: NDArray[np.float32],
    light: LightChange | None = None,
) -> dict[str, NDArray[np.bool_]]:
    """Regions that the pictures of a movement do not show.

    Args:
        aligned: The clip.
        interval: The movement.
        masks: (R, H, W) ``visible_masks``.
        light: How the light changed.

    Returns:
        Reason -> (R,) bool.
    """
    weight = np.maximum(masks.sum(axis=(1, 2)), 1e-6)
    pictures = [
        to_grey(aligned.frames[t]) for t in (interval.onset, interval.apex, interval.offset)
    ]
    white = [np.einsum("rhw,hw->r", masks, grey >= BRIGHT) / weight for grey in pictures]
    covered = np.zeros(len(masks), bool)
    if light:
        moments = pairwise((interval.onset, interval.apex, interval.offset))
        covered = np.any([_covered(masks, light, *pair) for pair in moments], axis=0)
        # In the dark, a ratio of brightness is mostly noise.
        covered &= np.einsum("rhw,hw->r", masks, pictures[1]) / weight >= DARK
    return {
        "outside of the picture": masks.sum(axis=(1, 2)) == 0,
        "turned away from the camera": turned_away(aligned.landmarks),
        "drowned in glare": np.max(white, axis=0) > _GLARE,
        "covered for a time, or crossed by a shadow": covered,
    }


def _covered(masks: NDArray[np.float32], light: LightChange, i: int, j: int) -> NDArray[np.bool_]:
    """Regions (R,) in which the change of light from frame i to j has an edge, or which lie behind.

    Behind the edge the change is even, as on a hand that covers a whole region, but it is another
    one than on the rest of the face.
    """
    side = masks.shape[-1]
    crossed = np.asarray(region_rms(light.borders(i, j, side), masks) > _EDGE)
    change = np.log(light.gain(j, side) / light.gain(i, side))
    mean = np.einsum("rhw,hw->r", masks, change) / np.maximum(masks.sum(axis=(1, 2)), 1e-6)
    behind = np.abs(mean - np.median(mean)) > _OTHER_LIGHT
    return crossed | behind if crossed.any() else crossed


def turned_away(landmarks: NDArray[Any]) -> NDArray[np.bool_]:
    """Regions (R,) on the far side of a face in half profile; (68, 2) landmarks, px."""
    right, left = (
        float(np.linalg.norm(landmarks[eye] - landmarks[_BRIDGE]))
        for eye in (_RIGHT_EYE, _LEFT_EYE)
    )
    if max(right, left) < _FAR_SIDE * min(right, left):
        return np.zeros(len(facs.REGIONS), bool)
    far = "right" if right < left else "left"
    return np.array([region.side == far for region in facs.REGIONS.values()])


def magnification(aligned: AlignedClip) -> float:
    """How many pixels of the canonical face one pixel of the video fills, the median."""
    matrices = aligned.transforms[aligned.present]
    # The scale of a similarity is the length of its first column.
    return float(np.median(np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])))


def on_pictures(aligned: AlignedClip, shown: Interval) -> list[str]:
    """Remarks on a small face and on a dark one."""
    remarks = []
    width = _face_width(aligned)
    if width < _NARROW:
        # 59.7 px are not rounded up to the 60 that they do not reach.
        remarks.append(
            f"the face is {min(width, _NARROW - 1):.0f} px wide (expected {_NARROW:.0f} or more): "
            "only large motion can be seen"
        )
    level = float(to_grey(aligned.frames[shown.apex]).mean())
    if level < DARK:
        remarks.append(f"the face is dark ({level:.0f} of 255): weak motion cannot be seen")
    return remarks


def on_part(aligned: AlignedClip) -> list[str]:
    """The same of a part of a long video, in words that all parts share, to be told once."""
    remarks = []
    if _face_width(aligned) < _NARROW:
        remarks.append(
            f"the face is less than {_NARROW:.0f} px wide, at least for a time: only large motion "
            "can be seen then"
        )
    present = np.flatnonzero(aligned.present)
    some = present[:: max(1, len(present) // _LOOKS)]
    if np.median([to_grey(aligned.frames[t]).mean() for t in some]) < DARK:
        remarks.append(
            f"the face is dark (less than {DARK:.0f} of 255), at least for a time: weak motion "
            "cannot be seen then"
        )
    return remarks


def _face_width(aligned: AlignedClip) -> float:
    """Pixels of the video."""
    jaw = aligned.landmarks[_LEFT_JAW] - aligned.landmarks[_RIGHT_JAW]
    return float(np.linalg.norm(jaw)) / magnification(aligned)
