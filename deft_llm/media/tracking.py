"""Track one face through a clip: link detections by overlap and interpolate between them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.media.finders import FaceBox, FaceFinder, HaarFinder, overlap
from deft_llm.stages import FINDING, begin

logger = logging.getLogger(__name__)

#: A track must cover at least this share of the clip's frames in a row.
MIN_COVERAGE = 0.2
#: Smallest intersection over union of neighbouring detections of one face.
MIN_OVERLAP = 0.4
#: A track survives this many missed detections in a row.
MAX_MISSES = 2


@dataclass(frozen=True)
class FaceTrack:
    """Position of the face in every frame.

    Attributes:
        boxes: (T, 4) x, y, w, h in pixels, interpolated between detections; NaN without a face.
        present: (T,) bool, which frames have a face.
        detections: Frame index and box as returned by the finder, in order of time.
    """

    boxes: NDArray[np.float64]
    present: NDArray[np.bool_]
    detections: tuple[tuple[int, FaceBox], ...] = field(repr=False, default=())


def default_step(frames: int, fps: float) -> int:
    """Frames between detections: five detections a second, and at least eight in a clip."""
    return max(1, min(frames // 8, round(fps / 5)))


def track_faces(clip: Clip, finder: FaceFinder | None = None, step: int | None = None) -> FaceTrack:
    """Track the main face through a clip.

    Of several faces, the one with the largest sum of box widths over time is used.

    Args:
        clip: The clip.
        finder: Face finder; None for `HaarFinder`.
        step: Detect on every `step`-th frame and on the last; None for `default_step`.

    Raises:
        UserError: If no face is tracked for a fifth of the frames in a row.
    """
    finder = finder or HaarFinder()
    begin(FINDING)
    step = step or default_step(len(clip), clip.fps)
    samples = sorted({*range(0, len(clip), step), len(clip) - 1})
    found = [(index, finder.find(clip.frames[index])) for index in samples]
    tracks = _link(found, step)
    kept = [t for t in tracks if _holds(t, len(clip), step)]
    if not kept:
        seen = sum(bool(boxes) for _, boxes in found)
        raise UserError(
            f"no face found in clip {clip.name}: a face in {seen} of the {len(samples)} frames "
            f"looked at, none over a fifth of the {len(clip)} frames in a row; give a clip that "
            "shows one face from the front, upright, at least 15 % of the frame high"
        )
    if len(kept) > 1:
        logger.info("clip %s: %d faces; taking the largest", clip.name, len(kept))
    best = max(kept, key=lambda t: sum(box.w for _, box in t))
    _seek_ends(best, samples, clip, finder)
    return _fill(best, len(clip))


Detections = list[tuple[int, FaceBox]]


def _link(found: list[tuple[int, list[FaceBox]]], step: int) -> list[Detections]:
    """Link boxes that overlap from one detection to the next into tracks."""
    tracks: list[Detections] = []
    for index, boxes in found:
        free = [t for t in tracks if index - t[-1][0] <= step * (MAX_MISSES + 1)]
        for box in boxes:
            scored = [(overlap(t[-1][1].corners, box.corners), t) for t in free]
            score, best = max(scored, key=lambda item: item[0], default=(0.0, []))
            if score >= MIN_OVERLAP:
                best.append((index, box))
                # Identity, not equality: a track takes at most one box of a frame.
                free = [t for t in free if t is not best]
            else:
                tracks.append([(index, box)])
    return tracks


def _holds(track: Detections, frames: int, step: int) -> bool:
    """Whether a track covers a fifth of the clip, with a face in most of its samples."""
    span = track[-1][0] - track[0][0] + 1
    return span >= MIN_COVERAGE * frames and len(track) > 0.5 * (span - 1) / step


def _seek_ends(track: Detections, samples: list[int], clip: Clip, finder: FaceFinder) -> None:
    """Extend a track in place to the frames where the face appears and leaves, by bisection."""
    before = [i for i in samples if i < track[0][0]][-1:]
    after = [i for i in samples if i > track[-1][0]][:1]
    for end, without in ((0, before), (-1, after)):
        while without and abs(without[0] - track[end][0]) > 1:
            known, box = track[end]
            middle = (known + without[0]) // 2
            near = [
                face
                for face in finder.find(clip.frames[middle])
                if overlap(face.corners, box.corners) >= MIN_OVERLAP
            ]
            if near:
                track.insert(0 if end == 0 else len(track), (middle, near[0]))
            else:
                without = [middle]


def _fill(track: Detections, frames: int) -> FaceTrack:
    """Interpolate the boxes between detections; no face outside the track."""
    known = np.array([index for index, _ in track])
    corners = _median3(np.stack([box.corners for _, box in track]))
    present = np.zeros(frames, bool)
    present[known[0] : known[-1] + 1] = True
    times = np.arange(frames)
    boxes = np.stack([np.interp(times, known, corners[:, k]) for k in range(4)], axis=1)
    boxes[~present] = np.nan
    return FaceTrack(boxes, present, tuple(track))


def _median3(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running median of three along the first axis; removes single outlier boxes."""
    if len(values) < 3:
        return values
    middle = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([values[:1], middle, values[-1:]])
