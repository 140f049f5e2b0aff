"""Recipes of long videos as measured ones, without a picture: exact motion plus noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deft_llm.data.long_videos import CodedVideo, LongVideoData, video_specs
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.motion.flow_windows import SIDE, Bytes, frames_apart
from deft_llm.motion.rois import ROIS
from deft_llm.simulator.scene.video_spec import MACRO, MICRO, VideoSpec

# Emotions have their own regions; which ones does not matter.
_GROUPS = {"happiness": (8, 9, 10), "surprise": (0, 1, 4, 5)}
_OTHERS = (2, 3, 6, 7)


def exact_video(spec: VideoSpec, noise: float = 0.03) -> CodedVideo:
    """A recipe's video: every expression moves its regions by its peak."""
    rng = np.random.default_rng(spec.rest.seed)
    motion = rng.normal(0, noise, (spec.frames, len(ROIS), 2)).astype(np.float32)
    for shown in spec.expressions:
        group = _GROUPS.get(shown.emotion or "", _OTHERS)
        motion[:, group, 1] -= (shown.peak_px * shown.curve.values())[:, None]
    times = np.arange(spec.frames) / spec.rest.fps
    track = RoiTrack(0, motion, np.zeros(spec.frames, np.int64), times)
    micro, macro = (tuple(shown.coded for shown in spec.of_kind(kind)) for kind in (MICRO, MACRO))
    peaks = tuple(shown.peak_px for shown in spec.of_kind(MICRO))
    return CodedVideo(spec.subject, spec.name, track, micro, macro, peaks, spec.speaks)


def exact_videos(data: LongVideoData, folder: Path) -> list[CodedVideo]:
    """In place of ``simulated_videos``."""
    return [exact_video(spec) for spec in video_specs(data)]


def exact_windows(video: CodedVideo, cache: Path | None = None) -> Bytes:
    """In place of ``windows_of``: a patch that is bright while a window meets an expression."""
    rng = np.random.default_rng(len(video.track))
    shown = rng.integers(90, 110, (len(video.track), 3, SIDE, SIDE))
    apart = frames_apart(video.track.timestamps)
    for each in video.coded:
        first = max(each.interval.onset - apart + 1, 0)
        shown[first : each.interval.offset + 1, :, 10:30, 10:30] += 100
    return shown.astype(np.uint8)
