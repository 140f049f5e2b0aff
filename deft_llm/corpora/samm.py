"""SAMM (Davison et al. 2016): 159 clips, 200 frames per second, 2040x1088 grey.

Columns, codings and counts are those of the real sheet (version 2); the folders follow published
descriptions. Of 32 participants, 29 have a coded micro-expression.
"""

from __future__ import annotations

import re

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.people import clip_name, subject_number
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import Sheet, SheetRow
from deft_llm.errors import UserError

SAMM_EMOTIONS = {
    "Anger": "anger",
    "Contempt": "contempt",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happiness": "happiness",
    "Sadness": "sadness",
    "Surprise": "surprise",
    "Other": "others",
}
MICRO_SHEET = Sheet(
    ("SAMM*Micro_FACS_Codes*",),
    {
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("Onset Frame",),
        "apex": ("Apex Frame",),
        "offset": ("Offset Frame",),
        "aus": ("Action Units",),
        "emotion": ("Estimated Emotion",),
    },
)


def names_of(row: SheetRow) -> tuple[str, str]:
    """Subject "006" and clip "006_1_2" of a row.

    Raises:
        UserError: If the clip has another form, or belongs to another subject.
    """
    number, clip = subject_number(row["subject"]), clip_name(row["clip"])
    # Numeric cells lose their leading zeros.
    found = re.fullmatch(r"0*(\d+)_0*(\d+)_0*(\d+)", clip)
    if not found:
        raise UserError(f"clip {clip!r} is no name like 006_1_2")
    # A shifted column would give the face to somebody else.
    if int(found[1]) != number:
        raise UserError(f"clip {clip!r} in a row of subject {number:03d}")
    return f"{number:03d}", f"{number:03d}_{found[2]}_{found[3]}"


class Samm(Corpus):
    """SAMM, the micro-movement clips."""

    name = "samm"
    title = "SAMM"
    licence = "Manchester Metropolitan University (Davison et al., IEEE TAC 2016)"
    tree = """
SAMM/
  SAMM_Micro_FACS_Codes_v2.xlsx
  006/006_1_2/006_05562.jpg
"""
    fps = 200.0
    people = "samm"  # SAMM's clips are cut out of the long videos
    schemes = ("3", "4", "5-samm")
    published = PublishedCounts(
        159,
        None,
        {"5-samm": {"anger": 57, "contempt": 12, "happiness": 26, "surprise": 15, "others": 26}},
    )
    sheet = MICRO_SHEET
    emotions = SAMM_EMOTIONS

    def identify(self, row: SheetRow) -> Identity:
        """Subject "006", clip "006_1_2"."""
        subject, clip = names_of(row)
        return Identity(subject, clip, (f"{subject}/{clip}", clip))
