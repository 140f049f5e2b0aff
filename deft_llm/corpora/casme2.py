"""CASME II (Yan et al. 2014): 255 clips of 26 subjects, 200 frames per second, 640x480 colour.

Columns, codings and counts are those of the real sheet of 2019-07-01; the folders follow published
descriptions. That sheet has 28 clips of surprise, but 25 are published: three of subject 24 are not
in MEGC2019's list either. It has four of sadness, where older copies (the one of FED-PsyAU) have
seven.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.people import clip_name, subject_number
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import CASME_COLUMNS, Sheet, SheetRow


class Casme2(Corpus):
    """CASME II."""

    name = "casme2"
    title = "CASME II"
    licence = "the Institute of Psychology, Chinese Academy of Sciences (Yan et al., PLoS ONE 2014)"
    tree = """
CASME2/
  CASME2-coding-20190701.xlsx
  CASME2_RAW_selected/sub01/EP02_01f/img46.jpg   (or Cropped/sub01/EP02_01f/reg_img46.jpg)
"""
    fps = 200.0
    schemes: ClassVar[tuple[str, ...]] = ("3", "4", "5-casme2")
    published = PublishedCounts(
        255,
        26,
        {
            "5-casme2": {
                "happiness": 32,
                "disgust": 63,
                "repression": 27,
                "surprise": 25,
                "others": 99,
            }
        },
    )
    sheet = Sheet(
        ("CASME2-coding*", "CASME II-coding*"),
        CASME_COLUMNS,
    )
    emotions: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            *("happiness", "disgust", "repression", "surprise", "others"),
            # Too few for a class of the paper's five; MEGC2019 leaves them out as well.
            *("sadness", "fear"),
        )
    }

    # Raw before cropped: faces are found and aligned here, and a crop has lost what is around them.
    # The crops, which most papers use, are read where there is nothing else.
    trees = ("CASME2_RAW_selected", "CASME2-RAW", "CASME2_RAW", "Cropped")

    def identify(self, row: SheetRow) -> Identity:
        """Subject "sub01", clip "sub01_EP02_01f"."""
        number, clip = subject_number(row["subject"]), clip_name(row["clip"])
        subject = f"sub{number:02d}"
        # Clips of different subjects have the same names, so the subject is part of the path. The
        # names have no one form ("EP02_01f", "EP01_2", "EP06_02_01", "EP09f"): kept as coded.
        people = (subject, f"s{number}", str(number), f"subject{number}")
        places = (*(f"{name}/{clip}" for name in people), f"{subject}_{clip}")
        return Identity(subject, f"{subject}_{clip}", places)
