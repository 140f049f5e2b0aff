"""The result of reading a corpus: entries, report, and checks against published counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deft_llm import facs
from deft_llm.clip import Annotation
from deft_llm.corpora.report import Report


@dataclass(frozen=True)
class Identity:
    """Subject, clip and folders of a row, which each corpus derives in its own way.

    Attributes:
        subject: Unique over all corpora as the field writes it ("sub01", "006", "s01").
        clip: Unique in the corpus.
        places: Ends of the path of the folder with the frames, for ``FrameTree.find``.
    """

    subject: str
    clip: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One clip of a corpus.

    Attributes:
        annotation: Its coding. The interval counts the frames of `folder` from 0; without a folder
            it counts from the corpus's first frame number.
        folder: Folder of frames, or None if frames were not requested.
        frames: Number of frames in the folder.
        row: Row of the sheet, from 1; 0 if the corpus has no sheet.
    """

    annotation: Annotation
    folder: Path | None = None
    frames: int = 0
    row: int = 0


@dataclass(frozen=True)
class PublishedCounts:
    """Published counts, for checking; empty where the sources at hand give none."""

    clips: int | None = None
    subjects: int | None = None
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A count and the published one."""

    what: str
    found: int
    published: int

    def __str__(self) -> str:
        verdict = "" if self.found == self.published else "  DIFFERS"
        return f"{self.what}: {self.found} (published {self.published}){verdict}"


@dataclass(frozen=True)
class Reading:
    """A corpus folder as it was read.

    Attributes:
        name: Of the corpus.
        entries: Its clips.
        report: What was mended and dropped.
        published: Counts to check against.
        simulated: Whether the simulator wrote the folder.
    """

    name: str
    entries: tuple[Entry, ...]
    report: Report
    published: PublishedCounts = PublishedCounts()
    simulated: bool = False

    @property
    def listing(self) -> str:
        """Name of the file that lists its measured clips; simulated ones are apart."""
        return f"{'simulated_' if self.simulated else ''}{self.name}.jsonl"

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """The codings, in the order of the sheet."""
        return tuple(entry.annotation for entry in self.entries)

    def classes(self, scheme: str) -> dict[str, int]:
        """Clips per class of a label scheme; clips without a class are not counted."""
        # SMIC and CAS(ME)2 code classes and not emotions: a finer scheme has none of them.
        labels = Counter(facs.to_scheme(a.emotion, scheme, a.dataset) for a in self.annotations)
        return {name: labels[name] for name in facs.SCHEMES[scheme]}

    def checks(self) -> Iterator[Check]:
        """Every published count with the count that was read."""
        published = self.published
        if published.clips is not None:
            yield Check("clips", len(self.entries), published.clips)
        if published.subjects is not None:
            subjects = {a.subject for a in self.annotations}
            yield Check("subjects", len(subjects), published.subjects)
        for scheme, counts in published.classes.items():
            found = self.classes(scheme)
            for name, count in counts.items():
                yield Check(f"{scheme}-class {name}", found[name], count)
