"""Base of all datasets of scans: entries, listing, and what a reader declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deft_llm.corpora.folder import DatasetFolder
from deft_llm.corpora.report import Report
from deft_llm.corpora.tree import walk


@dataclass(frozen=True)
class ScanEntry:
    """One scan or sequence.

    Attributes:
        subject: Whose face, with the dataset's name in front: "bu3dfe_f0001".
        name: Of the scan, for messages.
        path: A file, or a folder of frames.
        expressions: What it shows; several only where the dataset allows it.
        level: Intensity 1 to 4; 0 where the dataset has none.
    """

    subject: str
    name: str
    path: Path
    expressions: tuple[str, ...]
    level: int = 0


@dataclass(frozen=True)
class ScanListing:
    """What a reader found.

    Attributes:
        name: Of the dataset.
        entries: Its scans, sorted by subject and name.
        report: What was passed over, and why.
    """

    name: str
    entries: tuple[ScanEntry, ...]
    report: Report

    def lines(self) -> list[str]:
        """A summary for people."""
        subjects = len({entry.subject for entry in self.entries})
        counts = Counter(word for entry in self.entries for word in entry.expressions)
        told = " · ".join(f"{word} {count}" for word, count in sorted(counts.items()))
        levels = Counter(entry.level for entry in self.entries if entry.level)
        strong = " · ".join(f"{level}: {count}" for level, count in sorted(levels.items()))
        return [
            f"{self.name}: {len(self.entries)} scans of {subjects} subjects",
            f"  {told}",
            *([f"  intensities {strong}"] if strong else []),
        ]


class ScanCorpus(DatasetFolder, ABC):
    """A dataset of scans: a name in ``SCAN_CORPORA``.

    Attributes:
        sequences: Whether an entry is a sequence.
        published: What its paper counts, for people.
    """

    sequences: ClassVar[bool]
    published: ClassVar[str]

    @abstractmethod
    def find(self, report: Report) -> Iterator[ScanEntry]:
        """Every scan that shows a known expression."""

    def read(self) -> ScanListing:
        """List the scans.

        Raises:
            UserError: If there is none.
        """
        report = Report()
        entries = sorted(self.find(report), key=lambda entry: (entry.subject, entry.name))
        if not entries:
            raise self._missing(f"{self.root}: no scan found")
        return ScanListing(self.name, tuple(entries), report)

    def _files(self, *suffixes: str) -> Iterator[Path]:
        for folder, names in walk(self.root):
            for name in sorted(names):
                if name.lower().endswith(suffixes) and name[0] != ".":
                    yield folder / name

    def _folders(self, *suffixes: str) -> Iterator[Path]:
        """Folders that hold a file with one of these endings."""
        for folder, names in walk(self.root):
            if any(name.lower().endswith(suffixes) for name in names):
                yield folder
