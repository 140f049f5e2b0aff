"""The codings of one sheet, and where two sheets of a corpus disagree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deft_llm.clip import Annotation, Interval
from deft_llm.corpora.people import canonical
from deft_llm.corpora.reading import Identity
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import SheetRow


@dataclass(frozen=True)
class CodedClip:
    """One row after mending: subject, clip and coding, in the sheet's frame numbers."""

    row: SheetRow
    identity: Identity
    annotation: Annotation
    interval: Interval


@dataclass
class CodedSheet:
    """One sheet's codings by clip, and every subject in it."""

    path: Path
    clips: dict[str, CodedClip] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)


def compare(coded: CodedSheet, others: CodedSheet, report: Report) -> None:
    """Report where two sheets of one corpus disagree; the first is used."""
    file, other = coded.path.name, others.path.name
    # A newer sheet may spell the names in another way.
    known = {canonical(name): clip for name, clip in others.clips.items()}
    for name, clip in coded.clips.items():
        if (same := known.pop(canonical(name), None)) is None:
            report.add(file, clip.row.number, name, f"not in {other}", "noted")
            continue
        theirs = same.row.values
        for column, value in clip.row.values.items():
            # An empty cell is no contradiction.
            if value and theirs.get(column) and canonical(value) != canonical(theirs[column]):
                why = f"{other} says {theirs[column]}; {file} is used"
                report.add(file, clip.row.number, f"{name}: {column} {value}", why, "noted")
    for clip in known.values():
        report.add(other, clip.row.number, clip.identity.clip, f"not in {file}", "dropped")
