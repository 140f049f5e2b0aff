"""Decoders on perfect curves: what of the score is lost by decoding alone.

The curve of a video is ``LEVEL`` on the frames between the onsets and offsets of its coded
expressions and ``FLOOR`` elsewhere, as networks are trained to give it, plus noise. Half lengths
are taken from the same videos: nothing is learned that could leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from deft_llm.clip import Annotation, Expression, Interval
from deft_llm.metrics.spotting import SpottedVideo, count_videos
from deft_llm.simulator.scene.performance import draw_duration
from deft_llm.simulator.scene.statistics import coding_statistics
from deft_llm.spotters import decoding, hysteresis
from deft_llm.spotters.decoding import Curve
from deft_llm.spotters.priors import half_length

LEVEL, FLOOR = 0.92, 0.02
NOISES = (0.0, 0.05)  # SD
REST = 150  # frames after the last expression: sheets do not say how long a video is
FPS = 30
_PHASES = ("onset_to_apex", "apex_to_offset")
_SHORTEST, _LONGEST = 2 / FPS, 4.0  # s, of a phase

Decode = Callable[[Curve], list[Interval]]


@dataclass(frozen=True)
class CodedVideo:
    """A video without its pictures.

    Attributes:
        subject: Subject id.
        video: Video id, unique for the subject.
        frames: Number of frames.
        coded: Coded expressions.
    """

    subject: str
    video: str
    frames: int
    coded: tuple[Expression, ...]


def coded_videos(annotations: Iterable[Annotation]) -> list[CodedVideo]:
    """Long videos of annotations whose clips are named after video and onset, as CAS(ME)3's are."""
    videos: dict[tuple[str, str], list[Expression]] = {}
    for each in annotations:
        if each.interval is not None:
            key = (each.subject, each.clip.rpartition("_")[0])
            videos.setdefault(key, []).append(Expression(each.interval, each.emotion))
    return [
        CodedVideo(*key, max(e.interval.offset for e in coded) + 1 + REST, tuple(coded))
        for key, coded in videos.items()
    ]


def drawn_videos(count: int, seed: int = 0) -> list[CodedVideo]:
    """Videos with one to five expressions as long as those of CAS(ME)3, at least a second apart."""
    rng = np.random.default_rng(seed)
    durations = coding_statistics()["durations_seconds"]["casme3"]
    videos = []
    for number in range(count):
        end, coded = 0, []
        for _ in range(rng.integers(1, 6)):
            onset = end + int(rng.integers(FPS, 20 * FPS))
            up, down = (
                round(FPS * draw_duration(rng, durations[name], (_SHORTEST, _LONGEST)))
                for name in (f"{phase}_quantiles_05_25_50_75_95" for phase in _PHASES)
            )
            end = onset + up + down
            coded.append(Expression(Interval(onset, onset + up, end)))
        videos.append(CodedVideo("drawn", str(number), end + 1 + REST, tuple(coded)))
    return videos


def perfect_curve(video: CodedVideo, noise: float, rng: np.random.Generator) -> Curve:
    """The curve (T,) of a video, with Gaussian noise of this SD."""
    curve = np.full(video.frames, FLOOR)
    for each in video.coded:
        # Onset and offset are the frames before and after the motion.
        curve[each.interval.onset + 1 : each.interval.offset] = LEVEL
    return curve + rng.normal(0, noise, video.frames) if noise else curve


def decoders(videos: Sequence[CodedVideo]) -> dict[str, Decode]:
    """The compared decoders by name; ``fixed`` with the mean as prior and with the median."""
    coded = [each for video in videos for each in video.coded]
    half = half_length(coded)
    return {
        "fixed_mean": partial(decoding.fixed, half=half_length(coded, average="mean")),
        "fixed": partial(decoding.fixed, half=half),
        "scalable": partial(decoding.scalable, half=half),
        "challenge": partial(decoding.challenge, half=half),
        "hysteresis": hysteresis.decode,
    }


def decoder_f1(videos: Sequence[CodedVideo], seed: int = 0) -> dict[str, float]:
    """Greedy F1 of every decoder at every noise: ``fixed_sd0``, ``fixed_sd0.05``, ..."""
    scores = {}
    for noise in NOISES:
        rng = np.random.default_rng([5, seed])
        # Drawn once: all decoders get the same noise.
        curves = [perfect_curve(video, noise, rng) for video in videos]
        for name, decode in decoders(videos).items():
            found = [tuple(Expression(each) for each in decode(curve)) for curve in curves]
            pairs = zip(videos, found, strict=True)
            spotted = [SpottedVideo(v.subject, v.video, v.coded, f) for v, f in pairs]
            scores[f"{name}_sd{noise:g}"] = count_videos(spotted).f1
    return scores


def alarms_on_noise(minutes: int = 60, noise: float = 0.05, seed: int = 0) -> dict[str, float]:
    """Alarms a minute on one-minute videos in which nothing happens, of every decoder."""
    rng = np.random.default_rng([6, seed])
    curves = FLOOR + rng.normal(0, noise, (minutes, 60 * FPS))
    return {
        name: sum(len(decode(curve)) for curve in curves) / minutes
        for name, decode in decoders(drawn_videos(50)).items()
    }
