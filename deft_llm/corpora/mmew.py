"""MMEW (Ben et al. 2021): 300 micro-expressions of 36 subjects, 90 frames per second, colour.

No real sheet was available: columns and folders follow public descriptions and loaders.
"""

from __future__ import annotations

import re

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.people import clip_name, subject_number
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import CASME_COLUMNS, Sheet, SheetRow
from deft_llm.errors import UserError


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
        ("MMEW_Micro_Exp*",),
        CASME_COLUMNS,
    )
    emotions = {
        name: name
        for name in (
            *("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
            "others",
        )
    }

    trees = ("Micro_Expression",)
    # Its macro-expressions are in a tree of their own.
    foreign = frozenset({"macro"})

    def identify(self, row: SheetRow) -> Identity:
        """Subject "S01"; the clip keeps its name."""
        number, clip = subject_number(row["subject"]), clip_name(row["clip"])
        # The name says whose it is: a shifted column would give the face to somebody else.
        own = re.match(r"S(\d+)-", clip, re.IGNORECASE)
        if own and int(own[1]) != number:
            raise UserError(f"clip {clip!r} in a row of subject {number}")
        return Identity(f"S{number:02d}", clip, (clip,))
