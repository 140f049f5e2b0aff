"""DFME (Zhao et al. 2023): 7,526 clips of 671 people, seven emotions.

No real sheet was available: columns and folders follow public descriptions and loaders.
Clips were filmed at 200 to 500 frames per second; these sources do not give the rate of each clip,
so annotations have none. Parts released for challenges have fewer clips.
"""

from __future__ import annotations

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.people import clip_name, subject_key
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import Sheet, SheetRow


class Dfme(Corpus):
    """DFME."""

    name = "dfme"
    title = "DFME"
    licence = "the authors at the University of Science and Technology of China (Zhao et al., 2023)"
    tree = """
DFME/
  training_full_with_AU.xlsx
  DFME_train/0001_01/00001.png
"""
    fps = None
    schemes = ("3", "7-dfme")
    published = PublishedCounts(7526, 671)
    sheet = Sheet(
        ("training_full*", "DFME*"),
        {
            "subject": ("Subject", "subject_id"),
            "clip": ("Filename", "file_name"),
            "onset": ("OnsetFrame", "onset_frame", "Onset"),
            "apex": ("ApexFrame", "apex_frame", "Apex"),
            "offset": ("OffsetFrame", "offset_frame", "Offset"),
            "emotion": ("Emotion", "emotion_type"),
            "aus": ("Action Units", "AUs", "AU"),
        },
        # The name of the sheet ("with_AU") suggests others without the AU column.
    )
    trees = ("DFME_train",)
    emotions = {
        name: name
        for name in (
            *("anger", "contempt", "disgust", "fear", "happiness", "sadness"),
            "surprise",
        )
    }

    def identify(self, row: SheetRow) -> Identity:
        """Subject "dfme_1"; the clip has the name of its folder."""
        clip = clip_name(row["clip"])
        return Identity(f"dfme_{subject_key(row['subject'])}", clip, (clip,))
