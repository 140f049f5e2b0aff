"""Render long videos frame by frame: memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm.media.video import write_frames
from deft_llm.simulator.head import Head
from deft_llm.simulator.scene.scene import Scene
from deft_llm.simulator.scene.video_spec import Floats, VideoSpec

_SACCADE = 0.04  # s


class LongScene(Scene):
    """One identity in one long video.

    Args:
        video: The recipe.
        head: The head model, ``video.rest.head``.
    """

    def __init__(self, video: VideoSpec, head: Head) -> None:
        super().__init__(video.rest, head)
        self.video = video
        closures = [blink.values(self.times) for blink in video.blinks]
        self.blink = np.maximum.reduce([self.blink, *closures])
        self.gaze = _gaze(video.fixations, self.times)
        self.shown = [
            (shown.curve.values(), self.activations_of(shown)) for shown in video.expressions
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return LongScene, (self.video, self.head)

    def expression(self, frame: int) -> dict[str, float]:
        """See the base."""
        acting = super().expression(frame)
        for levels, activations in self.shown:
            if levels[frame] > 0:
                for au, full in activations.items():
                    acting[au] = acting.get(au, 0.0) + float(levels[frame]) * full
        return acting

    def peaks(self) -> list[float]:
        """Displacement of skin at the peak of each expression, px of the canonical face."""
        return [self._peak(activations) for _, activations in self.shown]

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame (H, W, 3) in turn, before any compression."""
        for seconds, (frame, _) in zip(self.times, self.exposures(), strict=True):
            for light in self.video.lights:
                frame = light.cast(frame, float(seconds))
            yield frame


def film_video(video: VideoSpec, head: Head, path: Path, crf: int = 18) -> list[float]:
    """Render a long video to H.264.

    Args:
        video: The recipe.
        head: The head model.
        path: The file, .mp4, .mov or .mkv.
        crf: Constant rate factor of x264.

    Returns:
        Displacement at the peak of each expression, px of the canonical face: less than drawn where
        the AUs of the head cannot reach it.

    Raises:
        UserError: If the head cannot show one of the AUs, or the file cannot be written.
    """
    scene = LongScene(video, head)
    write_frames(path, scene.frames(), video.rest.fps, crf)
    return scene.peaks()


def _gaze(fixations: tuple[tuple[float, float, float], ...], times: NDArray[np.float64]) -> Floats:
    """(yaw, pitch) at each time (T, 2): fixations, joined by saccades."""
    starts = np.array([start for start, _, _ in fixations])
    # The gaze rests until a saccade begins, and has arrived soon after.
    knots = np.sort(np.concatenate([starts[1:], starts[1:] + _SACCADE, starts[:1]]))
    index = np.searchsorted(starts + _SACCADE, knots + 1e-9).clip(1) - 1
    ways = np.array([(yaw, pitch) for _, yaw, pitch in fixations])[index]
    path = [np.interp(times, knots, way) for way in ways.T]
    return np.stack(path, axis=1).astype(np.float32)
