"""Base class of all corpora: reads sheets and folders into annotations with frames and a report.

A subclass declares its layout in class attributes and gives subject, clip and folders of each row.
Finding columns, mending codings, finding frames and checking counts are shared.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from deft_llm.clip import Annotation, Interval
from deft_llm.corpora.cells import SUFFIXES
from deft_llm.corpora.coded import CodedClip, CodedSheet, compare
from deft_llm.corpora.coding import RowPlace, au_code, read_aus, read_emotion, read_interval
from deft_llm.corpora.folder import DatasetFolder
from deft_llm.corpora.frames import FrameFolder, locate_interval, open_folder
from deft_llm.corpora.people import canonical, is_date
from deft_llm.corpora.reading import Entry, Identity, PublishedCounts, Reading
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import OPTIONAL, Sheet, SheetRow, read_sheet, unread_worksheets
from deft_llm.corpora.tree import FrameTree, walk
from deft_llm.errors import UserError
from deft_llm.registry import resolve

CORPORA: dict[str, str] = {
    "casme": "deft_llm.corpora.casme:Casme",
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
MICRO, MACRO = "micro", "macro"
SIMULATED_MARK = "simulated.json"  # beside the sheet of a corpus that the simulator wrote
# Levels below the corpus folder in which sheets are searched: SMIC's is two down, and people put a
# folder around it. Deeper there are frames alone, which take long to list.
_SHEET_DEPTH = 4


class Corpus(DatasetFolder, ABC):
    """A dataset of videos: a name in ``CORPORA``.

    Attributes:
        fps: Frames per second; None if it differs between clips.
        first_frame: Number that the sheet gives the first frame of a video.
        schemes: Label schemes that apply to it.
        published: Published counts to check against.
        sheet: Layout of its official sheet.
        emotions: The sheet's words for emotions -> ours.
        trees: Names of the folders above the frames, the preferred ones first.
        foreign: Words in the names of folders that hold other recordings of the same clips.
        people: Name of the people in it, where other corpora show the same ones under the same
            subject ids; empty if no other does.
    """

    fps: ClassVar[float | None]
    first_frame: ClassVar[int] = 1
    schemes: ClassVar[tuple[str, ...]]
    published: ClassVar[PublishedCounts] = PublishedCounts()
    sheet: ClassVar[Sheet]
    emotions: ClassVar[Mapping[str, str]]
    trees: ClassVar[tuple[str, ...]] = ()
    foreign: ClassVar[frozenset[str]] = frozenset()
    people: ClassVar[str] = ""
    coded_kind = MICRO  # which expressions are read; see of_kind

    @property
    def simulated(self) -> bool:
        """Whether the simulator wrote the folder (``synthetic.write_corpus``)."""
        return (self.root / SIMULATED_MARK).is_file()

    @abstractmethod
    def identify(self, row: SheetRow) -> Identity:
        """Subject, clip and candidate folders of a row.

        Raises:
            UserError: If the cells are not readable; the row is dropped.
        """

    def of_kind(self, kind: str) -> Corpus:
        """The same corpus, read for the micro- or the macro-expressions of its long videos.

        Raises:
            UserError: If its sheets do not tell the two apart.
        """
        if kind == MICRO:
            return self
        raise UserError(f"{self.title} codes no {kind}-expressions")

    def video_of(self, path: str) -> tuple[str, str] | None:
        """Subject and video of a folder of frames; None if it is no long video.

        Args:
            path: Its path below the corpus folder, each part in canonical spelling.
        """
        return None

    def aus_text(self, row: SheetRow) -> str:
        """The AU coding of a row, in the grammar of ``au_notation.parse_aus``."""
        return au_code(row["aus"])

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
        # "~$..." is the lock file of a sheet that is open in Excel.
        paths = [
            folder / name
            for folder, files in walk(self.root, _SHEET_DEPTH)
            for name in files
            if not name.startswith(("~", ".")) and self.sheet.is_name(folder / name)
        ]
        if not paths:
            found = f"{self.root}: no sheet {' or '.join(self.sheet.patterns)}"
            raise self._missing(found + self._other_sheets())
        # File names carry a date or version, so the last name is the newest sheet.
        return sorted(paths, key=lambda p: (p.stem, str(p)), reverse=True)

    def _other_sheets(self) -> str:
        """A word on a sheet under another name, which people give to their own copy."""
        names = [
            str((folder / name).relative_to(self.root))
            for folder, files in walk(self.root, _SHEET_DEPTH)
            for name in sorted(files)
            if not name.startswith(("~", ".")) and name.lower().endswith(SUFFIXES[:-1])
        ]
        if not names:
            return ""
        # The expected layout has the official name.
        official = Path(re.findall(r"\S.*?\.(?:xlsx|csv)", self.tree)[0]).stem
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        suffix = Path(names[0]).suffix
        return f", only {names[0]}{more}: if that is it, call it {official}{suffix}"

    def read(self, frames: bool = True) -> Reading:
        """Read the sheet and find the frames.

        Args:
            frames: Also look for the frames; clips without frames are then dropped.

        Raises:
            UserError: If sheet or columns are missing, columns are shifted, or no clip is left.
        """
        report = Report()
        coded, *others = self._coded(report)
        for other in others:
            compare(coded, other, report)
        entries = self._attach(coded, report) if frames else self._from_first(coded)
        if not entries:
            first = next((note for note in report if note.action == "dropped"), None)
            raise self._missing(f"{coded.path}: no clip can be used ({first}){self.packed()}")
        for subject in sorted(coded.subjects - {e.annotation.subject for e in entries}):
            report.add(coded.path.name, None, f"subject {subject}", "has no clip left", "dropped")
        return Reading(self.name, tuple(entries), report, self.published, self.simulated)

    def _coded(self, report: Report) -> list[CodedSheet]:
        """The codings of every sheet that can be read, the newest first; its remarks alone count.

        Raises:
            UserError: If none can be read.
        """
        found: list[CodedSheet] = []
        failed: list[tuple[Path, UserError]] = []
        for path in self.sheets():
            remarks = Report()
            try:
                coded = self._code(path, remarks)
            except UserError as error:
                failed.append((path, error))
                continue
            # Older sheets only serve for comparison: their own remarks are discarded.
            report.extend(() if found else remarks)
            found.append(coded)
        if not found:
            raise failed[0][1]
        for path, reason in failed:
            why = f"{found[0].path.name} is used alone"
            report.add(path.name, None, str(reason), why, "noted")
        return found

    def _code(self, path: Path, report: Report) -> CodedSheet:
        """Codings of one sheet after mending, in the sheet's frame numbers."""
        rows = self.rows(path)
        if others := unread_worksheets(path, self.sheet):
            what = f"worksheets with the same columns: {', '.join(others)}"
            report.add(path.name, None, what, "not read; put all rows into one", "noted")
        for name in [n for n in OPTIONAL if n in self.sheet.columns]:
            if rows and name not in rows[0].values:
                what = f"no column {self.sheet.columns[name][0]!r}"
                report.add(path.name, None, what, OPTIONAL[name], "noted")
        coded, unknown = CodedSheet(path), list[str]()
        named: dict[str, CodedClip] = {}  # clip in canonical spelling -> its first row
        for row in rows:
            try:
                identity = self._identity(row)
            except UserError as error:
                report.add(path.name, row.number, str(error), "the row cannot be used", "dropped")
                continue
            coded.subjects.add(identity.subject)
            place = RowPlace(report, path.name, row.number, identity.clip)
            try:
                emotion = self.emotion(row, place)
            except UserError as error:
                place.say(str(error), "a clip without a known label", "dropped")
                unknown.append(row["emotion"])
                continue
            # "EP2_1F" is "EP02_01f" again, whose frames it would count a second time.
            key = canonical(identity.clip)
            if (first := named.get(key)) is not None:
                self._say_twice(first, row, identity, place, coded)
                continue
            interval = read_interval(row, place, self.first_frame)
            if interval is not None:
                aus = read_aus(self.aus_text(row), place)
                annotation = Annotation(
                    self.name, identity.subject, identity.clip, interval, aus, emotion, self.fps
                )
                named[key] = CodedClip(row, identity, annotation, interval)
                coded.clips[identity.clip] = named[key]
        # Single typos are dropped row by row; if half of the words are unknown, the sheet is wrong.
        if rows and 2 * len(unknown) >= len(rows):
            raise UserError(
                f"{path}: {len(unknown)} of {len(rows)} rows have no known emotion, the first "
                f"{unknown[0]!r}; expected {', '.join(self.emotions)}: the columns are "
                "shifted, or it is another sheet"
            )
        return coded

    def _say_mixed(
        self, entries: Sequence[Entry], tree: FrameTree, file: str, report: Report
    ) -> None:
        """Note the clips whose frames are from another release than those of most clips."""
        of = [tree.tree_of(e.folder, self.trees) for e in entries if e.folder is not None]
        known = Counter(filter(None, of))
        if len(known) < 2:
            return
        ((usual, _),) = known.most_common(1)
        for entry, own in zip(entries, of, strict=True):
            if own and own != usual:
                # A crop shows another share of the face, at another size.
                why = f"most clips are read from {usual}: see whether both are cropped alike"
                what = f"{entry.annotation.clip}: frames from {own}"
                report.add(file, entry.row, what, why, "noted")

    @staticmethod
    def _say_twice(
        first: CodedClip, row: SheetRow, identity: Identity, place: RowPlace, coded: CodedSheet
    ) -> None:
        """Report a second row of a clip; if it names somebody else, neither row is used."""
        earlier = first.row.number
        if identity.subject != first.identity.subject:
            # Whichever is wrong would put a person into training and test.
            why = f"row {earlier} gives it to {first.identity.subject}: neither is used"
            place.say(f"coded twice, here for {identity.subject}", why, "dropped")
            coded.clips.pop(first.identity.clip, None)
            return
        ours, theirs = ({**r.values, "clip": ""} for r in (row, first.row))
        why = "the same row again" if ours == theirs else f"row {earlier} says otherwise"
        place.say("coded twice", f"{why}: the first is used", "dropped")

    def _identity(self, row: SheetRow) -> Identity:
        """``identify``, for rows whose cells name somebody and something."""
        for name in ("subject", "clip"):
            if name in self.sheet.needed and not row[name]:
                raise UserError(
                    f"an empty {name} cell; merge the cells that share it (in .xlsx or .ods), or "
                    "fill it in"
                )
            if is_date(row[name]):
                raise UserError(
                    f"{name} {row[name]!r}: the spreadsheet made a date of it; format the column "
                    "as text and write it again"
                )
        return self.identify(row)

    def _from_first(self, coded: CodedSheet) -> list[Entry]:
        """Entries without folders; frames are counted from the corpus's first frame number."""
        by, entries = self.first_frame, []
        for clip in coded.clips.values():
            i = clip.interval
            moved = Interval(i.onset - by, i.apex - by, i.offset - by)
            entries.append(Entry(replace(clip.annotation, interval=moved), row=clip.row.number))
        return entries

    def _attach(self, coded: CodedSheet, report: Report) -> list[Entry]:
        """Entries with their folders of frames."""
        entries = []
        opened: dict[Path, FrameFolder] = {}  # a long video has many clips: list it once
        used: dict[tuple[Path, Interval], int] = {}  # frames -> row that codes them
        tree = FrameTree(self.root)
        for clip in coded.clips.values():
            identity = clip.identity
            place = RowPlace(report, coded.path.name, clip.row.number, identity.clip)
            try:
                folder = tree.find(identity.places, self.trees, self.foreign)
                if folder is None:
                    raise UserError(_no_folder(identity.places, tree))
                found = opened.get(folder) or open_folder(folder)
            except UserError as error:
                place.say(str(error), "no frames", "dropped")
                continue
            opened[folder] = found
            interval = locate_interval(clip.interval, found, self.first_frame, place)
            if interval is None:
                continue
            if (row := used.setdefault((folder, interval), clip.row.number)) != clip.row.number:
                place.say(f"the same frames as row {row}", "a second coding of them", "dropped")
            else:
                annotation = replace(clip.annotation, interval=interval)
                count, row = len(found.numbers), clip.row.number
                entries.append(Entry(annotation, folder, count, row))
        self._say_mixed(entries, tree, coded.path.name, report)
        return entries


def _no_folder(places: Sequence[str], tree: FrameTree) -> str:
    if (film := tree.film(places)) is None:
        return f"no folder {places[0]}"
    return (
        f"no folder {places[0]}, only the film {film}; write its frames as numbered images into a "
        f"folder {film.stem} beside it"
    )


def load_class(name: str) -> type[Corpus]:
    """The class of a corpus by name.

    Raises:
        UserError: If the name is unknown; the message suggests the nearest one.
    """
    found: type[Corpus] = resolve(CORPORA, name, "corpus")
    return found


def people_of(dataset: str) -> str:
    """The people of a corpus: its own name, or one that it shares with others of the same people.

    Subject ids are unique among the people of one name, and nobody is in two of them.
    """
    return (load_class(dataset).people if dataset in CORPORA else "") or dataset


def load_corpus(name: str, root: Path | str) -> Corpus:
    """Open a corpus by name.

    Raises:
        UserError: If the name is unknown or the folder is missing.
    """
    return load_class(name)(root)
