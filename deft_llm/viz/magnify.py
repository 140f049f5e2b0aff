"""Motion magnification: the onset frame, warped by a multiple of its motion.

The motion of every frame from the onset (head motion removed, noise smoothed) is multiplied and
applied to the onset frame, as in Liu et al., "Motion magnification" (SIGGRAPH 2005), without their
layers. For viewing only: nothing is measured on such frames.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.video import encode_h264
from deft_llm.motion.flow import flow_estimator, to_grey
from deft_llm.motion.head_depth import head_points
from deft_llm.motion.head_motion import remove_head_motion
from deft_llm.motion.measure import Measurement
from deft_llm.motion.pixels import origins
from deft_llm.viz.overlay import Image, face_mask

FACTORS = (2.0, 20.0)  # smallest and largest
MAGNIFIED_FRAMES = 48  # of a longer interval, every k-th frame is shown
FPS = 12.0  # slow enough to follow
_SMOOTHING = 2.5  # px, SD of the Gaussian that smooths the motion


def magnify_frame(face: Image, motion: NDArray[np.floating], factor: float) -> Image:
    """Warp a face by a multiple of its motion.

    Args:
        face: The frame that the motion starts from, uint8 RGB (H, W, 3).
        motion: (2, H, W) from that frame, px.
        factor: Magnification.

    Returns:
        The frame as if everything had moved ``factor`` times as far.
    """
    # ``remap`` asks where each target pixel came from, but the flow is known at the source.
    x, y = origins(np.asarray(factor * np.asarray(motion), np.float32))
    warped = cv2.remap(face, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def magnified_frames(measurement: Measurement, factor: float) -> Image:
    """The interval of a clip, as filmed and magnified, side by side.

    Args:
        measurement: The clip, with its interval.
        factor: 2 to 20.

    Returns:
        uint8 RGB (N, H, 2 S, 3), N at most ``MAGNIFIED_FRAMES``; filmed left, magnified right.
        H is S and the forehead above it.

    Raises:
        UserError: If the factor is out of range.
    """
    if not FACTORS[0] <= factor <= FACTORS[1]:
        raise UserError(f"magnification ×{factor:g}: expected ×{FACTORS[0]:g} to ×{FACTORS[1]:g}")
    aligned, interval = measurement.aligned, measurement.interval
    visible = np.flatnonzero(aligned.present)
    inside = visible[(visible >= interval.onset) & (visible <= interval.offset)]
    # Division rounded up.
    step = -(-len(inside) // MAGNIFIED_FRAMES)
    estimator = flow_estimator()
    onset, face = aligned.frames[interval.onset], aligned.pictures(interval.onset)
    mask = face_mask(aligned.landmarks, len(onset))
    start, above = to_grey(onset), len(face) - len(onset)
    frames = []
    for t in inside[::step]:
        moved = np.zeros((2, *face.shape[:2]), np.float32)
        # The motion from the onset to itself is none, and an estimator may differ.
        if t != interval.onset:
            flow = estimator(start, to_grey(aligned.frames[t]))
            # Or the head would be magnified with the face.
            flow = remove_head_motion(flow, head_points(aligned))[0]
            # Masked before the blur, so that motion fades out towards the face's edge; the
            # background's flow, magnified, would tear the picture.
            moved[:, above:] = flow * mask
            moved = np.stack([cv2.GaussianBlur(part, (0, 0), _SMOOTHING) for part in moved])
        pair = (aligned.pictures(t), magnify_frame(face, moved, factor))
        frames.append(np.concatenate(pair, axis=1))
    return np.stack(frames)


def film(frames: Image) -> bytes:
    """``magnified_frames`` forwards and backwards, in slow motion, as an H.264 MP4 in memory."""
    # The way back leaves out both end frames, or a looping video would show each of them twice.
    return encode_h264(np.concatenate([frames, frames[-2:0:-1]]), FPS, crf=23)
