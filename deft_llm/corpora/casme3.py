"""CAS(ME)3, part A (Li et al. 2022): long videos at 30 frames per second, 860 coded clips.

Columns, codings and the number of rows are those of the real sheet (version 2, "JpgIndex"); the
folders follow published descriptions. The sources at hand give no class counts, so only consistency
is checked. Files are numbered from 1; one onset of the sheet is 0. Some offsets are hundreds of
frames after the apex; they are kept as coded.
"""

from __future__ import annotations

import re

from deft_llm.corpora.base import MACRO, Corpus
from deft_llm.corpora.people import canonical, clip_name, subject_number
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import Sheet, SheetRow, frame_number

_COLUMNS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "aus": ("AU",),
    "emotion": ("emotion",),
}


class Casme3(Corpus):
    """CAS(ME)3, part A, micro-expressions."""

    name = "casme3"
    title = "CAS(ME)3"
    licence = (
        "the Institute of Psychology, Chinese Academy of Sciences (Li et al., IEEE TPAMI 2023)"
    )
    tree = """
CASME3/
  annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx
  data/spNO.1/a/color/355.jpg      (or Part_A_ME_clip/frame/spNO.1_a_355/355.jpg)
"""
    fps = 30.0
    schemes = ("3", "4", "7")
    published = PublishedCounts(860)
    sheet = Sheet(
        ("cas(me)3_part_A_ME*", "casme3*"),
        _COLUMNS,
    )
    emotions = {
        "happy": "happiness",
        "disgust": "disgust",
        "fear": "fear",
        "anger": "anger",
        "surprise": "surprise",
        "sad": "sadness",
        "others": "others",
    }

    # The camera's depth images lie beside the colour ones and have the same numbers.
    foreign = frozenset({"depth"})

    def of_kind(self, kind: str) -> Casme3:
        """See the base."""
        return (Casme3Macros if kind == MACRO else Casme3)(self.root)

    def video_of(self, path: str) -> tuple[str, str] | None:
        """Subject "spNO.1", video "a" of a folder "data/spNO.1/a/color"."""
        # Paths come in canonical spelling: lower case, numbers without leading zeros.
        found = re.fullmatch(r"(?:.*/)?(?:sp|sub|s)?(?:no\.?)?_?(\d+)/([^/]+)/color", path)
        return (f"spNO.{found[1]}", found[2]) if found else None

    def identify(self, row: SheetRow) -> Identity:
        """Subject "spNO.1", clip "spNO.1_a_355": video and onset (videos have several)."""
        number, video = subject_number(row["subject"]), canonical(clip_name(row["clip"]))
        try:
            onset = frame_number(row["onset"])
        except ValueError:  # the row is dropped for it later
            onset = None
        subject = f"spNO.{number}"
        clip = f"{subject}_{video}_{onset}"
        inside = [f"{name}{number}/{video}" for name in ("spNO.", "spNO", "sp", "sub", "s", "")]
        # The long videos first: they hold the face at rest before the onset.
        places = (*(f"{place}/color" for place in inside), clip, *inside)
        return Identity(subject, clip, places)


class Casme3Macros(Casme3):
    """Its macro-expressions, from a sheet of their own.

    That sheet was not at hand: its columns are taken to be the same.
    """

    sheet = Sheet(("cas(me)3_part_A_MaE*",), _COLUMNS)
