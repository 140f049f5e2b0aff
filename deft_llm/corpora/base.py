"""Base class of all corpora: reads sheets and folders into annotations with frames and a report.

A subclass declares its layout in class attributes and gives subject, clip and folders of each row.
Finding columns, mending codings, finding frames and checking counts are shared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from deft_llm.clip import Annotation, Interval
from deft_llm.corpora.coding import RowPlace, read_aus, read_emotion, read_interval
from deft_llm.corpora.frames import FrameFolder, find_folder, locate_interval, open_folder
from deft_llm.corpora.reading import Entry, Identity, PublishedCounts, Reading
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import Sheet, SheetRow, read_sheet
from deft_llm.errors import UserError
from deft_llm.registry import resolve

CORPORA: dict[str, str] = {
    "casme2": "deft_llm.corpora.casme2:Casme2",
    "samm": "deft_llm.corpora.samm:Samm",
    "smic_hs": "deft_llm.corpora.smic:SmicHs",
    "smic_vis": "deft_llm.corpora.smic:SmicVis",
    "smic_nir": "deft_llm.corpora.smic:SmicNir",
    "mmew": "deft_llm.corpora.mmew:Mmew",
    "casme_squared": "deft_llm.corpora.casme_squared:CasmeSquared",
    "casme3": "deft_llm.corpora.casme3:Casme3",
    "samm_long_videos": "deft_llm.corpora.samm_long_videos:SammLongVideos",
    "four_dme": "deft_llm.corpora.four_dme:FourDme",
    "dfme": "deft_llm.corpora.dfme:Dfme",
    "megc2019": "deft_llm.corpora.megc2019:Megc2019",
}
"""Name -> "module:Class"; each class takes the corpus folder."""


@dataclass(frozen=True)
class _Clip:
    row: SheetRow
    identity: Identity
    annotation: Annotation
    interval: Interval


@dataclass
class _Coded:
    """One sheet's codings by clip, and every subject in it."""

    path: Path
    clips: dict[str, _Clip] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)


class Corpus(ABC):
    """A dataset on disk.

    Attributes:
        name: Key in ``CORPORA``.
        title: Its name as the authors write it.
        licence: Whom to ask for access.
        tree: Expected folder layout, for error messages.
        fps: Frames per second; None if it differs between clips.
        first_frame: Number that the sheet gives the first frame of a video.
        schemes: Label schemes that apply to it.
        published: Published counts to check against.
        sheet: Layout of its official sheet.
        emotions: The sheet's words for emotions -> ours.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    tree: ClassVar[str]
    fps: ClassVar[float | None]
    first_frame: ClassVar[int] = 1
    schemes: ClassVar[tuple[str, ...]]
    published: ClassVar[PublishedCounts] = PublishedCounts()
    sheet: ClassVar[Sheet]
    emotions: ClassVar[Mapping[str, str]]

    def __init__(self, root: Path | str) -> None:
        """Open a corpus folder.

        Raises:
            UserError: If the folder is missing; the message shows the expected tree.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise self._missing(f"{self.root}: no such folder")

    def _missing(self, what: str) -> UserError:
        tree = "\n".join(f"    {line}" for line in self.tree.strip().splitlines())
        return UserError(
            f"{what}; {self.title} is expected as\n{tree}\n"
            f"  It is given out by {self.licence}; ask there for the licence agreement."
        )

    @abstractmethod
    def identify(self, row: SheetRow) -> Identity:
        """Subject, clip and candidate folders of a row.

        Raises:
            UserError: If the cells are not readable; the row is dropped.
        """

    def aus_text(self, row: SheetRow) -> str:
        """The AU coding of a row, in the grammar of ``facs.parse_aus``."""
        return row["aus"]

    def emotion(self, row: SheetRow, place: RowPlace) -> str | None:
        """The emotion of a row, or None if it has no single one.

        Raises:
            UserError: If the word is unknown; the row is dropped.
        """
        return read_emotion(row["emotion"], self.emotions, place)

    def rows(self, path: Path) -> list[SheetRow]:
        """The rows of one sheet that are micro-expressions."""
        return read_sheet(path, self.sheet)

    def sheets(self) -> list[Path]:
        """Official sheets in the folder, the newest first.

        Raises:
            UserError: If there is none.
        """
        found: set[Path] = set()
        for pattern in self.sheet.patterns:
            for depth in ("", "*/", "*/*/"):
                found.update(p for p in self.root.glob(depth + pattern) if p.is_file())
        # "~$..." is the lock file of a sheet that is open in Excel.
        paths = [p for p in found if not p.name.startswith(("~", "."))]
        if not paths:
            raise self._missing(f"{self.root}: no sheet {' or '.join(self.sheet.patterns)}")
        # File names carry a date or version, so the last name is the newest sheet.
        return sorted(paths, key=lambda p: (p.name, str(p)), reverse=True)

    def read(self, frames: bool = True) -> Reading:
        """Read the sheet and find the frames.

        Args:
            frames: Also look for the frames; clips without frames are then dropped.

        Raises:
            UserError: If sheet or columns are missing, columns are shifted, or no clip is left.
        """
        report = Report()
        path, *others = self.sheets()
        coded = self._code(path, report)
        for other in others:
            try:
                # Other sheets only serve for comparison, so their own remarks are discarded.
                second = self._code(other, Report())
            except UserError as error:
                report.add(other.name, None, str(error), f"{path.name} is used alone", "noted")
                continue
            _compare(coded, second, report)
        entries = self._attach(coded, report) if frames else self._from_first(coded)
        if not entries:
            first = next(iter(report), None)
            raise self._missing(f"{path}: no clip can be used ({first})")
        for subject in sorted(coded.subjects - {e.annotation.subject for e in entries}):
            report.add(path.name, None, f"subject {subject}", "has no clip left", "dropped")
        return Reading(self.name, tuple(entries), report, self.published)

    def _code(self, path: Path, report: Report) -> _Coded:
        """Codings of one sheet after mending, in the sheet's frame numbers."""
        rows = self.rows(path)
        coded, unknown = _Coded(path), 0
        for row in rows:
            try:
                identity = self.identify(row)
            except UserError as error:
                report.add(path.name, row.number, str(error), "the row cannot be used", "dropped")
                continue
            coded.subjects.add(identity.subject)
            place = RowPlace(report, path.name, row.number, identity.clip)
            try:
                emotion = self.emotion(row, place)
            except UserError as error:
                place.say(str(error), "a clip without a known label", "dropped")
                unknown += 1
                continue
            if identity.clip in coded.clips:
                first = coded.clips[identity.clip].row
                same = first.values == row.values
                why = "the same row again" if same else f"row {first.number} says otherwise"
                place.say("coded twice", f"{why}: the first is used", "dropped")
                continue
            interval = read_interval(row, place, self.first_frame)
            if interval is not None:
                aus = read_aus(self.aus_text(row), place)
                annotation = Annotation(
                    self.name, identity.subject, identity.clip, interval, aus, emotion, self.fps
                )
                coded.clips[identity.clip] = _Clip(row, identity, annotation, interval)
        # Single typos are dropped row by row; if half of the words are unknown, the sheet is wrong.
        if rows and 2 * unknown >= len(rows):
            raise UserError(
                f"{path}: {unknown} of {len(rows)} rows have no known emotion, the first "
                f"{rows[0]['emotion']!r}; expected {', '.join(self.emotions)}: the columns are "
                "shifted, or it is another sheet"
            )
        return coded

    def _from_first(self, coded: _Coded) -> list[Entry]:
        """Entries without folders; frames are counted from the corpus's first frame number."""
        by, entries = self.first_frame, []
        for clip in coded.clips.values():
            i = clip.interval
            moved = Interval(i.onset - by, i.apex - by, i.offset - by)
            entries.append(Entry(replace(clip.annotation, interval=moved), row=clip.row.number))
        return entries

    def _attach(self, coded: _Coded, report: Report) -> list[Entry]:
        """Entries with their folders of frames."""
        entries = []
        opened: dict[Path, FrameFolder] = {}  # a long video has many clips: list it once
        # The sheet may lie in a subfolder beside the frames.
        bases = list(dict.fromkeys([self.root, coded.path.parent]))
        for clip in coded.clips.values():
            row, identity = clip.row.number, clip.identity
            place = RowPlace(report, coded.path.name, row, identity.clip)
            folder = find_folder(bases, identity.places)
            if folder is None:
                place.say(f"no folder {identity.places[0]}", "no frames", "dropped")
                continue
            try:
                found = opened.get(folder) or open_folder(folder)
                opened[folder] = found
            except UserError as error:
                place.say(str(error), "no frames", "dropped")
                continue
            interval = locate_interval(clip.interval, found, self.first_frame, place)
            if interval is not None:
                annotation = replace(clip.annotation, interval=interval)
                entries.append(Entry(annotation, folder, len(found.numbers), row))
        return entries


def _compare(coded: _Coded, others: _Coded, report: Report) -> None:
    """Report where two sheets of one corpus disagree; the first is used."""
    file, other = coded.path.name, others.path.name
    for name, clip in coded.clips.items():
        if name not in others.clips:
            report.add(file, clip.row.number, name, f"not in {other}", "noted")
            continue
        theirs = others.clips[name].row.values
        for column, value in clip.row.values.items():
            # An empty cell is no contradiction.
            if value and theirs.get(column) and value != theirs[column]:
                why = f"{other} says {theirs[column]}; {file} is used"
                report.add(file, clip.row.number, f"{name}: {column} {value}", why, "noted")
    for name in others.clips.keys() - coded.clips.keys():
        report.add(other, others.clips[name].row.number, name, f"not in {file}", "dropped")


def load_class(name: str) -> type[Corpus]:
    """The class of a corpus by name.

    Raises:
        UserError: If the name is unknown; the message suggests the nearest one.
    """
    found: type[Corpus] = resolve(CORPORA, name, "corpus")
    return found


def load_corpus(name: str, root: Path | str) -> Corpus:
    """Open a corpus by name.

    Raises:
        UserError: If the name is unknown or the folder is missing.
    """
    return load_class(name)(root)
