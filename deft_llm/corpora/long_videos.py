"""The long videos of a corpus with all that is coded in each, and those in which nothing is.

The sheets list expressions, not videos. A video without a row is found by its folder alone; its
false alarms count as much as any other's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from deft_llm.clip import Expression
from deft_llm.corpora.base import MACRO, MICRO, Corpus
from deft_llm.corpora.frames import open_folder
from deft_llm.corpora.people import canonical
from deft_llm.corpora.reading import Entry
from deft_llm.corpora.report import Report
from deft_llm.corpora.tree import FrameTree
from deft_llm.errors import UserError


@dataclass(frozen=True)
class LongVideo:
    """One long video of a corpus.

    Attributes:
        dataset: The corpus.
        subject: Subject id.
        video: Video id, unique for the subject.
        folder: Folder of its frames.
        frames: Images in it.
        fps: Frames per second.
        micro: Coded micro-expressions, in order of time; frames count the images from 0.
        macro: The same for macro-expressions; empty if the corpus or its sheet has none.
    """

    dataset: str
    subject: str
    video: str
    folder: Path
    frames: int
    fps: float
    micro: tuple[Expression, ...]
    macro: tuple[Expression, ...]


def long_videos(corpus: Corpus, report: Report) -> list[LongVideo]:
    """Every long video of a corpus, sorted by subject and video.

    Args:
        corpus: A corpus whose ``video_of`` knows long videos.
        report: Gets what was mended, noted and dropped.

    Raises:
        UserError: If the corpus has no long videos, or its sheet cannot be read.
    """
    assert corpus.fps is not None
    reading = corpus.read()
    report.extend(reading.report)
    micro = _by_folder(reading.entries)
    macro = _by_folder(_macros(corpus, report))
    videos = []
    for named, folder in _folders(corpus, micro.keys() | macro.keys()).items():
        try:
            frames = len(open_folder(folder).numbers)
        except UserError as error:
            report.add(folder.name, None, str(error), "no frames", "dropped")
            continue
        coded = (micro.pop(folder, ()), macro.pop(folder, ()))
        videos.append(LongVideo(corpus.name, *named, folder, frames, corpus.fps, *coded))
    for kind, left in ((MICRO, micro), (MACRO, macro)):
        for folder, coded_there in left.items():
            what = f"{len(coded_there)} {kind}-expressions in {folder.name}"
            report.add(folder.name, None, what, "not a folder of a long video", "dropped")
    if not videos:
        raise UserError(
            f"{corpus.root}: no long video of {corpus.title}; expected one folder of frames a "
            f"video, as in\n{corpus.tree.strip()}"
        )
    return sorted(videos, key=lambda video: (video.subject, video.video))


def _folders(corpus: Corpus, coded: Collection[Path]) -> dict[tuple[str, str], Path]:
    """Subject and video -> folder of frames: of two, the coded one, or that in ``trees``."""
    best: dict[tuple[str, str], tuple[tuple[bool, bool], Path]] = {}
    trees = {canonical(tree) for tree in corpus.trees}
    for folder in FrameTree(corpus.root).with_frames(corpus.foreign):
        parts = list(map(canonical, folder.relative_to(corpus.root).parts))
        named = corpus.video_of("/".join(parts))
        # False sorts first: a coded folder, then one in the corpus's own trees.
        rank = (folder not in coded, trees.isdisjoint(parts))
        if named and (named not in best or rank < best[named][0]):
            best[named] = (rank, folder)
    return {named: folder for named, (_, folder) in best.items()}


def _macros(corpus: Corpus, report: Report) -> tuple[Entry, ...]:
    """Entries of macro-expressions; none if nothing can be read, which the report says."""
    try:
        return corpus.of_kind(MACRO).read().entries
    except UserError as error:
        first = str(error).splitlines()[0]
        report.add(corpus.name, None, "macro-expressions", f"none are known: {first}", "noted")
        return ()


def _by_folder(entries: Iterable[Entry]) -> dict[Path, tuple[Expression, ...]]:
    found: dict[Path, list[Expression]] = defaultdict(list)
    for entry in entries:
        if entry.folder is not None and entry.annotation.interval is not None:
            found[entry.folder].append(
                Expression(entry.annotation.interval, entry.annotation.emotion)
            )
    return {
        folder: tuple(sorted(some, key=lambda each: each.interval.onset))
        for folder, some in found.items()
    }
