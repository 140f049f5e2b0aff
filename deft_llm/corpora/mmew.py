"""MMEW (Ben et al. 2021): 300 micro-expressions of 36 subjects, 90 frames per second, colour.

No real sheet was available: columns and folders follow public descriptions and loaders.
"""

from __future__ import annotations

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import CASME_COLUMNS, Sheet, SheetRow


class Mmew(Corpus):
    """MMEW, micro-expressions."""

    name = "mmew"
    title = "MMEW"
    licence = "Shandong University (Ben et al., IEEE TPAMI 2021)"
    tree = """
MMEW/
  MMEW_Micro_Exp.xlsx
  Micro_Expression/happiness/S01-01-001/1.jpg   (or Micro_Expression/S01/happiness/S01-01-001/)
"""
    fps = 90.0
    schemes = ("3", "4", "7")
    published = PublishedCounts(
        300,
        36,
        {
            "7": {
                "surprise": 89,
                "disgust": 72,
                "others": 66,
                "happiness": 36,
                "fear": 16,
                "sadness": 13,
                "anger": 8,
            }
        },
    )
    sheet = Sheet(
        ("MMEW_Micro_Exp*.xlsx", "MMEW_Micro_Exp*.csv"),
        CASME_COLUMNS,
    )
    emotions = {
        name: name
        for name in (
            *("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
            "others",
        )
    }

    def identify(self, row: SheetRow) -> Identity:
        """Subject "S01"; the clip keeps its name."""
        subject = f"S{row['subject'].upper().removeprefix('S').zfill(2)}"
        # In both known layouts the emotion is part of the path.
        kind, clip = row["emotion"].lower(), row["clip"]
        tails = (f"{kind}/{clip}", f"{subject}/{kind}/{clip}", f"{subject}/{clip}")
        heads = ("Micro_Expression/", "MMEW/Micro_Expression/", "*/Micro_Expression/", "")
        return Identity(subject, clip, tuple(head + tail for head in heads for tail in tails))
