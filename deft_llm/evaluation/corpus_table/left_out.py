"""Clips that a table leaves out, each with its place and reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deft_llm.corpora.report import Note
from deft_llm.evaluation.tables import write_table
from deft_llm.files import write_text

_SHOWN = 3  # places a reason is shown with; the file has all


@dataclass(frozen=True)
class LeftOutClip:
    """One clip, or a row of a sheet.

    Attributes:
        corpus: Corpus.
        place: File and row.
        what: What was found.
        why: The reason, the same text for all clips with that reason.
    """

    corpus: str
    place: str
    what: str
    why: str

    @classmethod
    def of_note(cls, corpus: str, note: Note) -> LeftOutClip:
        """What a reader dropped."""
        place = note.file if note.row is None else f"{note.file}, row {note.row}"
        return cls(corpus, place, note.what, note.why)


def summary(clips: Sequence[LeftOutClip]) -> list[str]:
    """A line for each reason: number, reason, the first places."""
    groups: dict[tuple[str, str], list[LeftOutClip]] = defaultdict(list)
    for clip in clips:
        groups[clip.corpus, clip.why].append(clip)
    lines = []
    for (corpus, why), members in groups.items():
        places = "; ".join(f"{m.place}: {m.what}" for m in members[:_SHOWN])
        more = "; …" if len(members) > _SHOWN else ""
        lines.append(f"{len(members)} of {corpus}: {why} ({places}{more})")
    return lines


def write_left_out(path: Path, clips: Iterable[tuple[str, LeftOutClip]]) -> None:
    """Write them as CSV, with the table ("all", or a label scheme) that each is missing in."""
    rows = [{"table": table, **asdict(clip)} for table, clip in clips]
    if rows:
        write_table(path, rows)
    else:
        write_text(path, "table,corpus,place,what,why\n")
