"""SAMM Long Videos (Yap et al. 2020): long videos at 200 frames per second.

The columns are those of the real sheet (version 3), of which only a copy with dummy rows was
available; the folders follow public descriptions. The emotions are in SAMM's own sheet, which is
joined by clip name if it is in the same folder; without it, clips have AUs but no emotion. An apex
of -1 is not coded. The number of micro-expressions, 159, follows from published spotting counts.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.coding import RowPlace, read_emotion
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.samm import MICRO_SHEET, SAMM_EMOTIONS, names_of
from deft_llm.corpora.sheets import Sheet, SheetRow, read_sheet
from deft_llm.errors import UserError


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
    people = "samm"
    schemes = ("3", "4", "5-samm")
    published = PublishedCounts(159)
    sheet = Sheet(
        ("SAMM_LongVideos*",),
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
    trees = ("SAMM_longvideos",)

    def of_kind(self, kind: str) -> SammLongVideos:
        """See the base."""
        corpus = type(self)(self.root)
        corpus.coded_kind = kind
        return corpus

    def video_of(self, path: str) -> tuple[str, str] | None:
        """Subject "006", video "006_1" of a folder "006_1"."""
        found = re.fullmatch(r"(?:.*/)?(\d+)_(\d+)", path)
        return (f"{int(found[1]):03d}", f"{int(found[1]):03d}_{found[2]}") if found else None

    def rows(self, path: Path) -> list[SheetRow]:
        """The rows of one kind; also reads SAMM's own sheet."""
        found = sorted(p for p in path.parent.iterdir() if MICRO_SHEET.is_name(p))
        self._codes = _by_clip(read_sheet(found[-1], MICRO_SHEET)) if found else {}
        # The sheets write "Micro - 1/2".
        return [r for r in super().rows(path) if r["type"].lower().startswith(self.coded_kind)]

    def identify(self, row: SheetRow) -> Identity:
        """Subject "006", clip "006_1_2" in the video "006_1"."""
        subject, clip = names_of(row)
        # Clip 006_1_2 is the second expression in video 006_1.
        return Identity(subject, clip, (clip.rpartition("_")[0],))

    def emotion(self, row: SheetRow, place: RowPlace) -> str | None:
        """The emotion in SAMM's sheet; differences between the two sheets are reported."""
        code = self._codes.get(names_of(row)[1])
        if code is None:
            place.say("not in SAMM's own sheet", "no emotion, AUs alone", "noted")
            return None
        if row["aus"] != code["aus"]:
            place.say(f"AUs {row['aus']!r}", f"SAMM's own sheet says {code['aus']!r}", "noted")
        return read_emotion(code["emotion"], self.emotions, place)


def _by_clip(rows: list[SheetRow]) -> dict[str, SheetRow]:
    """The rows of SAMM's own sheet that name a clip."""
    found = {}
    for row in rows:
        # A row that cannot be read is no coding; SAMM's own reader says so.
        with suppress(UserError):
            found[names_of(row)[1]] = row
    return found
