"""Frames for networks that read video: one transform a clip, sub-clips and key frames.

Features (``data/features.py``) that are stored on demand: they take more space than all others.

==============  =================================================================================
``sub_clips``   uint8 (K, 8, S, S): K sub-clips of 8 grey frames, spread over the clip, without
                onset and apex
``key_frames``  float16 (3, 3, S, S): onset, the frame before the apex, and apex, RGB in 0..255,
                without the head's motion; ``motion/flow_diff.py`` makes volumes of these
``landmarks``   float32 (68, 2): the clip's landmarks in pixels of frames with S = ``RAW_SIDE``,
                whatever side is stored: nobody who reads them alone could know it
==============  =================================================================================

All frames of a clip get the transform of its onset. A transform of their own for each frame would
carry the jitter of the face finder into the motion.

Letters: K sub-clips, L frames, S side in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.errors import UserError
from deft_llm.media.canonical import CANONICAL_SIZE, compose, invert
from deft_llm.motion.flow import flow_estimator, to_grey
from deft_llm.motion.head_motion import fit_rigid
from deft_llm.motion.pixels import FloatArray, smaller
from deft_llm.motion.warping import carried

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

SUB_CLIP = 8  # frames of a sub-clip
SUB_CLIPS = 2  # K that are stored
RAW_SIDE = 128  # S
RAW_IMAGES = ("sub_clips", "key_frames")
RAW_FEATURES = (*RAW_IMAGES, "landmarks")  # stored together


def sub_clip_indices(frames: int) -> NDArray[np.int64]:
    """Frames of all sub-clips: every s-th frame, from each of the first s (MOL's sampling).

    Args:
        frames: L.

    Returns:
        (s, 8) with s = L // 8; no frame twice.

    Raises:
        UserError: If the clip has fewer than 8 frames.
    """
    if frames < SUB_CLIP:
        raise UserError(
            f"a clip of {frames} frames; expected at least {SUB_CLIP} for sub-clips; read more "
            "frames before the onset and after the offset, or the video at its full rate"
        )
    step = frames // SUB_CLIP
    return np.arange(step)[:, None] + step * np.arange(SUB_CLIP)


def one_transform(aligned: AlignedClip, frames: NDArray[np.int64], reference: int) -> NDArray:
    """Frames of a clip, all under the transform of one of them.

    Args:
        aligned: The clip.
        frames: (L,) indices.
        reference: The frame whose transform they get.

    Returns:
        uint8 RGB (L, 224, 224, 3).
    """
    if aligned.constant:
        return aligned.frames[frames]
    size = (CANONICAL_SIZE, CANONICAL_SIZE)
    moved = []
    for i in frames:
        # First back to the video by the frame's own transform, then by the reference's.
        back = compose(aligned.transforms[reference], invert(aligned.transforms[i]))
        moved.append(
            cv2.warpAffine(
                aligned.frames[i],
                back,
                size,
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    return np.stack(moved)


def sub_clips(aligned: AlignedClip, reference: int, side: int = RAW_SIDE) -> NDArray[np.uint8]:
    """K sub-clips (K, 8, side, side) of the frames that show a face; fewer are repeated.

    Raises:
        UserError: If fewer than 8 frames show a face.
    """
    visible = np.flatnonzero(aligned.present)
    indices = sub_clip_indices(len(visible))
    chosen = visible[indices[np.linspace(0, len(indices) - 1, SUB_CLIPS).round().astype(int)]]
    frames = one_transform(aligned, chosen.ravel(), reference)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    small = [cv2.resize(g, (side, side), interpolation=cv2.INTER_AREA) for g in grey]
    return np.stack(small).reshape(*chosen.shape, side, side)


def landmarks(aligned: AlignedClip) -> NDArray[np.float32]:
    """The clip's 68 landmarks (68, 2), px of frames with the side ``RAW_SIDE``."""
    return smaller(aligned.landmarks, CANONICAL_SIZE / RAW_SIDE).astype(np.float32)


def without_head_motion(frames: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
    """Frames (L, 224, 224, 3) in which the head is where it is in the first of them.

    Under one transform a head that drifts moves everything by pixels, an expression by tenths. The
    paper of MPFNet shifts the apex by the landmarks of the nose; here the motion of the rigid parts
    of the face is taken out (``motion/head_motion.py``), which no landmark's jitter enters.
    """
    estimate = flow_estimator()
    first = to_grey(frames[0])
    steady = [frames[0]]
    for frame in frames[1:]:
        head = fit_rigid(estimate(first, to_grey(frame)), landmarks)
        steady.append(carried(frame, head.field(*first.shape)))
    return np.stack(steady)


def key_frames(
    aligned: AlignedClip, interval: Interval, side: int = RAW_SIDE
) -> NDArray[np.float16]:
    """Onset, the frame before the apex, and apex: (3, 3, side, side) RGB in 0..255.

    Raises:
        UserError: If the apex is not after the onset.
    """
    onset, apex = interval.onset, interval.apex
    if apex <= onset:
        raise UserError(
            f"{aligned.name}: onset {onset} and apex {apex}; expected an apex after the onset, or "
            "there is no motion to magnify; correct the interval"
        )
    # Of two frames, the one before the apex is the onset.
    chosen = one_transform(aligned, np.array([onset, max(onset, apex - 1), apex]), onset)
    # Floats: rounding to grey levels would hide differences below one level.
    steady = without_head_motion(chosen.astype(np.float32), aligned.landmarks)
    small = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in steady]
    return np.ascontiguousarray(np.stack(small).transpose(0, 3, 1, 2), np.float16)
