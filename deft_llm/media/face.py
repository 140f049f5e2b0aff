"""Faces: find, track, place 68 landmarks, align to the canonical 224-pixel face.

`track_faces` finds the face in every frame; `align` measures the head pose, places the landmarks
with a `LandmarkFinder` and warps every frame.

T frames; frame pixels are pixels of the clip, canonical pixels those of the 224 x 224 square.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.media.borders import always_inside, find_picture
from deft_llm.media.canonical import (
    CANONICAL_LANDMARKS,
    CANONICAL_SIZE,
    INTEROCULAR,
    compose,
    fit_similarity,
    invert,
    transform,
)
from deft_llm.media.finders import FaceBox, FaceFinder, HaarFinder, YuNetFinder
from deft_llm.media.landmarks import LandmarkFinder, Landmarks, MeanShapeFinder, landmark_finder
from deft_llm.media.pose import excursion, head_poses, reference_frame
from deft_llm.media.tracking import WITHOUT, FaceTrack, track_faces

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
# So many times as long, or as short, as at the median rate may the frames last that are smoothed.
_UNEVEN = 1.5
#: Canonical pixels above the square that pictures show, to the hair; a multiple of `_ABOVE_STEP`.
ABOVE = 64
_ABOVE_STEP = 8


@dataclass(frozen=True, repr=False, eq=False)  # as of ``Clip``
class AlignedClip:
    """A clip warped so that the face stays in place on the canonical square.

    Attributes:
        name: The clip's name.
        frames: uint8 RGB (T, 224, 224, 3); black where there is no face.
        present: (T,) bool, which frames have a face.
        transforms: (T, 2, 3) from frame pixels to canonical pixels.
        landmarks: float32 (68, 2), canonical pixels, iBUG order.
        landmark_uncertainty: float32 (68,), RMS error to expect of each landmark, canonical
            pixels.
        timestamps: (T,) seconds.
        constant: Whether all frames share one transform.
        landmark_method: How the landmarks were found (`Landmarks.method`).
        left_out: Which frames those are that are not present: "without a face", or others.
        remarks: What the user should know about how the clip was read and whose face it shows.
        above: uint8 RGB (T, A, 224, 3), the rows above ``frames`` as far as the video shows them,
            A at most `ABOVE`; None if they were not kept. For pictures: nothing is measured there.
        landmark_depth: float32 (68,), how much nearer to the camera each landmark is than the
            nose bridge, interocular distances; None if the finder does not tell.
        inside: (224, 224) bool, which pixels lie inside the picture in every frame with the face;
            None if all do.
        goes_on: Whether the video goes on after the last frame.
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
    left_out: str = WITHOUT
    remarks: tuple[str, ...] = ()
    above: NDArray[np.uint8] | None = None
    landmark_depth: NDArray[np.float32] | None = None
    inside: NDArray[np.bool_] | None = None
    goes_on: bool = False

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        """Short: in a notebook, the frames would fill pages."""
        seen = int(np.count_nonzero(self.present))
        return f"<AlignedClip {self.name!r}: a face in {seen} of {len(self)} frames>"

    def pictures(self, frames: int | slice | NDArray[np.intp]) -> NDArray[np.uint8]:
        """Frames with the forehead above them, (..., A + 224, 224, 3)."""
        if self.above is None:
            return self.frames[frames]
        return np.concatenate([self.above[frames], self.frames[frames]], axis=-3)

    def part(self, start: int, stop: int) -> AlignedClip:
        """Frames ``start`` to ``stop`` - 1, with unchanged timestamps."""
        of_frames = ["frames", "present", "transforms", "timestamps"]
        of_frames += ["above"] if self.above is not None else []
        goes_on = self.goes_on or stop < len(self)
        cut = {name: getattr(self, name)[start:stop] for name in of_frames}
        return replace(self, goes_on=goes_on, **cut)

    @property
    def placement_uncertainty(self) -> float:
        """RMS error to expect over all landmarks, canonical pixels."""
        return float(np.sqrt(np.mean(np.square(self.landmark_uncertainty, dtype=np.float64))))


def locate_landmarks(
    clip: Clip, track: FaceTrack, finder: LandmarkFinder | None = None
) -> Landmarks:
    """Find 68 landmarks in the frame `reference_frame(track)`."""
    poses = head_poses(clip, track, reference_frame(track))
    return (finder or landmark_finder()).place(clip, track, poses)


def align(clip: Clip, track: FaceTrack, finder: LandmarkFinder | None = None) -> AlignedClip:
    """Align the tracked face of a clip.

    If the head stays within 3 % of the face's width, all frames share one transform, so that
    alignment adds no motion. Otherwise each frame has its own pose, smoothed over 0.1 s;
    `motion.head_motion` removes the head motion that remains.

    Args:
        clip: The clip.
        track: Its face, from `track_faces`.
        finder: Places the landmarks; None for `landmark_finder()`.

    Raises:
        UserError: If the default finder's weights are missing.
    """
    reference = reference_frame(track)
    poses = head_poses(clip, track, reference)
    found = (finder or landmark_finder()).place(clip, track, poses)
    away = excursion(poses[track.present], track.boxes[reference])
    constant = away <= STILL_HEAD
    if constant:
        # The median pose: the head's usual place, unaffected by frames that were tracked badly.
        poses = np.repeat(np.median(poses[track.present], axis=0)[None], len(clip), axis=0)
    else:
        logger.info("clip %s: head moves %.0f %% of its width", clip.name, 100 * away)
        poses = _smooth(poses, clip.timestamps)
    # A similarity only: an affine fit would change the face's proportions and distort motion.
    to_canonical = fit_similarity(found.points, CANONICAL_LANDMARKS)
    transforms = np.stack([compose(to_canonical, pose) for pose in poses])
    landmarks = transform(to_canonical, found.points).astype(np.float32)
    aligned = _warp(clip, track.present, transforms, landmarks, found, constant)
    return replace(aligned, left_out=track.left_out, remarks=(*clip.remarks, *track.remarks))


def align_with(
    clip: Clip, landmarks: NDArray[np.floating], uncertainty: float = 0.0
) -> AlignedClip:
    """Align a clip with known landmarks by one constant transform.

    Args:
        clip: The clip; every frame shows the face.
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
    picture = find_picture(clip.frames)
    shown = picture.from_here(transforms)
    rows = _rows_above(picture.size, shown[present])
    above = np.zeros((len(clip), rows, CANONICAL_SIZE, 3), np.uint8)
    lower = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, rows]])
    for index in np.flatnonzero(present):
        frame, matrix = _blurred(picture.of(clip.frames[index]), shown[index]), shown[index]
        # Two warps, not one that is cut: the square is the same whatever is shown above it.
        frames[index] = _warp_affine(frame, matrix, CANONICAL_SIZE)
        if rows:
            above[index] = _warp_affine(frame, compose(lower, matrix), rows)
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
        above=above,
        landmark_depth=None if found.depth is None else found.depth.astype(np.float32),
        inside=always_inside(shown[present], picture.size, CANONICAL_SIZE),
        goes_on=clip.goes_on,
    )


def _rows_above(size: tuple[int, ...], transforms: NDArray[np.float64]) -> int:
    """How many rows above the canonical square at least half of the frames show.

    Args:
        size: (H, W) of the frames.
        transforms: (N, 2, 3) from frame pixels to canonical pixels.
    """
    # The middle half: a picture may lose its upper corners to the frame's edge.
    columns = np.linspace(0.25, 0.75, 3) * (CANONICAL_SIZE - 1)
    back = [invert(matrix) for matrix in transforms]
    for rows in range(ABOVE, 0, -_ABOVE_STEP):
        edge = np.column_stack([columns, np.full(len(columns), -rows)])
        places = np.array([transform(matrix, edge) for matrix in back])
        inside = (places >= 0) & (places <= np.array(size[::-1]) - 1)
        if inside.all(axis=(1, 2)).mean() >= 0.5:
            return rows
    return 0


def _blurred(frame: NDArray[np.uint8], matrix: NDArray[np.floating]) -> NDArray[np.uint8]:
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale >= 0.75:
        return frame
    # Bilinear sampling skips pixels when it shrinks: blur to the size of a new pixel first.
    # A pixel is about 0.5 px wide (SD), and SDs add in quadrature.
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 0.5 * np.sqrt(scale**-2 - 1)), np.uint8)


def _warp_affine(
    frame: NDArray[np.uint8], matrix: NDArray[np.floating], height: int
) -> NDArray[np.uint8]:
    warped = cv2.warpAffine(
        frame,
        np.asarray(matrix, np.float64),
        (CANONICAL_SIZE, height),
        flags=cv2.INTER_LINEAR,
        # Replicate: a black border would give flow a hard edge that moves with the transform.
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def _smooth(poses: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth poses (T, 2, 3) over time; odd reflection preserves a steady drift at the ends."""
    if len(poses) < 3:
        return poses
    sigma = POSE_SMOOTHING / float(np.median(np.diff(times)))
    radius = min(len(poses) - 1, max(1, round(3 * sigma)))
    lasts = (times[radius:] - times[:-radius]) * sigma / (radius * POSE_SMOOTHING)
    # A frame that was dropped here and there is no matter; a camera that slows down in the dark is.
    if lasts.max() > _UNEVEN or lasts.min() < 1 / _UNEVEN:
        return _smooth_unevenly(poses, times)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    # Averaging matrix entries is accurate here, since neighbouring poses differ by small angles.
    flat = poses.reshape(len(poses), 6)
    head = 2 * flat[0] - flat[radius:0:-1]
    tail = 2 * flat[-1] - flat[-2 : -radius - 2 : -1]
    padded = np.concatenate([head, flat, tail])
    smooth = [np.convolve(padded[:, k], kernel / kernel.sum(), "valid") for k in range(6)]
    return np.stack(smooth, axis=1).reshape(poses.shape)


def _smooth_unevenly(poses: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same where the rate changes: at each frame a line over time through the poses around."""
    flat, smooth = poses.reshape(len(poses), 6), np.empty((len(poses), 6))
    first = np.searchsorted(times, times - 3 * POSE_SMOOTHING)
    stop = np.searchsorted(times, times + 3 * POSE_SMOOTHING, side="right")
    for t, near in enumerate(map(slice, first, stop)):
        away = times[near] - times[t]
        weight = np.exp(-0.5 * (away / POSE_SMOOTHING) ** 2)
        weight /= weight.sum()
        # About the poses' own mean time: more frames on one side must not pull a drift back.
        middle = weight @ away
        slope = (weight * (away - middle)) @ flat[near] / max(weight @ (away - middle) ** 2, 1e-12)
        smooth[t] = weight @ flat[near] - slope * middle
    return smooth.reshape(poses.shape)
