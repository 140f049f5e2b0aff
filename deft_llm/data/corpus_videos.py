"""The long videos of a corpus, measured: what spotters learn from and are tested on.

A video is read at about 30 frames a second: of those at 200 every 7th frame, as the papers do.
Measured parts are kept, so that a stopped call goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from deft_llm.clip import Expression, Interval
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.long_videos import LongVideo, long_videos
from deft_llm.corpora.report import Report
from deft_llm.data.long_videos import CodedVideo
from deft_llm.data.roi_tracking import roi_track
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media.options import ReadOptions

logger = logging.getLogger(__name__)
_RATE = 30.0


def stride_of(fps: float) -> int:
    """Frames of a video to one that is read: 1 at 30 frames a second, 7 at 200."""
    return max(1, round(fps / _RATE))


def corpus_subjects(name: str, root: Path) -> set[str]:
    """The subjects of the long videos of a corpus.

    Raises:
        UserError: If the corpus cannot be read.
    """
    return {video.subject for video in long_videos(load_corpus(name, root), Report())}


def corpus_videos(name: str, root: Path, cache: Path) -> list[CodedVideo]:
    """Measure the long videos of a corpus, with and without expressions.

    Args:
        name: A key of ``CORPORA``.
        root: Its folder.
        cache: Folder for what is measured.

    Raises:
        UserError: If the corpus cannot be read, or no video shows a face.
    """
    report = Report()
    videos = long_videos(load_corpus(name, root), report)
    for note in report:
        logger.info("%s", note)
    measured = [_measured(video, cache) for video in tqdm(videos, desc=name, unit="video")]
    found = [video for video in measured if video is not None]
    if not found:
        raise UserError(f"{root}: no face in any of {len(videos)} videos of {name}")
    return found


def _measured(video: LongVideo, cache: Path) -> CodedVideo | None:
    reading = ReadOptions(fps=video.fps, stride=stride_of(video.fps))
    try:
        track = roi_track(video.folder, reading, cache)
    except NoFaceError as error:
        logger.warning("%s left out: %s", video.folder, error)
        return None
    return CodedVideo(
        video.subject,
        video.video,
        track,
        _thinned(video.micro, reading.stride, len(track)),
        _thinned(video.macro, reading.stride, len(track)),
        source=video.folder,
        reading=reading,
    )


def _thinned(coded: Iterable[Expression], stride: int, frames: int) -> tuple[Expression, ...]:
    """Codings in frames of which one in ``stride`` was read."""
    # The end of a video may lie beyond the last frame that was read.
    return tuple(
        Expression(Interval(*(min(t // stride, frames - 1) for t in _moments(each))), each.emotion)
        for each in coded
    )


def _moments(each: Expression) -> tuple[int, int, int]:
    return each.interval.onset, each.interval.apex, each.interval.offset
