"""Follow the regions of a face and its head over a clip.

The region motion of every frame is measured against a key frame at half size; there is a key
frame each second, and the key frames are chained. Our own method.

T frames, R regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.motion.flow import FlowEstimator, flow_estimator, to_grey
from deft_llm.motion.head_alignment import SHIFT, HeadAligner
from deft_llm.motion.head_depth import head_points
from deft_llm.motion.head_motion import remove_head_motion
from deft_llm.motion.pixels import grid, smaller
from deft_llm.motion.regions import region_masks, region_motion
from deft_llm.motion.visibility import visible_masks

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

FloatArray = NDArray[np.float32]

_KEY_SPACING = 1.0  # s
# Half of the canonical 224 px: a quarter of the pixels, since flow runs on every frame.
_SIZE = 112
_HELD = 0.5  # share of the way from onset to apex that is left at the offset; our choice
_HEAD_STEPS = 8  # a head may have gone far since its key frame

# Lids get no weight: blinks and gaze move them more than any micro-expression does.
REGION_WEIGHTS: FloatArray = np.array(
    [0.0 if name.endswith("lid") else 1.0 for name in facs.REGIONS], np.float32
)


@dataclass(frozen=True)
class Trajectory:
    """Positions of regions and head over time, in canonical pixels, relative to one frame.

    Attributes:
        regions: (T, R, 2) head-compensated region motion; NaN in frames without a face.
        head: (T, 2) motion of the nose bridge; NaN in frames without a face.
    """

    regions: FloatArray
    head: FloatArray

    def part(self, start: int, stop: int) -> Trajectory:
        """Frames ``start`` to ``stop`` - 1, still relative to the same frame."""
        return Trajectory(self.regions[start:stop], self.head[start:stop])


def track_regions(
    aligned: AlignedClip,
    reference: int = 0,
    estimator: FlowEstimator | None = None,
    masks_of: Callable[[FloatArray, int], FloatArray] = region_masks,
    even: bool = False,
) -> Trajectory:
    """Region motion and head motion of every frame against ``reference``.

    Args:
        aligned: The aligned clip.
        reference: The frame that defines zero motion. If it shows no face, the nearest frame
            with a face is used.
        estimator: Flow method, default ``flow_estimator()``.
        masks_of: Of other regions, see ``visible_masks``; one that lies outside of the picture
            does not move.
        even: Spread the difference of two key frames, about the frame midway, over the frames
            between them; otherwise it is a step there.

    Returns:
        The trajectory; zero at the reference.
    """
    count = len(aligned.frames)
    masks = visible_masks(aligned, _SIZE, masks_of)
    regions = np.full((count, len(masks), 2), np.nan, np.float32)
    head = np.full((count, 2), np.nan, np.float32)
    visible = np.flatnonzero(aligned.present)
    if visible.size == 0:
        return Trajectory(regions, head)
    pairs = _Pairs(aligned, masks, estimator or flow_estimator())
    times = aligned.timestamps
    keys = _key_frames(times, visible, reference)
    # Key frames are chained outwards from the reference, so errors add up once a second, not once a
    # frame.
    start = int(np.argmin(np.abs(keys - reference)))
    regions[keys[start]], head[keys[start]] = 0.0, 0.0
    for chain in (keys[start:], keys[start::-1]):
        for i, j in pairwise(chain.tolist()):
            moved, shifted = pairs(i, j)
            regions[j], head[j] = regions[i] + moved, head[i] + shifted
    for t in visible.tolist():
        # Other frames are measured against the nearest key: at most about half a second of flow
        # each.
        key = int(keys[np.argmin(np.abs(times[keys] - times[t]))])
        if key != t:
            moved, shifted = pairs(key, t)
            regions[t], head[t] = regions[key] + moved, head[key] + shifted
    for i, j in pairwise(keys.tolist()) if even else ():
        between = visible[(visible > i) & (visible < j)]
        nearer = between[times[between] - times[i] <= times[j] - times[between]]
        if nearer.size:
            middle = int(nearer[-1])
            apart = regions[j] + pairs(j, middle)[0] - regions[middle]
            _spread(regions, times, apart, between, (i, middle, j))
    return Trajectory(regions, head)


class _Pairs:
    """Motion of regions and head between any two frames with a face, at ``_SIZE``."""

    def __init__(self, aligned: AlignedClip, masks: FloatArray, estimator: FlowEstimator) -> None:
        self.masks, self.estimator = masks, estimator
        self.scale = aligned.frames.shape[1] / _SIZE
        self.landmarks = smaller(head_points(aligned), self.scale)
        visible = np.flatnonzero(aligned.present).tolist()
        self.images = {t: _small_grey(aligned.frames[t]) for t in visible}
        self.aligners: dict[int, HeadAligner] = {}

    def __call__(self, i: int, j: int) -> tuple[FloatArray, FloatArray]:
        """Region motion (R, 2) and head motion (2,) from frame i to j, canonical px."""
        if i == j:
            return np.zeros((len(self.masks), 2), np.float32), np.zeros(2, np.float32)
        if i not in self.aligners:
            self.aligners[i] = HeadAligner(self.images[i], self.landmarks)
        aligner = self.aligners[i]
        motion = aligner.fit(self.images[j], steps=_HEAD_STEPS)
        # The head is removed before flow, which would follow it by a part only on smooth skin.
        x, y = grid(_SIZE, _SIZE)
        u, v = aligner.field(motion)
        still = cv2.remap(self.images[j], x + u, y + v, cv2.INTER_CUBIC)
        flow, _ = remove_head_motion(self.estimator(self.images[i], still), self.landmarks)
        # Back to canonical pixels: flow was measured on the smaller image.
        moved = region_motion(flow, self.masks) * self.scale
        return moved, motion[SHIFT].astype(np.float32) * self.scale


def _spread(
    regions: FloatArray,
    times: NDArray[np.float64],
    apart: FloatArray,
    between: NDArray[np.intp],
    moments: tuple[int, int, int],
) -> None:
    """Move frames between two key frames so that both agree midway: none at the keys, half there.

    Args:
        regions: (T, R, 2), changed in place.
        times: (T,) s.
        apart: (R, 2) the second key's motion of the middle frame minus the first one's.
        between: Frames between the keys.
        moments: First key, middle frame, second key.
    """
    first, middle, second = moments
    for t in between:
        if t <= middle:
            share = 0.5 * (times[t] - times[first]) / (times[middle] - times[first])
        else:
            share = -0.5 * (times[second] - times[t]) / (times[second] - times[middle])
        regions[t] += np.float32(share) * apart


def _small_grey(frame: NDArray[np.uint8]) -> FloatArray:
    return cv2.resize(to_grey(frame), (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)


def _key_frames(
    times: NDArray[np.float64], visible: NDArray[np.intp], reference: int
) -> NDArray[np.intp]:
    """Visible frames about one second apart, including the one nearest to the reference."""
    first = int(visible[np.argmin(np.abs(visible - reference))])
    # The 1e-9 keeps an end point that falls exactly on the grid, which arange would leave out.
    low = np.arange(times[first], times[visible[0]] - 1e-9, -_KEY_SPACING)
    high = np.arange(times[first], times[visible[-1]] + 1e-9, _KEY_SPACING)
    wanted = np.concatenate([low, high])
    return np.unique([visible[np.argmin(np.abs(times[visible] - w))] for w in wanted])


def motion_curve(trajectory: Trajectory, reference: int) -> FloatArray:
    """Distance between the region motion of every frame and that of the reference frame.

    Args:
        trajectory: From ``track_regions``.
        reference: Frame of zero motion, usually the onset.

    Returns:
        (T,) pixels, root mean square over the regions without lids; NaN in frames without a face.
    """
    path = weighted(trajectory.regions, np.ones(len(REGION_WEIGHTS), np.float32))
    return np.linalg.norm(path - path[reference], axis=1).astype(np.float32)


def distance_from_rest(trajectory: Trajectory, expressions: Sequence[Interval]) -> FloatArray:
    """The same as ``motion_curve`` for a stretch of any number of expressions: against the rest.

    The rest is the median of the frames outside of the expressions. A face that has not come back
    at an offset is not at rest after it, so behind such an expression no frame counts.

    Args:
        trajectory: From ``track_regions``; one frame at least shows a face.
        expressions: In order of time.

    Returns:
        (T,) pixels; NaN in frames without a face.
    """
    path = weighted(trajectory.regions, np.ones(len(REGION_WEIGHTS), np.float32))
    at_rest = np.isfinite(path[:, 0])
    for each in expressions:
        onset, apex, offset = path[[each.onset, each.apex, each.offset]]
        held = np.linalg.norm(offset - onset) > _HELD * np.linalg.norm(apex - onset)
        # The onset stays, so that there is a frame even if the stretch begins with an expression.
        at_rest[each.onset + 1 : None if held else each.offset] = False
    rest = np.median(path[at_rest], axis=0)
    return np.linalg.norm(path - rest, axis=1).astype(np.float32)


def weighted(regions: FloatArray, floor: FloatArray) -> FloatArray:
    """(T, R, 2) -> (T, 2R): motion over its floor, weighted so that the norm is an RMS."""
    # The root, because the norm squares the weights.
    weights = np.sqrt(REGION_WEIGHTS / REGION_WEIGHTS.sum()) / floor
    return (regions * weights[:, None]).reshape(len(regions), -1)
