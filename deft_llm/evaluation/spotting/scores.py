"""Scores of what was found in test videos, beyond those of ``metrics.spot_then_recognize``.

**From 1 px on**: weak expressions, whose peak displacement is less, are neither to be found nor
false alarms. A found interval that belongs to one is left out, everything else counts.

**False alarms**: ``without`` is a minute of the videos without micro-expressions, outside speech;
``speech`` is a minute of speech in any video, where a found interval that overlaps any coded one is
a hit or a wrong border, not an alarm. An interval belongs to the time of its apex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Expression
from deft_llm.data.long_videos import CodedVideo
from deft_llm.metrics.spot_then_recognize import score_videos
from deft_llm.metrics.spotting import SpottedVideo, border_errors, iou, matched

STRONG_PX = 1.0
SCHEMES = ("3", "4")

Spans = tuple[tuple[float, float], ...]
"""First and last second of each span."""


@dataclass(frozen=True)
class ScoredVideo:
    """A measured video with what is known of it besides the codings.

    Attributes:
        video: The video.
        speech: When somebody speaks.
    """

    video: CodedVideo
    speech: Spans = ()

    @property
    def spoken(self) -> NDArray[np.bool_]:
        """(T,) the frames of speech."""
        times = self.video.track.timestamps
        inside = [(times >= start) & (times <= stop) for start, stop in self.speech]
        return np.logical_or.reduce([np.zeros(len(times), bool), *inside])


def strong_only(video: SpottedVideo, peaks: Sequence[float]) -> SpottedVideo:
    """A video without its weak expressions, and without what was found of them.

    Args:
        video: What is coded and found.
        peaks: Peak displacement of each coded expression, px; NaN counts as strong.
    """
    weak = [each for each, px in zip(video.coded, peaks, strict=True) if px < STRONG_PX]
    # By identity: two expressions of a video may be equal but for their place in it.
    taken = [found for found, coded in matched(video) if any(coded is each for each in weak)]
    return replace(
        video,
        coded=tuple(each for each in video.coded if not any(each is w for w in weak)),
        found=tuple(each for each in video.found if not any(each is t for t in taken)),
    )


def spotting_scores(
    videos: Sequence[ScoredVideo], found: Sequence[Sequence[Expression]]
) -> dict[str, float]:
    """All scores of one way to search.

    Args:
        videos: The test videos.
        found: What was found in each.

    Returns:
        Those of ``score_videos`` in three and four classes, the same with ``_1px`` at the end over
        strong expressions, ``false_alarms_without``, ``false_alarms_speech``, and ``border_error``,
        the median over onsets and offsets of hits, frames. NaN where nothing is to be counted.
    """
    spotted = [v.video.spotted(f) for v, f in zip(videos, found, strict=True)]
    strong = [
        strong_only(s, v.video.peaks or [math.nan] * len(s.coded))
        for v, s in zip(videos, spotted, strict=True)
    ]
    # Onset and offset alone: an apex is no border.
    errors = np.abs(border_errors(spotted)[:, [0, 2]])
    return {
        **score_videos(spotted, SCHEMES),
        **{f"{name}_1px": score for name, score in score_videos(strong, SCHEMES).items()},
        **false_alarms(videos, found),
        "border_error": float(np.median(errors)) if errors.size else math.nan,
    }


def false_alarms(
    videos: Sequence[ScoredVideo], found: Sequence[Sequence[Expression]]
) -> dict[str, float]:
    """``false_alarms_without`` and ``false_alarms_speech``, a minute; see the module."""
    alarms, minutes = np.zeros(2), np.zeros(2)
    for each, here in zip(videos, found, strict=True):
        spoken, coded = each.spoken, each.video.coded
        # Minutes for which a frame stands.
        frame = each.video.seconds / max(len(spoken), 1) / 60
        minutes += [0.0 if coded else frame * (~spoken).sum(), frame * spoken.sum()]
        for one in here:
            if spoken[one.interval.apex]:
                alarms[1] += not any(iou(one.interval, c.interval) > 0 for c in coded)
            else:
                alarms[0] += not coded
    rates = [float(a / m) if m else math.nan for a, m in zip(alarms, minutes, strict=True)]
    return dict(zip(("false_alarms_without", "false_alarms_speech"), rates, strict=True))
