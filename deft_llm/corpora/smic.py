"""SMIC (Li et al. 2013): three classes without AUs; high speed, colour and near infrared.

Checked against a real sheet: subject, clip, onset, apex and offset of HS (an apex coding published
by others: 164 rows, 7 of them without offset). The authors' own sheets, which have no apex, and the
folders follow published descriptions. Without any sheet the folders alone are read, from first
frame to last. Without a coded apex the middle frame is used. The sources at hand give no counts for
VIS and NIR.
"""

from __future__ import annotations

import re
from typing import ClassVar

from deft_llm.clip import Annotation, Interval
from deft_llm.corpora.base import Corpus
from deft_llm.corpora.coding import RowPlace
from deft_llm.corpora.frames import open_folder
from deft_llm.corpora.people import clip_name, subject_number
from deft_llm.corpora.reading import Entry, Identity, PublishedCounts, Reading
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import Sheet, SheetRow
from deft_llm.corpora.tree import FrameTree
from deft_llm.errors import UserError

_CLIP = re.compile(r"s(\d+)_(ne|po|sur)_(\d+)")  # the class is in the name alone
_KINDS = ("hs", "vis", "nir")


def _sheet(kind: str) -> Sheet:
    return Sheet(
        (f"SMIC-{kind}-E_annotation", *(("smic_apex",) if kind == "HS" else ())),
        {
            "subject": ("Subject", "subject"),
            "clip": ("Filename", "clip"),
            "onset": ("OnsetF", "onset_frame"),
            "apex": ("ApexF", "apex_frame"),
            "offset": ("OffsetF", "offset_frame"),
        },
    )


def _tree(kind: str) -> str:
    return f"""
SMIC/
  {kind}_long/SMIC_{kind}_E/SMIC-{kind}-E_annotation.xlsx   (may be left out with cropped clips)
  {kind}_long/SMIC_{kind}_E/s20/s20_ne_01/image17581039.jpg
  (or SMIC_all_cropped/{kind}/s20/micro/negative/s20_ne_01/reg_image17581039.bmp)
"""


class Smic(Corpus):
    """Shared code of the three cameras; ``kind`` is "HS", "VIS" or "NIR"."""

    kind: ClassVar[str]
    licence = "the Center for Machine Vision, University of Oulu (Li et al., IEEE FG 2013)"
    schemes = ("3",)
    people = "smic"  # the cameras stood side by side and filmed the same people
    emotions = {"ne": "negative", "po": "positive", "sur": "surprise"}

    def __init_subclass__(cls, kind: str) -> None:
        super().__init_subclass__()
        cls.kind, cls.name, cls.title = kind, f"smic_{kind.lower()}", f"SMIC-{kind}"
        cls.tree, cls.sheet = _tree(kind), _sheet(kind)
        cls.trees = (f"{kind}_long", "SMIC_all_raw", "SMIC_all_cropped")
        # All three cameras filmed clips of the same names.
        cls.foreign = frozenset(_KINDS) - {kind.lower()}

    @classmethod
    def names(cls, clip: str) -> tuple[str, str, str]:
        """Subject "s01", clip "s01_ne_02" and emotion from "s01_ne_02" or "s1_ne_02".

        Raises:
            UserError: If the name has another form.
        """
        match = _CLIP.fullmatch(clip.casefold())
        if match is None:
            raise UserError(f"clip {clip!r} is no name like s20_ne_01")
        subject = f"s{int(match[1]):02d}"
        return subject, f"{subject}_{match[2]}_{int(match[3]):02d}", cls.emotions[match[2]]

    def identify(self, row: SheetRow) -> Identity:
        """Subject "s01", clip "s01_ne_02"; the name includes the class."""
        subject, clip, _ = self.names(clip_name(row["clip"]))
        if subject_number(row["subject"]) != int(subject[1:]):
            raise UserError(f"clip {clip!r} in a row of subject {row['subject']}")
        return Identity(subject, clip, (f"{subject}/{clip}", clip))

    def aus_text(self, row: SheetRow) -> str:
        """Empty: SMIC has no AUs."""
        return ""

    def emotion(self, row: SheetRow, place: RowPlace) -> str | None:
        """The emotion in the clip's name."""
        return self.names(clip_name(row["clip"]))[2]

    def read(self, frames: bool = True) -> Reading:
        """Read the sheet like every corpus; without a sheet, read the folders alone."""
        try:
            self.sheets()
        except UserError:
            reading = self._from_folders()
            # Neither sheet nor folders: the error about the sheet shows the expected layout.
            if reading is None:
                raise
            return reading
        return super().read(frames)

    def _from_folders(self) -> Reading | None:
        """Entries from the folders; each is one expression from its first frame to its last."""
        report, entries, tree = Report(), [], FrameTree(self.root)
        # Raw clips go on before and after the expression, so the cropped ones alone can be read.
        for name in tree.named(_CLIP, self.foreign):
            subject, clip, emotion = self.names(name)
            place = f"micro/{emotion}/{clip}"
            try:
                folder = tree.find((place,), self.trees, self.foreign)
                if folder is None:
                    continue
                found = open_folder(folder)
            except UserError as error:
                report.add(clip, None, str(error), "no frames", "dropped")
                continue
            last = len(found.numbers) - 1
            interval = Interval(0, last // 2, last)
            annotation = Annotation(
                self.name, subject, clip, interval, emotion=emotion, fps=self.fps
            )
            entries.append(Entry(annotation, folder, len(found.numbers), 0))
            what = f"{folder.name}: no sheet"
            report.add(str(folder), None, what, "first frame, middle, last frame", "mended")
        if not entries:
            return None
        return Reading(self.name, tuple(entries), report, self.published, self.simulated)


class SmicHs(Smic, kind="HS"):
    """SMIC-HS, 100 frames per second."""

    fps = 100.0
    published = PublishedCounts(164, 16, {"3": {"negative": 70, "positive": 51, "surprise": 43}})


class SmicVis(Smic, kind="VIS"):
    """SMIC-VIS, 25 frames per second."""

    fps = 25.0


class SmicNir(Smic, kind="NIR"):
    """SMIC-NIR, 25 frames per second."""

    fps = 25.0
