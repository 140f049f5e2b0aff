"""Faces: find, follow, place 68 landmarks, align to the canonical 224-pixel face.

The way through: `track_faces` says where the face is, `align` measures the head's pose, places the
landmarks (`locate`) and warps every frame.

Legend: T frames; frame pixels belong to the clip, canonical pixels to the 224 x 224 square.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.media.canonical import (
    CANONICAL_LANDMARKS,
    CANONICAL_SIZE,
    INTEROCULAR,
    compose,
    fit_similarity,
    transform,
)
from deft_llm.media.finders import FaceBox, FaceFinder, HaarFinder, YuNetFinder
from deft_llm.media.landmarks import LandmarkFinder, Landmarks, MeanShapeFinder, landmark_finder
from deft_llm.media.pose import excursion, head_poses, reference_frame
from deft_llm.media.tracking import FaceTrack, track_faces

__all__ = [
    "CANONICAL_LANDMARKS",
    "CANONICAL_SIZE",
    "INTEROCULAR",
    "AlignedClip",
    "FaceBox",
    "FaceFinder",
    "FaceTrack",
    "HaarFinder",
    "LandmarkFinder",
    "Landmarks",
    "MeanShapeFinder",
    "YuNetFinder",
    "align",
    "align_with",
    "landmark_finder",
    "locate_landmarks",
    "track_faces",
]

logger = logging.getLogger(__name__)

#: A head that stays within this share of the face box's width gets one constant transform.
STILL_HEAD = 0.03
#: Poses of a moving head are smoothed with a Gaussian of this SD, seconds.
POSE_SMOOTHING = 0.1


@dataclass(frozen=True)
class AlignedClip:
    """A clip in which the face stands still on the canonical square.

    Attributes:
        name: The clip's name.
        frames: uint8 RGB (T, 224, 224, 3); black where there is no face.
        present: (T,) bool, which frames have a face.
        transforms: (T, 2, 3) from frame pixels to canonical pixels.
        landmarks: float32 (68, 2), canonical pixels, iBUG order.
        landmark_uncertainty: float32 (68,), RMS error to expect of each landmark, canonical
            pixels.
        timestamps: (T,) seconds.
        constant: Whether one transform served all frames.
        landmark_method: What the landmarks rest on.
    """

    name: str
    frames: NDArray[np.uint8]
    present: NDArray[np.bool_]
    transforms: NDArray[np.float64]
    landmarks: NDArray[np.float32]
    landmark_uncertainty: NDArray[np.float32]
    timestamps: NDArray[np.float64]
    constant: bool
    landmark_method: str

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, start: int, stop: int) -> AlignedClip:
        """Frames ``start`` to ``stop`` - 1, with their times as they are."""
        of_frames = ("frames", "present", "transforms", "timestamps")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in of_frames})

    @property
    def placement_uncertainty(self) -> float:
        """RMS error to expect over all landmarks, canonical pixels."""
        return float(np.sqrt(np.mean(np.square(self.landmark_uncertainty, dtype=np.float64))))


def locate_landmarks(
    clip: Clip, track: FaceTrack, finder: LandmarkFinder | None = None
) -> Landmarks:
    """68 landmarks in the frame `reference_frame(track)`."""
    poses = head_poses(clip, track, reference_frame(track))
    return (finder or landmark_finder()).place(clip, track, poses)


def align(clip: Clip, track: FaceTrack, finder: LandmarkFinder | None = None) -> AlignedClip:
    """Align the tracked face of a clip.

    A head that stays within 3 % of the face's width gets one constant transform, so that alignment
    adds no motion at all. For a head that moves more, the pose of each frame is used, smoothed over
    0.1 s; what the smoothing leaves is head motion for `motion.head_motion` to remove.

    Args:
        clip: The clip.
        track: Its face, from `track_faces`.
        finder: Places the landmarks; None for `landmark_finder()`.

    Raises:
        UserError: If the default finder's weights are not there.
    """
    reference = reference_frame(track)
    poses = head_poses(clip, track, reference)
    found = (finder or landmark_finder()).place(clip, track, poses)
    away = excursion(poses[track.present], track.boxes[reference])
    constant = away <= STILL_HEAD
    if constant:
        poses = np.repeat(np.median(poses[track.present], axis=0)[None], len(clip), axis=0)
    else:
        logger.info("clip %s: head moves %.0f %% of its width", clip.name, 100 * away)
        poses = _smooth(poses, clip.timestamps)
    to_canonical = fit_similarity(found.points, CANONICAL_LANDMARKS)
    transforms = np.stack([compose(to_canonical, pose) for pose in poses])
    landmarks = transform(to_canonical, found.points).astype(np.float32)
    return _warp(clip, track.present, transforms, landmarks, found, constant)


def align_with(
    clip: Clip, landmarks: NDArray[np.floating], uncertainty: float = 0.0
) -> AlignedClip:
    """Align a clip whose landmarks are known, by one constant transform.

    Args:
        clip: The clip; every frame has the face.
        landmarks: (68, 2) in frame pixels, for example the simulator's exact ones.
        uncertainty: Their RMS error, canonical pixels.
    """
    matrix = fit_similarity(np.asarray(landmarks, np.float64), CANONICAL_LANDMARKS)
    points = transform(matrix, landmarks).astype(np.float32)
    expected = np.full(len(points), uncertainty / INTEROCULAR)
    found = Landmarks(np.asarray(landmarks, np.float64), expected, "given")
    transforms = np.repeat(matrix[None], len(clip), axis=0)
    return _warp(clip, np.ones(len(clip), bool), transforms, points, found, True)


def _warp(
    clip: Clip,
    present: NDArray[np.bool_],
    transforms: NDArray[np.float64],
    landmarks: NDArray[np.float32],
    found: Landmarks,
    constant: bool,
) -> AlignedClip:
    frames = np.zeros((len(clip), CANONICAL_SIZE, CANONICAL_SIZE, 3), np.uint8)
    for index in np.flatnonzero(present):
        frames[index] = warp_frame(clip.frames[index], transforms[index])
    return AlignedClip(
        clip.name,
        frames,
        present.copy(),
        transforms,
        landmarks,
        (found.uncertainty * INTEROCULAR).astype(np.float32),
        clip.timestamps,
        constant,
        found.method,
    )


def warp_frame(frame: NDArray[np.uint8], matrix: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Warp a frame (H, W, 3) to the canonical square by a (2, 3) matrix, without aliasing."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.75:
        # bilinear sampling skips pixels when it shrinks: blur to the new pixel's size first
        frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), 0.5 * np.sqrt(scale**-2 - 1)), np.uint8)
    size = (CANONICAL_SIZE, CANONICAL_SIZE)
    warped = cv2.warpAffine(
        frame,
        np.asarray(matrix, np.float64),
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def _smooth(poses: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low-pass poses (T, 2, 3) over time; odd reflection keeps a steady drift at the ends."""
    if len(poses) < 3:
        return poses
    sigma = POSE_SMOOTHING / float(np.median(np.diff(times)))
    radius = min(len(poses) - 1, max(1, round(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    flat = poses.reshape(len(poses), 6)
    head = 2 * flat[0] - flat[radius:0:-1]
    tail = 2 * flat[-1] - flat[-2 : -radius - 2 : -1]
    padded = np.concatenate([head, flat, tail])
    smooth = [np.convolve(padded[:, k], kernel / kernel.sum(), "valid") for k in range(6)]
    return np.stack(smooth, axis=1).reshape(poses.shape)
