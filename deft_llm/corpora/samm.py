"""SAMM (Davison et al. 2016): 159 clips, 200 frames per second, 2040x1088 grey.

Columns, codings and counts are those of the real sheet (version 2); the folders follow published
descriptions. Of 32 participants, 29 have a coded micro-expression.
"""

from __future__ import annotations

from deft_llm.corpora.base import Corpus
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
    ("SAMM*Micro_FACS_Codes*.xlsx", "SAMM*Micro_FACS_Codes*.xls", "SAMM*Micro_FACS_Codes*.csv"),
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


def subject_of(row: SheetRow) -> str:
    """The subject as three digits, the form in clip names.

    Raises:
        UserError: If the clip belongs to another subject.
    """
    # A numeric cell loses its leading zeros.
    subject = row["subject"].zfill(3)
    if not row["clip"].startswith(f"{subject}_"):
        raise UserError(f"clip {row['clip']!r} in a row of subject {subject}")
    return subject


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
        subject = subject_of(row)
        inside = f"{subject}/{row['clip']}"
        return Identity(subject, row["clip"], (inside, f"SAMM/{inside}", f"*/{inside}"))
