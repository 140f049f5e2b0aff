"""The layout of each corpus on disk, as formats for writing: the counterpart of the readers.

The formats are deliberately separate from the readers, so that each checks the other. Fields:
``s`` subject number, ``t`` a second number of the subject, ``k`` clip number of the subject (from
1), ``v`` number of its video, ``letter`` the video as a letter, ``n`` frame number, ``onset``,
``apex``, ``offset`` in the sheet's frame numbers, ``frames`` the length of the expression,
``aus`` the AU coding, ``word`` the sheet's word for the emotion, and those of ``TYPES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Columns = tuple[tuple[str, str], ...]
#: Kind of expression -> the words of the sheets that hold both kinds.
TYPES: dict[str, dict[str, str]] = {
    "micro": {"type": "micro-expression", "samm_type": "Micro - 1/2"},
    "macro": {"type": "macro-expression", "samm_type": "Macro"},
}


@dataclass(frozen=True)
class SheetLayout:
    """One sheet.

    Attributes:
        file: File name; its suffix decides between CSV and a workbook.
        columns: (header, cell format) in order; an empty column has an empty header.
        preamble: Lines of text above the header.
        header: Whether the sheet has a header row.
    """

    file: str
    columns: Columns
    preamble: tuple[str, ...] = ()
    header: bool = True


@dataclass(frozen=True)
class Layout:
    """One corpus.

    Attributes:
        sheets: Its sheets.
        subject: Format of the annotation's subject.
        clip: Format of the annotation's clip.
        folder: Format of the path to the frames.
        frame: Format of a frame's file name; the suffix decides the image format.
        words: The sheet's words for emotions -> the emotion that the reader should annotate.
        first: Number of the folder's first frame.
        grey: Whether frames are grey.
        per_video: Number of expressions in one folder of frames.
        naming_rules: Whether to write CAS(ME)2's two worksheets that map names.
        codes_aus: Whether the corpus codes AUs.
    """

    sheets: tuple[SheetLayout, ...]
    subject: str
    clip: str
    folder: str
    frame: str
    words: Mapping[str, str]
    # Real folders often start at a large frame number. So do these, to catch a reader that takes
    # frame numbers for indices.
    first: int = 1
    grey: bool = False
    per_video: int = 1
    naming_rules: bool = False
    codes_aus: bool = True


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_SAMM_WORDS = {
    "Anger": "anger",
    "Contempt": "contempt",
    "Happiness": "happiness",
    "Surprise": "surprise",
    "Other": "others",
}
_SAMM_SHEET = SheetLayout(
    "SAMM_Micro_FACS_Codes_v2.xlsx",
    (
        ("Subject", "{s:03d}"),
        ("Filename", "{s:03d}_{v}_{k}"),
        ("Inducement Code", "{v}"),
        ("Onset Frame", "{onset}"),
        ("Apex Frame", "{apex}"),
        ("Offset Frame", "{offset}"),
        ("Duration", "{frames}"),
        ("Micro", "Micro - 1/2"),
        ("Action Units", "{aus}"),
        ("Estimated Emotion", "{word}"),
        ("Objective Classes", "7"),
        ("Notes", ""),
    ),
    ("SAMM Dataset - Master FACS Codes", "", "Symbol Key:", '"/" = or', ""),
)
_FRAMES: Columns = (
    ("OnsetFrame", "{onset}"),
    ("ApexFrame", "{apex}"),
    ("OffsetFrame", "{offset}"),
)


def _smic(kind: str) -> Layout:
    base = f"{kind}_long/SMIC_{kind}_E"
    columns = (
        *(("Subject", "{s}"), ("Filename", "s{s}_{word}_{k:02d}"), ("OnsetF", "{onset}")),
        *(("ApexF", "{apex}"), ("OffsetF", "{offset}")),
    )
    return Layout(
        (SheetLayout(f"SMIC-{kind}-E_annotation.xlsx", columns),),
        "s{s:02d}",
        "s{s:02d}_{word}_{k:02d}",
        base + "/s{s:02d}/s{s}_{word}_{k:02d}",
        "image{n:06d}.jpg",
        {"ne": "negative", "po": "positive", "sur": "surprise"},
        first=93_850,
        codes_aus=False,
    )


def _casme(sheet: str, tree: str, words: Mapping[str, str]) -> Layout:
    columns = (
        # The official sheet has two empty columns; a reader must skip them.
        *(("Subject", "{s:02d}"), ("Filename", "EP{v:02d}_{k:02d}f"), ("", "")),
        *_FRAMES,
        *(("", ""), ("Action Units", "{aus}"), ("Estimated Emotion", "{word}")),
        ("Objective Classes", "7"),
    )
    return Layout(
        (SheetLayout(sheet, columns),),
        "sub{s:02d}",
        "sub{s:02d}_EP{v:02d}_{k:02d}f",
        tree + "/sub{s:02d}/EP{v:02d}_{k:02d}f",
        "img{n}.jpg",
        words,
        first=31,
    )


LAYOUTS: dict[str, Layout] = {
    "casme": _casme(
        "CASME-coding.xlsx",
        "CASME_RAW",
        {**_same("disgust", "happiness", "surprise", "repression"), "tense": "others"},
    ),
    "casme2": _casme(
        "CASME2-coding-20190701.xlsx",
        "CASME2_RAW_selected",
        _same("happiness", "disgust", "repression", "surprise", "others"),
    ),
    "samm": Layout(
        (_SAMM_SHEET,),
        "{s:03d}",
        "{s:03d}_{v}_{k}",
        "{s:03d}/{s:03d}_{v}_{k}",
        "{s:03d}_{n:05d}.jpg",
        _SAMM_WORDS,
        first=5_540,
        grey=True,
    ),
    "smic_hs": _smic("HS"),
    "smic_vis": _smic("VIS"),
    "smic_nir": _smic("NIR"),
    "mmew": Layout(
        (
            SheetLayout(
                "MMEW_Micro_Exp.xlsx",
                (
                    *(("Subject", "{s}"), ("Filename", "S{s:02d}-01-{k:03d}"), *_FRAMES),
                    *(("Action Units", "{aus}"), ("Estimated Emotion", "{word}"), ("remarks", "")),
                ),
            ),
        ),
        "S{s:02d}",
        "S{s:02d}-01-{k:03d}",
        "Micro_Expression/{word}/S{s:02d}-01-{k:03d}",
        "{n}.jpg",
        _same("surprise", "disgust", "others", "happiness", "fear"),
    ),
    "casme_squared": Layout(
        (
            SheetLayout(
                "CAS(ME)^2code_final.xlsx",
                (
                    *(("subject", "{s}"), ("clip", "anger{v}_{k}"), *_FRAMES, ("aus", "{aus}")),
                    *(("emotion", "{word}"), ("type", "{type}"), ("felt", "anger")),
                ),
                header=False,
            ),
        ),
        "s{t}",
        "s{t}_anger{v}_{k}",
        "rawpic/s{t}/{t}_{v:04d}stimulus",
        "img{n:03d}.jpg",
        _same("negative", "positive", "surprise", "others"),
        per_video=2,
        naming_rules=True,
    ),
    "casme3": Layout(
        (
            SheetLayout(
                "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
                (
                    *(("Subject", "spNO.{s}"), ("Filename", "{letter}"), ("Onset", "{onset}")),
                    *(("Apex", "{apex}"), ("Offset", "{offset}"), ("AU", "{aus}")),
                    *(("Objective class", "VII"), ("emotion", "{word}")),
                ),
            ),
        ),
        "spNO.{s}",
        # A video has several expressions, so only the onset makes the clip unique.
        "spNO.{s}_{letter}_{onset}",
        "data/spNO.{s}/{letter}/color",
        "{n}.jpg",
        {
            **{"happy": "happiness", "disgust": "disgust", "fear": "fear", "sad": "sadness"},
            **_same("anger", "surprise", "others"),
        },
        per_video=2,
    ),
    "samm_long_videos": Layout(
        (
            SheetLayout(
                "SAMM_LongVideos_V3_Release.xlsx",
                (
                    *(("Subject", "{s:03d}"), ("Filename", "{s:03d}_{v}_{k}")),
                    *(("Inducement Code", "{v}"), ("Onset", "{onset}"), ("Apex", "{apex}")),
                    *(("Offset", "{offset}"), ("Duration", "{frames}"), ("Type", "{samm_type}")),
                    *(("Action Units", "{aus}"), ("Notes", "")),
                ),
                ("SAMM Long Videos Dataset - FACS Codes", "", "Symbol Key:", ""),
            ),
            # This sheet has no emotions; the reader joins them from SAMM's own sheet.
            _SAMM_SHEET,
        ),
        "{s:03d}",
        "{s:03d}_{v}_{k}",
        "SAMM_longvideos/{s:03d}_{v}",
        "{s:03d}_{v}_{n:04d}.jpg",
        _SAMM_WORDS,
        grey=True,
        per_video=2,
    ),
    "four_dme": Layout(
        (
            SheetLayout(
                "4DME_Labelling_Micro_release v1.xlsx",
                (
                    *(("sub_ID", "{s:02d}"), ("fold_name", "{s:02d}_1st_{v:03d}_{k:02d}_1")),
                    *(("Onset", "{onset}"), ("Apex", "{apex}"), ("Offset", "{offset}")),
                    *(("AUs", "{aus}"), ("Emotion", "{word}")),
                ),
            ),
        ),
        "4dme_{s:02d}",
        "{s:02d}_1st_{v:03d}_{k:02d}_1",
        "gray_micro/{s:02d}/{s:02d}_1st_{v:03d}_{k:02d}_1",
        "Frame_{n:09d}.jpg",
        {
            **{"Positive": "positive", "Negative": "negative", "Surprise": "surprise"},
            "Others": "others",
        },
        first=120,
        grey=True,
    ),
    "dfme": Layout(
        (
            SheetLayout(
                "training_full_with_AU.xlsx",
                (
                    *(("Subject", "{s}"), ("Filename", "{s:04d}_{k:02d}"), *_FRAMES),
                    *(("Emotion", "{word}"), ("AUs", "{aus}")),
                ),
            ),
        ),
        "dfme_{s}",
        "{s:04d}_{k:02d}",
        "DFME_train/{s:04d}_{k:02d}",
        "{n:05d}.png",
        _same("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    ),
}
"""Corpus -> layout; megc2019 is composed of three of them."""
