"""What spotters read: curves of the ME-TST papers' regions, of whole videos or by windows.

``network_curves`` takes the motion of a followed video (``roi_tracking``) against the face at rest,
``network_windows`` against the first frame of each window, as the papers do. ``paper_windows`` is
the papers' own measurement (``motion.roi_farneback``) of the same windows.

T frames, W windows, C = 2 R channels: u and v of each of R = 5 or 18 regions in turn, u to the
image's right and v down; px of the canonical face, but in the papers' form px of their crop.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from deft_llm.clip import Clip
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media.face import landmark_finder, locate_landmarks, track_faces
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.parts import parts_of
from deft_llm.motion.roi_farneback import FarnebackRois
from deft_llm.motion.rois import FIVE, ROIS

Floats = NDArray[np.float32]

REST = 4.0  # s; expressions that last half of it or longer are taken for the face at rest
_LOOKS = 4  # frames in which the first face of a window is searched
_PAUSE = 5  # frames until the next search, where there is none


def network_curves(track: RoiTrack, regions: int = len(ROIS)) -> Floats:
    """Curves of a whole video, of any length: motion against the face at rest.

    Rest is the median over ``REST`` seconds around a frame, within its shot. Frames without a face
    are 0, as rest is.

    Args:
        track: Motion of a video.
        regions: 18, or 5 for ME-TST's.

    Returns:
        (C, T) float32, px.
    """
    curves = np.zeros_like(track.motion)
    for shot in np.unique(track.shots):
        frames = np.flatnonzero((track.shots == shot) & track.present)
        if not frames.size:
            continue
        steps = np.diff(track.timestamps[frames])
        step = max(float(np.median(steps)) if steps.size else REST, 1e-3)
        # Odd, so that a frame is the middle of its own window.
        width = min(2 * round(REST / step / 2) + 1, 2 * frames.size + 1)
        motion = track.motion[frames].reshape(frames.size, -1)
        # One channel after the other: the filter of one dimension is by far faster.
        rest = [median_filter(channel, width, mode="nearest") for channel in motion.T]
        curves[frames] = (motion - np.stack(rest, 1)).reshape(frames.size, -1, 2)
    return _channels(curves, regions)


def network_windows(track: RoiTrack, length: int, regions: int = len(ROIS)) -> Floats:
    """The papers' windows: half overlapping, each against its own first frame with a face.

    What does not fill half a window at the end is left out.

    Args:
        track: Motion of a video.
        length: Frames of a window, an even number.
        regions: 18, or 5 for ME-TST's.

    Returns:
        (W, C, length) float32, px; 0 before the first face of a window and across a cut.

    Raises:
        UserError: If the length is odd, or the video is shorter than one window.
    """
    if length < 2 or length % 2:
        raise UserError(f"window of {length} frames: expected an even number")
    count = len(track) // (length // 2) - 1
    if count < 1:
        raise UserError(
            f"{len(track)} frames: shorter than a window of {length}; take curves of the whole "
            "video, or shorter windows"
        )
    windows = np.zeros((count, length, len(ROIS), 2), np.float32)
    for window, start in zip(windows, range(0, len(track), length // 2), strict=False):
        part = track.motion[start : start + length]
        there = track.present[start : start + length]
        for shot in np.unique(track.shots[start : start + length]):
            frames = np.flatnonzero(there & (track.shots[start : start + length] == shot))
            if frames.size:
                window[frames] = part[frames] - part[frames[0]]
    return np.stack([_channels(window, regions) for window in windows])


def _channels(motion: Floats, regions: int) -> Floats:
    """(T, 18, 2) -> (C, T)."""
    if regions not in (len(FIVE), len(ROIS)):
        raise UserError(f"{regions} regions: expected {len(FIVE)} or {len(ROIS)}")
    chosen = motion if regions == len(ROIS) else motion[:, FIVE]
    return np.ascontiguousarray(chosen.reshape(len(motion), -1).T)


def paper_windows(
    source: Path | str | Clip, length: int, options: ReadOptions = WHOLE, regions: int = len(ROIS)
) -> Iterator[Floats]:
    """The papers' windows in the papers' form, while the video is read.

    The face is searched at the start of every window; until one is found, its frames are 0.
    Windows run across hard cuts, as in the public code.

    Args:
        source: A video file, an animation, a folder of frames, or a clip.
        length: Frames of a window, an even number.
        options: Which part to read, at which rate, whose face, and who places its landmarks.
        regions: 18, or 5 for ME-TST's.

    Yields:
        (C, length) float32, px of the papers' crop; each window begins half a window later.

    Raises:
        UserError: If the length is odd, or the source cannot be read.
    """
    if length < 2 or length % 2:
        raise UserError(f"window of {length} frames: expected an even number")
    kept: list[NDArray[np.uint8]] = []
    for frame in _frames(source, options):
        kept.append(frame)
        if len(kept) == length:
            yield _channels(_paper_window(np.stack(kept), options), regions)
            del kept[: length // 2]


def _paper_window(frames: NDArray[np.uint8], options: ReadOptions) -> Floats:
    """Motion (T, 18, 2) of one window."""
    motion = np.zeros((len(frames), len(ROIS), 2), np.float32)
    grey = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    for start in range(0, len(frames) - _LOOKS, _PAUSE):
        looks = frames[start : start + _LOOKS]
        clip = Clip("window", looks, np.arange(len(looks), dtype=np.float64))
        try:
            track = track_faces(clip, step=_LOOKS - 1, face=options.face)
        except NoFaceError:
            continue
        found = locate_landmarks(clip, track, landmark_finder(options.landmarks))
        rois = FarnebackRois(grey[start], found.points)
        # In order of time, because the face's box moves on from frame to frame.
        for index in range(start + 1, len(frames)):
            motion[index] = rois(grey[index])
        break
    return motion


def _frames(source: Path | str | Clip, options: ReadOptions) -> Iterator[NDArray[np.uint8]]:
    """Every frame once: parts overlap, and overwrite what they have shown."""
    done = 0
    for part in parts_of(source, options):
        first = (part.start - options.start) // options.stride
        for frame in part.clip.frames[max(done - first, 0) :]:
            yield frame.copy()
        done = max(done, first + len(part.clip))
