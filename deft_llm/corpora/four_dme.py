"""4DME (Li et al. 2022), the grey videos at 60 frames per second.

No real sheet was available: columns and folders follow public descriptions and loaders.
4DME allows several emotions for a clip; such a clip keeps its AUs and the coarse class that all its
emotions share, or none. The sources at hand give no counts.
"""

from __future__ import annotations

import re

from deft_llm import facs
from deft_llm.corpora.base import Corpus
from deft_llm.corpora.coding import RowPlace, au_code, read_emotion
from deft_llm.corpora.people import clip_name, subject_key
from deft_llm.corpora.reading import Identity
from deft_llm.corpora.sheets import Sheet, SheetRow


class FourDme(Corpus):
    """4DME, micro-expressions, grey videos."""

    name = "four_dme"
    title = "4DME"
    licence = "the Center for Machine Vision, University of Oulu (Li et al., IEEE TAC 2022)"
    tree = """
4DME/
  4DME_Labelling_Micro_release v1.xlsx
  gray_micro/01/01_1st_001_01_1/Frame_000000001.jpg
"""
    fps = 60.0
    schemes = ("3", "4")
    sheet = Sheet(
        ("4DME_Labelling_Micro*",),
        {
            "subject": ("sub_ID",),
            "clip": ("fold_name",),
            "onset": ("Onset",),
            "apex": ("Apex",),
            "offset": ("Offset",),
            "aus": ("AUs", "AU"),
            "emotion": ("Emotion",),
        },
    )
    trees = ("gray_micro",)
    # Other cameras filmed colour and depth; the sheet counts the frames of the grey one.
    foreign = frozenset({"rgb", "color", "colour", "depth", "macro"})
    emotions = {
        "Positive": "positive",
        "Negative": "negative",
        "Surprise": "surprise",
        "Repression": "repression",
        "Others": "others",
    }

    def identify(self, row: SheetRow) -> Identity:
        """Subject "4dme_01", since other corpora have an "s01"; clip named like its folder."""
        clip = clip_name(row["clip"])
        return Identity(f"4dme_{subject_key(row['subject']).zfill(2)}", clip, (clip,))

    def aus_text(self, row: SheetRow) -> str:
        """From "AU4+AU7(k)" to "4": AUs marked (k) are held through the clip and do not move."""
        aus = au_code(row["aus"]).split("+")
        return "+".join(au for au in aus if not au.casefold().rstrip().endswith("(k)"))

    def emotion(self, row: SheetRow, place: RowPlace) -> str | None:
        """The single emotion, or the coarse class that several share."""
        words = [w.strip() for w in re.split(r"[+/,&]", row["emotion"]) if w.strip()]
        # An empty cell is read as "", which raises the usual error about an unknown word.
        found = [read_emotion(word, self.emotions, place) for word in words or [""]]
        if len(found) == 1:
            return found[0]
        classes = {facs.to_scheme(emotion, "4") for emotion in found}
        common = classes.pop() if len(classes) == 1 else None
        place.say(f"emotions {row['emotion']!r}", f"taken as {common or 'no class'}", "mended")
        return common
