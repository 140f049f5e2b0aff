"""CASME (Yan et al. 2013): 189 clips of 19 subjects in use, 60 frames per second.

No folder of it was at hand: the sheet's columns are taken to be CASME II's, which came after it and
kept its conventions. Where a real sheet differs, `deft-llm corpora check` says which column is
missing, and this is the place to add its heading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from deft_llm.corpora.casme2 import Casme2
from deft_llm.corpora.reading import PublishedCounts
from deft_llm.corpora.sheets import CASME_COLUMNS, Sheet


class Casme(Casme2):
    """CASME; subjects and clips are named as in CASME II."""

    name = "casme"
    title = "CASME"
    licence = "the Institute of Psychology, Chinese Academy of Sciences (Yan et al., FG 2013)"
    tree = """
CASME/
  CASME-coding.xlsx
  CASME_RAW/sub01/EP02_01f/img46.jpg   (or Cropped/sub01/EP02_01f/reg_img46.jpg)
"""
    fps = 60.0
    schemes: ClassVar[tuple[str, ...]] = ("3", "4")
    published = PublishedCounts(189)
    sheet = Sheet(("CASME-coding*", "CASME1-coding*", "CASME I-coding*"), CASME_COLUMNS)
    emotions: ClassVar[Mapping[str, str]] = {
        **Casme2.emotions,
        "contempt": "contempt",
        # The authors' word for a face without any of the basic emotions.
        "tense": "others",
    }
    trees = ("CASME_RAW", "CASME-RAW", "RAW", "Cropped")
