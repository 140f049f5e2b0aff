"""A trained spotter as a finder: its network reads the motion of the whole video at once.

First the regions are followed through the video (``data.roi_tracking``), at about the frame rate of
the spotter's training videos; then the network reads the curves; then the video is read once more,
and every expression is measured in the part that holds it. Networks know micro-expressions alone:
macro-expressions, where they are asked for, are found in each part as without a network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Expression, Interval
from deft_llm.data.roi_curves import network_curves
from deft_llm.data.roi_tracking import RoiTrack, follow_rois
from deft_llm.errors import UserError
from deft_llm.files import digest, sampled_digest
from deft_llm.media.face import align, landmark_finder, track_faces
from deft_llm.media.options import ReadOptions
from deft_llm.media.parts import Part, parts_of
from deft_llm.media.video import probe
from deft_llm.media.windows import OVERLAP, Window
from deft_llm.motion.measure import measure
from deft_llm.registry import resolve
from deft_llm.spotters.finder import Found, Look, Moments, Step, same
from deft_llm.spotters.hysteresis import Thresholds
from deft_llm.spotters.priors import ClassPrior, probabilities, told_by_probability
from deft_llm.spotters.returning import ReturningFinder, look_at

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

_LOADERS = {"folder": "deft_llm.spotters.registry:load_spotter"}
# For the progress bar alone.
_FOLLOWING = 0.75  # share of the time that following the regions takes
# s on both sides of an expression that are measured with it: the face at rest tells its noise.
_MARGIN = 1.5


class CurvesRead(Protocol):
    """What a spotter says of every frame: score (T,), and logits (T, classes)."""

    score: Floats
    logits: Floats


class Loaded(Protocol):
    """A trained spotter with all that it needs to search a video."""

    name: str
    thresholds: Thresholds
    prior: ClassPrior
    fps: float

    @property
    def rois(self) -> int:
        """Number of regions whose motion it reads."""
        ...

    def read(self, curves: Floats) -> CurvesRead:
        """Score and logits of every frame, from curves (C, T)."""
        ...

    def decode(self, curves: CurvesRead) -> list[Expression]:
        """The micro-expressions, in order of time."""
        ...


@dataclass(frozen=True)
class _Read:
    """What is known of a video before its expressions are measured.

    Attributes:
        frames: (T,) numbers of the frames that were followed.
        times: (T,) seconds.
        curve: (T,) the network's score; NaN in frames without a face.
        expressions: In frames of the video, with their probabilities.
        remarks: What the user should know.
        scorer: Name of the network.
    """

    frames: NDArray[np.int64]
    times: NDArray[np.float64]
    curve: Floats
    expressions: list[tuple[Expression, dict[str, float]]]
    remarks: tuple[str, ...]
    scorer: str

    def seconds(self, interval: Interval) -> Moments:
        """The seconds of frames that were followed.

        Not those of the measured frames: the measurement moves an onset without a face to a frame
        with one, and ends where a part does.
        """
        moments = (interval.onset, interval.apex, interval.offset)
        onset, apex, offset = self.times[np.searchsorted(self.frames, moments)].tolist()
        return onset, apex, offset


class TrainedFinder:
    """Finds what a trained spotter finds.

    Args:
        folder: The folder of the spotter.
        macros: Find macro-expressions as well.

    Raises:
        UserError: If it holds none.
    """

    def __init__(self, folder: Path, macros: bool = False) -> None:
        self.folder = folder
        self.macros = macros
        self.spotter: Loaded = resolve(_LOADERS, "folder", "loader")(folder)

    @cached_property
    def key(self) -> str:
        """See ``finder.Finder``."""
        files = (self.folder / "config.json", self.folder / "model.safetensors")
        # Macro-expressions are what the search without a network finds.
        macros = f" macros {ReturningFinder.key}" if self.macros else ""
        return digest(*(sampled_digest(file) for file in files)) + macros

    @property
    def axis(self) -> str:
        """See ``finder.Finder``."""
        return f"score of {self.spotter.name}"

    @property
    def threshold(self) -> float | None:
        """See ``finder.Finder``."""
        return self.spotter.thresholds.enter

    def search(self, source: Path, options: ReadOptions, cache: Path | None) -> Iterator[Step]:
        """See ``finder.Finder``; nothing is found before the whole video has been followed."""
        info = probe(source, fps=options.fps)
        # A network knows motion at the rate of its training; faster videos are read with gaps.
        thinned = max(1, round(info.fps / options.stride / self.spotter.fps))
        coarse = replace(options, stride=options.stride * thinned)
        # A range is cut by start and stop as the frames of the video are.
        length = max(len(range(info.frames)[options.start : options.stop]), 1)
        tracks: list[RoiTrack] = []
        for track in follow_rois(source, coarse, cache):
            tracks.append(track)
            followed = (track.first + len(track)) * coarse.stride
            yield Step(_FOLLOWING * min(followed / length, 1.0))
        read = self._read(RoiTrack.whole(tracks), coarse)
        pending, shown = list(read.expressions), -1
        remarks = read.remarks  # told once, with the first part
        for part in parts_of(source, options):
            last = part.start + (len(part.clip) - 1) * options.stride
            share = min((last + 1 - options.start) / length, 1.0)
            new = (read.frames > shown) & (read.frames <= last)
            here = [each for each in pending if _held(part, each[0].interval, options.stride)]
            pending = [each for each in pending if each not in here]
            done = _FOLLOWING + (1 - _FOLLOWING) * share
            look = partial(_look, part, options, read, new, here, remarks)
            if self.macros:
                look = partial(_with_macros, look, part, options)
            yield Step(done, look)
            shown, remarks = max(shown, last), ()
        for expression, _ in pending:
            logger.warning(
                "%s: frames %d to %d lie across a cut, left out",
                *(source.name, expression.interval.onset, expression.interval.offset),
            )

    def _read(self, track: RoiTrack, options: ReadOptions) -> _Read:
        """The network's curve over the whole video, and what it finds."""
        frames = options.start + options.stride * np.arange(len(track))
        if not track.present.any():
            nothing = np.full(len(track), np.nan, np.float32)
            return _Read(frames, track.timestamps, nothing, [], track.remarks, self.spotter.name)
        curves = self.spotter.read(network_curves(track, self.spotter.rois))
        seen = (curves.logits, curves.score)
        told = []
        for each in self.spotter.decode(curves):
            inside = in_one_shot(each.interval, track)
            if inside is None:
                continue
            left = [replace(each, interval=inside)]
            # Named anew: a cut may have taken the frames that spoke for another emotion.
            for named in told_by_probability(left, *seen, self.spotter.prior):
                moments = (int(frames[t]) for t in (inside.onset, inside.apex, inside.offset))
                shares = probabilities(*seen, inside, self.spotter.prior)
                told.append((replace(named, interval=Interval(*moments)), shares))
        score = np.where(track.present, curves.score, np.nan).astype(np.float32)
        remarks = (*track.remarks, *_cuts(track))
        return _Read(frames, track.timestamps, score, told, remarks, self.spotter.name)


def in_one_shot(interval: Interval, track: RoiTrack) -> Interval | None:
    """The part of an interval that lies in the shot of its apex.

    None without a face at the apex or in most of its frames: what a network says there is a guess.
    """
    frames = np.arange(interval.onset, interval.offset + 1)
    frames = frames[track.shots[frames] == track.shots[interval.apex]]
    if not track.present[interval.apex] or track.present[frames].mean() <= 0.5:  # 0.5: our choice
        return None
    return Interval(int(frames[0]), interval.apex, int(frames[-1]))


def _cuts(track: RoiTrack) -> Iterator[str]:
    """A remark for each hard cut; where the face was lost, the motion starts anew as well."""
    for after in np.flatnonzero(np.diff(track.shots)) + 1:
        if track.present[after - 1] and track.present[after]:
            at = track.timestamps[after]
            yield f"hard cut at {at:.2f} s; no motion is measured across it"


def _held(part: Part, interval: Interval, stride: int) -> bool:
    """Whether an expression is to be measured in this part of the video."""
    last = part.start + (len(part.clip) - 1) * stride
    if part.start <= interval.onset and interval.offset <= last:
        return True
    # Parts overlap by so much: no part need hold all of a longer one.
    long = (interval.offset - interval.onset) / stride > OVERLAP * part.clip.fps
    return long and part.start <= interval.apex <= last


def _look(
    part: Part,
    options: ReadOptions,
    read: _Read,
    new: NDArray[np.bool_],
    here: list[tuple[Expression, dict[str, float]]],
    remarks: tuple[str, ...],
) -> Look:
    """Measure the expressions of one part."""
    found: list[Found] = []
    if here:
        try:
            track = track_faces(part.clip, face=options.face)
            aligned = align(part.clip, track, landmark_finder(options.landmarks))
            places = [_within(part, each.interval, options.stride) for each, _ in here]
            margin = round(_MARGIN * part.clip.fps)
            for (expression, shares), place in zip(here, places, strict=True):
                first, last = _alone(place, places, margin, len(aligned) - 1)
                inside = Interval(*(t - first for t in (place.onset, place.apex, place.offset)))
                measured = measure(aligned.part(first, last + 1), inside)
                seconds = read.seconds(expression.interval)
                found.append(Found.of(measured, expression, shares, read.scorer, seconds))
        except UserError as error:
            # The face was there when the regions were followed in the same part.
            remarks = (*remarks, f"an expression could not be measured: {error}")
    curve = read.curve[new]
    return Look(read.frames[new], read.times[new], curve, tuple(found), remarks)


def _with_macros(take: Callable[[], Look], part: Part, options: ReadOptions) -> Look:
    """Add the large and the held movements of a part that the network did not find."""
    look = take()
    returning = look_at(Window(part.clip, part.start, part.final), options)
    macros = [
        each
        for each in returning.found
        if each.spotted.kind == "macro"
        and not any(same(each.spotted.seconds, other.spotted.seconds) for other in look.found)
    ]
    found = sorted([*look.found, *macros], key=lambda each: each.spotted.seconds)
    return replace(look, found=tuple(found))


def _within(part: Part, interval: Interval, stride: int) -> Interval:
    """An interval of the video in frames of a part, cut where the part ends."""
    moments = ((t - part.start) // stride for t in (interval.onset, interval.apex, interval.offset))
    return Interval(*(min(max(t, 0), len(part.clip) - 1) for t in moments))


def _alone(place: Interval, places: Sequence[Interval], margin: int, end: int) -> tuple[int, int]:
    """First and last frame around an expression, without its neighbours' motion."""
    # By apexes: of two that touch, the decoder's borders lie a frame inside the other.
    before = [min(other.offset, place.onset) for other in places if other.apex < place.apex]
    after = [max(other.onset, place.offset) for other in places if other.apex > place.apex]
    first = max([0, place.onset - margin, *before])
    return first, min([end, place.offset + margin, *after])
