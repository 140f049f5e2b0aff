"""MEGC2019's composite (See et al. 2019): CASME II + SMIC-HS + SAMM, 442 clips of 68 subjects.

The organizers' list (``combined_3class_gt.csv``: dataset, subject, clip, class) decides which clips
are included. Without it the paper's rule is used: CASME II's disgust and repression, SAMM's anger,
contempt, disgust, fear and sadness are negative, happiness is positive, surprise is surprise,
everything else is excluded. On CASME II's sheet of 2019 the rule keeps five clips more than were
published, and the check of counts reports it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from deft_llm import facs
from deft_llm.corpora.base import Corpus
from deft_llm.corpora.casme2 import Casme2
from deft_llm.corpora.people import canonical, clip_name, subject_number
from deft_llm.corpora.reading import Entry, Identity, PublishedCounts, Reading
from deft_llm.corpora.report import Report
from deft_llm.corpora.samm import Samm, names_of
from deft_llm.corpora.sheets import Sheet, SheetRow, read_sheet
from deft_llm.corpora.smic import SmicHs
from deft_llm.errors import UserError

#: Name of a part in the list, its reader, possible folder names.
_PARTS: tuple[tuple[str, type[Corpus], tuple[str, ...]], ...] = (
    ("casme2", Casme2, ("CASME2", "CASMEII", "CASME II", "casme2")),
    ("smic", SmicHs, ("SMIC", "smic")),
    ("samm", Samm, ("SAMM", "samm")),
)


class Megc2019(Corpus):
    """MEGC2019's composite of three datasets."""

    name = "megc2019"
    title = "MEGC2019's composite"
    licence = "three parties: see the messages of casme2, smic_hs and samm for each"
    tree = """
MEGC2019/
  combined_3class_gt.csv      (the organizers' list: dataset,subject,clip,class)
  CASME2/...   SMIC/...   SAMM/...      (each as its own corpus)
"""
    fps = None
    schemes = ("3",)
    published = PublishedCounts(442, 68, {"3": {"negative": 250, "positive": 109, "surprise": 83}})
    # Published clips of each part; they sum to 442.
    parts: ClassVar[dict[str, int]] = {"casme2": 145, "smic": 164, "samm": 133}
    sheet = Sheet(
        ("combined_3class*",),
        {name: (name,) for name in ("dataset", "subject", "clip", "class")},
        header=False,
    )
    emotions = {str(k): name for k, name in enumerate(facs.THREE_CLASSES)}

    def identify(self, row: SheetRow) -> Identity:
        """Subject and clip as the part's own reader names them."""
        # Ids have to equal those of the part's reader, however the list spells them.
        clip = clip_name(row["clip"])
        if _dataset(row) == "casme2":
            subject = f"sub{subject_number(row['subject']):02d}"
            return Identity(subject, f"{subject}_{clip}", ())
        if _dataset(row) == "samm":
            return Identity(*names_of(row), ())
        return Identity(*SmicHs.names(clip)[:2], ())

    def read(self, frames: bool = True) -> Reading:
        """Read the three corpora and keep the clips of the composite.

        Raises:
            UserError: If one of the three is missing or cannot be read.
        """
        report, entries = Report(), []
        listed = self._list(report)
        for name, reader, folders in _PARTS:
            reading = reader(self._folder(name, folders)).read(frames)
            report.extend(reading.report)
            # The rule applies with the list as well: a clip needs one of the three classes.
            kept = [e for e in reading.entries if _belongs(e)]
            if listed is not None:
                kept = _by_list(kept, listed[name], name, report)
            if len(kept) != self.parts[name]:
                what = f"{len(kept)} clips"
                report.add(name, None, what, f"MEGC2019 has {self.parts[name]}", "noted")
            entries += kept
        return Reading(self.name, tuple(entries), report, self.published, self.simulated)

    def _folder(self, name: str, folders: tuple[str, ...]) -> Path:
        for folder in folders:
            if (self.root / folder).is_dir():
                return self.root / folder
        raise self._missing(f"{self.root}: no folder {folders[0]} for {name}")

    def _list(self, report: Report) -> dict[str, dict[str, str]] | None:
        """Dataset -> clip -> class; None without the organizers' list."""
        try:
            path = self.sheets()[0]
        except UserError:
            why = "which clips belong follows from the paper's rule"
            report.add(str(self.root), None, "no combined_3class_gt.csv", why, "noted")
            return None
        listed: dict[str, dict[str, str]] = {name: {} for name, _, _ in _PARTS}
        for row in read_sheet(path, self.sheet):
            dataset, label = _dataset(row), row["class"].removesuffix(".0")
            if dataset not in listed or label not in self.emotions:
                raise UserError(
                    f"{path}, row {row.number}: dataset {row['dataset']!r}, class {row['class']!r};"
                    f" expected one of {', '.join(listed)} and of {', '.join(self.emotions)}"
                )
            try:
                clip = canonical(self.identify(row).clip)
            except UserError as error:
                raise UserError(f"{path}, row {row.number}: {error}") from None
            if listed[dataset].setdefault(clip, self.emotions[label]) != self.emotions[label]:
                raise UserError(
                    f"{path}, row {row.number}: clip {row['clip']!r} is listed as "
                    f"{listed[dataset][clip]} above and as {self.emotions[label]} here; leave one"
                )
        return listed


def _dataset(row: SheetRow) -> str:
    """The key of a part, from names like "CASME II", "SMIC-HS" and "samm"."""
    name = re.sub(r"[^a-z0-9]", "", row["dataset"].casefold())
    return {"casmeii": "casme2", "smichs": "smic"}.get(name, name)


def _belongs(entry: Entry) -> bool:
    coding = entry.annotation
    return facs.to_three(coding.emotion, coding.dataset) is not None


def _by_list(
    entries: list[Entry], listed: dict[str, str], name: str, report: Report
) -> list[Entry]:
    """The clips in the list, which has canonical names; one with another class is dropped."""
    kept, found = [], {canonical(entry.annotation.clip) for entry in entries}
    for entry in entries:
        clip, label = entry.annotation.clip, facs.to_three(entry.annotation.emotion)
        # Sheet and list are copied by different people: "ep02_1f" is "EP02_01f".
        if (wanted := listed.get(canonical(clip))) is None:
            report.add(name, entry.row, clip, "not in MEGC2019's list", "dropped")
        elif wanted != label:
            why = f"MEGC2019's list says {wanted}"
            report.add(name, entry.row, f"{clip}: {label}", why, "dropped")
        else:
            kept.append(entry)
    for clip in sorted(listed.keys() - found):
        report.add(name, None, clip, "in MEGC2019's list, not among the clips read", "dropped")
    return kept
