"""The clips of a corpus folder: read, checked and measured, with what could not be used."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deft_llm.corpora.base import Corpus, load_corpus, people_of
from deft_llm.corpora.other import other_corpus
from deft_llm.corpora.reading import Reading
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.prepared import PrepareSettings, copies, open_prepared, prepare
from deft_llm.data.sources import sizes_for
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.left_out import LeftOutClip

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CorpusClips:
    """One corpus, measured.

    Attributes:
        title: Its name as the authors write it, and whether it is simulated.
        simulated: Whether the simulator wrote it.
        reading: What was read.
        clips: The clips that could be measured.
        left_out: Rows and clips that could not be used.
    """

    title: str
    simulated: bool
    reading: Reading
    clips: ClipDataset
    left_out: tuple[LeftOutClip, ...]

    @property
    def subjects(self) -> int:
        """Number of subjects with a measured clip."""
        return len(set(self.clips.subjects.tolist()))


def read_folder(
    reader: str, folder: Path, advice: str = "take the benchmark that reads "
) -> tuple[Corpus, Reading]:
    """Read a corpus folder as it was unpacked.

    Args:
        reader: A key of ``CORPORA``.
        folder: The folder.
        advice: See ``other_corpus``; files of benchmarks are not all called like their reader.

    Raises:
        UserError: If it is missing, another corpus, or not one clip can be used.
    """
    corpus = load_corpus(reader, folder)
    try:
        reading = corpus.read()
    except UserError as error:
        if said := other_corpus(corpus, advice):
            raise UserError(said) from error
        raise
    subjects = len({a.subject for a in reading.annotations})
    logger.info(
        *("%s: %d clips of %d subjects read (%s)", corpus.title, len(reading.entries), subjects),
        reading.report.summary(),
    )
    return corpus, reading


def require_other_people(read: Sequence[tuple[Corpus, Reading]]) -> None:
    """Refuse a table of corpora that show the same people, or of one corpus twice.

    One of them would be tested by models that learned from the other's clips of a person, or every
    clip would count twice.

    Raises:
        UserError: If there are two such corpora; names both folders.
    """
    seen: dict[str, Corpus] = {}
    for corpus, reading in read:
        for people in sorted({people_of(a.dataset) for a in reading.annotations}):
            other = seen.setdefault(people, corpus)
            if other is not corpus:
                raise UserError(
                    f"{other.root} ({other.title}) and {corpus.root} ({corpus.title}) show the "
                    "same people; a table takes one of the two: leave the other out"
                )


def settings_for(inputs: Iterable[str], base: PrepareSettings) -> PrepareSettings:
    """How clips have to be measured for the inputs of some models.

    Args:
        inputs: Names of inputs; one that nothing makes has its message elsewhere.
        base: Settings to start from.
    """
    sizes = sizes_for(inputs)
    stored = {"frames": base.frames or sizes.frames, "raw": sizes.raw or base.raw}
    return base.model_copy(update=stored)


def measured_corpus(
    corpus: Corpus, reading: Reading, cache: Path, settings: PrepareSettings, workers: int
) -> CorpusClips:
    """Measure the clips that the cache does not have.

    Args:
        corpus: The corpus.
        reading: What was read of it.
        cache: Folder of the cache.
        settings: How to measure.
        workers: Processes.

    Raises:
        UserError: If no clip can be measured, or as for ``prepare``.
    """
    rows = prepare(reading, cache, settings, workers)
    dropped = [
        LeftOutClip.of_note(corpus.name, note)
        for note in reading.report
        if note.action == "dropped"
    ]
    for entry, row in zip(reading.entries, rows, strict=True):
        if row.problem:
            place = f"{entry.folder}" + (f", row {entry.row} of the sheet" if entry.row else "")
            what = f"{entry.annotation.clip}: {row.problem}"
            dropped.append(LeftOutClip(corpus.name, place, what, "could not be measured"))
    twice = copies([asdict(row) for row in rows])
    for number, original in twice.items():
        what = f"the same frames as {original}"
        clip = rows[number].annotation.clip
        dropped.append(LeftOutClip(corpus.name, clip, what, "a copy of another clip"))
    clips = open_prepared(cache / reading.listing)
    if not len(clips):
        raise UserError(
            f"{corpus.root}: none of {len(rows)} clips can be measured ({dropped[-1].what})"
        )
    title = f"simulated {corpus.title}" if corpus.simulated else corpus.title
    return CorpusClips(title, corpus.simulated, reading, clips, tuple(dropped))
