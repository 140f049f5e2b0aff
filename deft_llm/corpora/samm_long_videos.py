"""SAMM Long Videos (Yap et al. 2020): long videos at 200 frames per second.

The columns are those of the real sheet (version 3), of which only a copy with dummy rows was
available; the folders follow public descriptions. The emotions are in SAMM's own sheet, which is
joined by clip name if it is in the same folder; without it, clips have AUs but no emotion. An apex
of -1 is not coded. The number of micro-expressions, 159, follows from published spotting counts.
"""

from __future__ import annotations

from pathlib import Path

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.coding import RowPlace, read_emotion
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.samm import MICRO_SHEET, SAMM_EMOTIONS, subject_of
from deft_llm.corpora.sheets import Sheet, SheetRow, read_sheet


class SammLongVideos(Corpus):
    """SAMM Long Videos, micro-expressions."""

    name = "samm_long_videos"
    title = "SAMM Long Videos"
    licence = "Manchester Metropolitan University (Yap et al., IEEE FG 2020)"
    tree = """
SAMM_Long_Videos/
  SAMM_LongVideos_V3_Release.xlsx
  SAMM_Micro_FACS_Codes_v2.xlsx      (SAMM's sheet: the emotions)
  SAMM_longvideos/006_1/006_1_0001.jpg
"""
    fps = 200.0
    schemes = ("3", "4", "5-samm")
    published = PublishedCounts(159)
    sheet = Sheet(
        ("SAMM_LongVideos*.xlsx", "SAMM_LongVideos*.csv"),
        {
            "subject": ("Subject",),
            "clip": ("Filename",),
            "onset": ("Onset",),
            "apex": ("Apex",),
            "offset": ("Offset",),
            "type": ("Type",),
            "aus": ("Action Units",),
        },
    )
    emotions = SAMM_EMOTIONS

    def rows(self, path: Path) -> list[SheetRow]:
        """The rows of micro-expressions; also reads SAMM's own sheet."""
        found = [p for pattern in MICRO_SHEET.patterns for p in sorted(path.parent.glob(pattern))]
        codes = read_sheet(found[-1], MICRO_SHEET) if found else []
        self._codes = {row["clip"]: row for row in codes}
        return [r for r in super().rows(path) if r["type"].lower().startswith("micro")]

    def identify(self, row: SheetRow) -> Identity:
        """Subject "006", clip "006_1_2" in the video "006_1"."""
        subject = subject_of(row)
        # Clip 006_1_2 is the second expression in video 006_1.
        video = "_".join(row["clip"].split("_")[:2])
        places = (f"SAMM_longvideos/{video}", video, f"*/{video}")
        return Identity(subject, row["clip"], places)

    def emotion(self, row: SheetRow, place: RowPlace) -> str | None:
        """The emotion in SAMM's sheet; differences between the two sheets are reported."""
        code = self._codes.get(row["clip"])
        if code is None:
            place.say("not in SAMM's own sheet", "no emotion, AUs alone", "noted")
            return None
        if row["aus"] != code["aus"]:
            place.say(f"AUs {row['aus']!r}", f"SAMM's own sheet says {code['aus']!r}", "noted")
        return read_emotion(code["emotion"], self.emotions, place)
