"""Track one face through a clip: link detections by overlap and interpolate between them.

Faces are numbered from left to right in the picture, which a user can see.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.errors import NoFaceError
from deft_llm.media.finders import FaceBox, FaceFinder, HaarFinder, overlap
from deft_llm.stages import FINDING, begin

#: A track must cover at least this share of the clip's frames in a row.
MIN_COVERAGE = 0.2
#: Smallest intersection over union of neighbouring detections of one face.
MIN_OVERLAP = 0.4
#: A track survives this many missed detections in a row.
MAX_MISSES = 2
#: A face that is there for less than this share of the longest track is not followed by itself:
#: one that comes in late must not push out the one that the video is about.
STEADY = 0.8
#: Another face is told of if it is in this share of the frames looked at, and in two of them.
MIN_SEEN = 0.1
#: Two boxes of one time, whose centres are nearer than this share of the width, show one face.
DOUBLE = 0.6
#: The frames that are left out, where nobody else is in the picture.
WITHOUT = "without a face"


@dataclass(frozen=True)
class FaceTrack:
    """Position of the face in every frame.

    Attributes:
        boxes: (T, 4) x, y, w, h in pixels, interpolated between detections; NaN without a face.
        present: (T,) bool, which frames have a face.
        detections: Frame index and box as returned by the finder, in order of time.
        left_out: Which frames are those without it: "without a face", or others.
        remarks: What the user should know: that there are other faces, and who was followed.
    """

    boxes: NDArray[np.float64]
    present: NDArray[np.bool_]
    detections: tuple[tuple[int, FaceBox], ...] = field(repr=False, default=())
    left_out: str = WITHOUT
    remarks: tuple[str, ...] = ()


def default_step(frames: int, fps: float) -> int:
    """Frames between detections: five detections a second, and at least eight in a clip."""
    return max(1, min(frames // 8, round(fps / 5)))


def track_faces(
    clip: Clip,
    finder: FaceFinder | None = None,
    step: int | None = None,
    face: int | None = None,
) -> FaceTrack:
    """Track one face through a clip.

    Of several faces, the one with the largest sum of box widths over time is used, among those
    that are there for most of the time.

    Args:
        clip: The clip.
        finder: Face finder; None for `HaarFinder`.
        step: Detect on every `step`-th frame and on the last; None for `default_step`.
        face: Follow this one, counted from 1 from left to right in the picture; None for the rule.

    Raises:
        NoFaceError: If no face is tracked for a fifth of the frames in a row, or none has that
            number.
    """
    finder = finder or HaarFinder()
    begin(FINDING)
    step = step or default_step(len(clip), clip.fps)
    samples = sorted({*range(0, len(clip), step), len(clip) - 1})
    found = [(index, finder.find(clip.frames[index])) for index in samples]
    tracks = [t for t in _link(found, step) if _dense(t, step)]
    kept = [t for t in tracks if t[-1][0] - t[0][0] + 1 >= MIN_COVERAGE * len(clip)]
    if not kept:
        seen = sum(bool(boxes) for _, boxes in found)
        raise NoFaceError(
            f"{clip.label}: no face found; a face in {seen} of the {len(samples)} frames "
            f"looked at, none over a fifth of the {len(clip)} frames in a row; give a clip that "
            "shows one face from the front, upright, at least 15 % of the frame high"
        )
    people = distinct(kept)
    best = _chosen(people, clip, face)
    _seek_ends(best, samples, clip, finder)
    track = _fill(best, len(clip))
    enough = min(len(samples), max(2, round(MIN_SEEN * len(samples))))
    seen_too = [t for t in tracks if t is not best and len(t) >= enough]
    relations = [(relation(t, best), t) for t in seen_too]
    others = [t for kind, t in relations if kind == "other"]
    again = any(kind == "again" for kind, _ in relations)
    remarks = (*_told(people, best, others, clip, step), *_lost(again, track.present, clip))
    why = "outside of this stretch" if again else "without this face" if others else WITHOUT
    return replace(track, left_out=why, remarks=remarks)


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


def _dense(track: Detections, step: int) -> bool:
    """Whether there is a face in most of a track's samples."""
    return len(track) > 0.5 * (track[-1][0] - track[0][0]) / step


def _middle(track: Detections) -> float:
    """Where a face is from left to right, pixels."""
    return float(np.median([box.x + box.w / 2 for _, box in track]))


def _size(track: Detections) -> float:
    """Sum of a face's widths over time, pixels."""
    return sum(box.w for _, box in track)


def _chosen(kept: list[Detections], clip: Clip, face: int | None) -> Detections:
    """The track to follow, of those that hold, from left to right."""
    if face is not None:
        if face > len(kept):
            there = f"1 to {len(kept)}, from left to right" if len(kept) > 1 else "1, the only one"
            raise NoFaceError(
                f"{clip.label}: face {face} (--face); expected {there} that can be followed"
            )
        return kept[face - 1]
    longest = max(t[-1][0] - t[0][0] for t in kept)
    steady = [t for t in kept if t[-1][0] - t[0][0] >= STEADY * longest]
    return max(steady, key=_size)


def distinct(tracks: list[Detections]) -> list[Detections]:
    """One track of each face, the largest, from left to right."""
    people: list[Detections] = []
    for track in sorted(tracks, key=_size, reverse=True):
        if all(relation(track, known) == "other" for known in people):
            people.append(track)
    return sorted(people, key=_middle)


def relation(track: Detections, best: Detections) -> str:
    """What a track is to another one.

    Returns:
        "other" face; the same face "again", at another time in the same place; or a "double", a
        box inside the other one's.
    """
    before, after = track[-1][0] < best[0][0], track[0][0] > best[-1][0]
    if before or after:
        # At another time a face may have moved on, but hardly by its own width.
        pair = (track[-1][1], best[0][1]) if before else (track[0][1], best[-1][1])
        return "again" if _apart(*pair) < 1 else "other"
    times = np.array([index for index, _ in best])
    both = [(i, box) for i, box in track if times[0] <= i <= times[-1]] or track
    # The median: two faces that cross are in one place for a moment.
    away = [_apart(box, best[int(np.abs(times - i).argmin())][1]) for i, box in both]
    return "double" if np.median(away) < DOUBLE else "other"


def _apart(a: FaceBox, b: FaceBox) -> float:
    """Distance of the centres of two boxes over the width of the larger one."""
    return float(np.linalg.norm(_centre(a) - _centre(b))) / max(a.w, b.w)


def _centre(box: FaceBox) -> NDArray[np.float64]:
    return box.corners[:2] + box.corners[2:] / 2


def _told(
    people: list[Detections],
    best: Detections,
    others: list[Detections],
    clip: Clip,
    step: int,
) -> tuple[str, ...]:
    """A remark on other faces in the picture, with their numbers."""
    if not others:
        return ()
    number = next(i for i, track in enumerate(people, 1) if track is best)
    choices = [str(i) for i, t in enumerate(people, 1) if any(t is other for other in others)]
    # At once: a face that is lost behind another one and found again is still one.
    starts = [track[0][0] for track in others]
    many = max(sum(t[0][0] <= start <= t[-1][0] for t in others) for start in starts)
    count = "another face is" if many == 1 else f"{many} other faces are"
    first = min(track[0][0] for track in others)
    # A detection may be missed at the start as anywhere.
    late = first > (MAX_MISSES + 1) * step
    when = f" from about {clip.timestamps[first]:.2f} s" if late else ""
    # The numbers that ``face`` takes.
    left_out = f", not face {' or '.join(choices)}" if choices else ""
    return (f"{count} in the picture{when}; measured is face {number} from the left{left_out}",)


def _lost(again: bool, present: NDArray[np.bool_], clip: Clip) -> tuple[str, ...]:
    """A remark on a face that is lost and found again."""
    if not again:
        return ()
    first, last = clip.timestamps[np.flatnonzero(present)[[0, -1]]]
    return (f"the face is lost and found again: measured is {first:.2f} to {last:.2f} s",)


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
