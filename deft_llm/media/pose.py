"""Head pose: a similarity transform from every frame to one reference frame.

Face boxes jitter by a few per cent, which is more than a micro-expression moves. So the pose is
measured on the image: corner points of the face are tracked from the reference frame by pyramidal
Lucas-Kanade, and a similarity transform is fitted to them by RANSAC.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.media.canonical import compose, fit_similarity, transform
from deft_llm.media.tracking import FaceTrack

#: Points are tracked at the scale where the face box is this wide, pixels.
WORKING_WIDTH = 160
#: With fewer inliers than this number, or this share of the points, a new key frame is started.
MIN_POINTS, MIN_SHARE = 12, 0.4
#: A pose that maps the box further from its place than this share of its width is rejected.
MAX_DISAGREEMENT = 0.25


def reference_frame(track: FaceTrack) -> int:
    """The frame whose box is nearest to the median box, the usual position of the head."""
    # Infinity where there is no face, so that argmin never picks such a frame.
    boxes = np.where(track.present[:, None], track.boxes, np.inf)
    median = np.nanmedian(track.boxes[track.present], axis=0)
    return int(np.argmin(np.abs(boxes - median).sum(axis=1)))


def head_poses(clip: Clip, track: FaceTrack, reference: int) -> NDArray[np.float64]:
    """Similarity transforms (T, 2, 3) from each frame to frame `reference`, in pixels.

    Frames without a face get the pose of the nearest frame that has one.
    """
    follower = _Follower(clip, track, reference)
    poses = np.full((len(clip), 2, 3), np.nan)
    poses[reference] = np.eye(2, 3)
    present = np.flatnonzero(track.present)
    # Forwards, then backwards from the reference: each frame is a neighbour of the one before.
    for order in (present[present > reference], present[present < reference][::-1]):
        follower.restart(reference, poses[reference])
        for index in order:
            poses[index] = follower.follow(int(index))
    return poses[_nearest(present, len(clip))]


def _nearest(present: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """For each of ``count`` frames the nearest of some, increasing; of two, the earlier."""
    frames = np.arange(count)
    # By bisection: the distances of all frames to all are gigabytes in a long video.
    after = np.searchsorted(present, frames).clip(max=len(present) - 1)
    before = np.maximum(after - 1, 0)
    earlier = np.abs(frames - present[before]) <= np.abs(present[after] - frames)
    return np.asarray(np.where(earlier, present[before], present[after]))


class _Follower:
    """Tracks the face from a key frame; moves the key frame on when too few points are left."""

    def __init__(self, clip: Clip, track: FaceTrack, reference: int) -> None:
        self.clip, self.track = clip, track
        self.home = _corners_of(track.boxes[reference])
        width = float(np.nanmedian(track.boxes[:, 2]))
        self.scale = min(1.0, WORKING_WIDTH / width)  # never enlarge: that adds no detail

    def restart(self, index: int, pose: NDArray[np.float64]) -> None:
        """Make frame `index`, whose pose is known, the key frame."""
        self.key_image, self.key_pose = self._grey(index), pose
        self.points = self._corners(index)
        self.guess = self.points.copy()
        self.last, self.last_pose = index, pose

    def follow(self, index: int) -> NDArray[np.float64]:
        """The pose of frame `index`, a neighbour of the last one."""
        # All frames are tracked from one key frame as long as possible: each new key frame adds
        # its error. The fallbacks are a new key frame, then the box alone.
        pose = self._tracked(index)
        # Only if the last frame is not the key frame already.
        if pose is None and self.last_pose is not self.key_pose:
            self.restart(self.last, self.last_pose)
            pose = self._tracked(index)
        if pose is None:
            pose = fit_similarity(_corners_of(self.track.boxes[index]), self.home)
            self.restart(index, pose)
        self.last, self.last_pose = index, pose
        return pose

    def _tracked(self, index: int) -> NDArray[np.float64] | None:
        """The pose from the tracked points; None if too few are left or the box contradicts it."""
        step = self._step(index)
        if step is None:
            return None
        pose = compose(self.key_pose, step)
        away = transform(pose, _corners_of(self.track.boxes[index])) - self.home
        limit = MAX_DISAGREEMENT * (self.home[1, 0] - self.home[0, 0])
        return pose if np.linalg.norm(away, axis=1).mean() < limit else None

    def _step(self, index: int) -> NDArray[np.float64] | None:
        """Transform from frame `index` to the key frame, or None if too few points are left."""
        if len(self.points) < MIN_POINTS:
            return None
        image = self._grey(index)
        # The last result is the initial guess, so the search stays short even far from the key
        # frame.
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            self.key_image,
            image,
            self.points,
            self.guess.copy(),
            winSize=(15, 15),
            maxLevel=2,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        good = status.ravel() == 1
        if good.sum() < MIN_POINTS:
            return None
        # In this order, from the frame back to the key frame; 1 px of the working scale is allowed.
        matrix, inliers = cv2.estimateAffinePartial2D(
            moved[good], self.points[good], ransacReprojThreshold=1.0
        )
        if matrix is None or inliers.sum() < max(MIN_POINTS, MIN_SHARE * len(self.points)):
            return None
        self.guess = np.asarray(moved, np.float32)
        step = np.asarray(matrix, np.float64)
        step[:, 2] /= self.scale  # only the shift depends on the working scale
        return step

    def _grey(self, index: int) -> NDArray[np.uint8]:
        grey = cv2.cvtColor(self.clip.frames[index], cv2.COLOR_RGB2GRAY)
        if self.scale == 1.0:
            return np.asarray(grey, np.uint8)
        size = (
            max(1, round(grey.shape[1] * self.scale)),
            max(1, round(grey.shape[0] * self.scale)),
        )
        return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _corners(self, index: int) -> NDArray[np.float32]:
        """Corner points of the inner face, (N, 1, 2), at working scale."""
        # An ellipse inside the box: points on hair and background would not move with the face.
        x, y, w, h = self.track.boxes[index] * self.scale
        mask = np.zeros(self.key_image.shape[:2], np.uint8)
        centre = (round(x + w / 2), round(y + h / 2))
        cv2.ellipse(mask, centre, (round(0.36 * w), round(0.48 * h)), 0, 0, 360, 255, -1)
        # At most 120 points, from 0.005 of the best one's quality on, 4 px apart.
        found = cv2.goodFeaturesToTrack(self.key_image, 120, 0.005, 4, mask=mask)
        return np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def _corners_of(box: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, w, h = box
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])


def excursion(poses: NDArray[np.float64], box: NDArray[np.float64]) -> float:
    """How far the head moves from its median position, as a share of the box's width.

    The 95th percentile over time of the distance of the farthest box corner, so that a single
    badly tracked frame does not count as motion.

    Args:
        poses: (T, 2, 3) from each frame to the reference frame.
        box: x, y, w, h in the reference frame.
    """
    places = np.stack([transform(p, _corners_of(box)) for p in poses])
    away = np.linalg.norm(places - np.median(places, axis=0), axis=-1).max(axis=1)
    return float(np.percentile(away, 95) / box[2])
