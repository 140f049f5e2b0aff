"""What a search of a video has seen so far: one line for each part, in the video's own folder.

A search that was stopped, at any moment, goes on after the last whole line; the last line of all
says that it came to the video's end. With other settings, or if the file has changed, it begins
anew. One process at a time searches a video: the lines of two would stand between each other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deft_llm.claims import LOCK, locked
from deft_llm.cli.clips import FoundClip
from deft_llm.errors import UserError
from deft_llm.files import digest, write_text
from deft_llm.spotters.spot import Seen
from deft_llm.viz.report_folder import safe_name, source_mark, take_folder

LOG = "search.jsonl"
TABLE, OBJECT, PLOT, PAGE = "spotted.csv", "spotted.json", "curve.png", "report.html"
RESULTS = (TABLE, OBJECT, PLOT, PAGE)
"""Files of a search, which one with other settings removes: they would contradict each other."""
_PICTURE = "expression_{apex}_{kind}_{number}.jpg"
#: Under which what the model said of an expression holds caption -> file of its pictures.
PICTURES = ("moments", "motion")
_END = json.dumps({"ended": True})  # last line of a search that came to the video's end
# Raised when a line changes its form: searches by older lines then begin anew.
_VERSION = 2  # of the lines


@dataclass
class SearchLog:
    """The log of one search.

    Attributes:
        folder: The video's folder, which holds all results.
        seen: The parts so far.
        told: Apex frame -> what the model said of the expression, if it was asked.
        ended: Whether the parts are all.
    """

    folder: Path
    seen: list[Seen] = field(default_factory=list)
    told: dict[int, dict[str, Any]] = field(default_factory=dict)
    ended: bool = False

    @classmethod
    @contextmanager
    def open(cls, out: Path, clip: FoundClip, settings: object) -> Iterator[SearchLog]:
        """Take the folder of a video, and read what an earlier search of it has seen.

        Other processes are kept out of the folder until the block ends.

        Args:
            out: Where the folder goes, at the clip's place.
            clip: The video.
            settings: All that the results depend on besides the video.

        Raises:
            FolderHeldError: If another process searches the video.
            UserError: If the folder cannot be made.
        """
        mark = source_mark(clip.path)
        parent = out.joinpath(*map(safe_name, clip.folder.parts))
        name = safe_name(clip.path.name if clip.path.is_dir() else clip.path.stem)
        # The source apart: it says whose folder this is, also when the settings change.
        head = {"source": mark, "key": digest(f"{_VERSION} {settings}", state(clip.path))}
        # The lock ends with the block, and what fails in it is not told as if it failed here.
        with ExitStack() as held:
            try:
                log = cls(_folder(parent, name, mark))
                held.enter_context(locked(log.folder))
                if not log._read(head):
                    log._begin(head)
            except OSError as error:
                raise UserError(
                    f"{parent / name}: cannot be written ({error.strerror or error}); give another "
                    "folder with --out"
                ) from error
            yield log

    def picture(self, apex: int, kind: str, number: int) -> Path:
        """Where a picture of an expression goes; its apex is one movement's alone."""
        return self.folder / _PICTURE.format(apex=apex, kind=kind, number=number)

    def keep_pictures(self, apexes: Collection[int]) -> None:
        """Remove the pictures of all other expressions, such as those that are part of another.

        Args:
            apexes: Apex frames of the expressions that are listed.
        """
        for file in self.folder.glob(_PICTURE.format(apex="*", kind="*", number="*")):
            if int(file.name.split("_")[1]) not in apexes:
                file.unlink()

    def add(self, seen: Seen, told: Mapping[int, dict[str, Any] | None]) -> None:
        """Note a part, and what the model said of its expressions."""
        said = {apex: words for apex, words in told.items() if words}
        self._append(json.dumps({"seen": seen.to_dict(), "told": said}))
        self.seen.append(seen)
        self.told.update(said)

    def end(self) -> None:
        """Note that the video is searched to its end."""
        if not self.ended:
            self._append(_END)
        self.ended = True

    def _append(self, line: str) -> None:
        # Line by line: a kill at any moment cuts off the last one alone.
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _begin(self, head: Mapping[str, str]) -> None:
        """Begin anew, without what a search with other settings has left."""
        for name in RESULTS:
            (self.folder / name).unlink(missing_ok=True)
        self.keep_pictures(())
        # Last and whole: it is what makes the folder this video's.
        write_text(self.folder / LOG, json.dumps(head) + "\n")

    def _read(self, head: Mapping[str, str]) -> bool:
        """Read the log of an earlier search; False if there is none with this head."""
        file = self.folder / LOG
        if not file.is_file():
            return False
        first, *lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        if first != json.dumps(head):
            return False
        # Up to the first line that is damaged: what follows it may belong to another run.
        whole = [first]
        # The last one has no line end: empty, or cut off.
        for line in lines[:-1]:
            if line == _END:
                self.ended = True
                whole.append(line)
                break
            try:
                values = json.loads(line)
                told = {int(apex): words for apex, words in values["told"].items()}
                self.seen.append(Seen.from_dict(values["seen"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            self.told.update(told)
            whole.append(line)
        # What comes after a line that was cut off would be appended to it. Rewritten aside, so that
        # a second stop, in this moment, does not lose what hours have seen.
        if len(whole) < len(lines) or lines[-1]:
            write_text(file, "".join(f"{line}\n" for line in whole))
        return True


def state(path: Path) -> str:
    """Changes when a file does, or one of a folder's: a video, its frames, or a model."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    # Size and time, not the content: a long video takes minutes to read, as a large model does.
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def _folder(parent: Path, name: str, mark: str) -> Path:
    """The folder of this video: a new one, or the one that an earlier search of it took.

    A folder with anything else in it is passed over: the report of a clip of this name, or the
    video's own frames.
    """

    def ours(there: Path) -> bool:
        # A search that has just begun, or was killed then, has left no more than its lock.
        return there.is_dir() and (
            all(file.name == LOCK for file in there.iterdir()) or _mark_of(there) == mark
        )

    return take_folder(parent, name, ours)


def _mark_of(folder: Path) -> str | None:
    """Which video the search in a folder is of; None if there is none."""
    try:
        with (folder / LOG).open(encoding="utf-8") as file:
            mark = json.loads(file.readline())["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return mark if isinstance(mark, str) else None
