"""Measured long videos without rendering: bumps of motion in noise, where they are coded."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.clip import Expression, Interval
from deft_llm.data.long_videos import CodedVideo
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.motion.rois import ROIS

FPS = 30
# Emotion -> the regions that move, and which way.
MOTIONS = {"happiness": ((8, 9, 10), (0.5, -1.0)), "surprise": ((0, 1, 4, 5), (0.0, -1.0))}


def made_video(subject: int, number: int, frames: int = 300, every: int = 100) -> CodedVideo:
    """A video with an expression in about every so many frames; 0 for none."""
    rng = np.random.default_rng([subject, number])
    motion = rng.normal(0, 0.05, (frames, len(ROIS), 2)).astype(np.float32)
    coded = []
    for start in range(30, frames - 40, every) if every else ():
        onset = start + int(rng.integers(0, 20))
        length = int(rng.integers(8, 20))
        emotion = str(rng.choice(list(MOTIONS)))
        regions, way = MOTIONS[emotion]
        bump = np.hanning(length + 1)[:, None, None] * np.array(way)
        motion[onset : onset + length + 1, regions] += bump.astype(np.float32)
        interval = Interval(onset, onset + length // 2, onset + length)
        coded.append(Expression(interval, emotion))
    track = RoiTrack(0, motion, np.zeros(frames, np.int64), np.arange(frames) / FPS)
    return CodedVideo(f"s{subject}", f"v{number}", track, tuple(coded))


@pytest.fixture(scope="session")
def videos() -> list[CodedVideo]:
    """Three videos of each of four people; one of the three shows nothing."""
    return [made_video(s, n, every=0 if n == 2 else 100) for s in range(4) for n in range(3)]
