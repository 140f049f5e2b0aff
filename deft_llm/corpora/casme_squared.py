"""CAS(ME)2 (Qu et al. 2018): long videos at 30 frames per second, 57 micro-expressions.

No real sheet was available: the three worksheets and the folders follow public descriptions and
loaders. Rows of macro-expressions are skipped; a row whose onset is 0 lies before its video and is
dropped; an offset of 0 means the apex (both as in the field's loaders). The sources at hand give
only the number of micro-expressions.
"""

from __future__ import annotations

import re
from pathlib import Path

from deft_llm.corpora.base import Corpus
from deft_llm.corpora.people import clip_name, subject_key
from deft_llm.corpora.reading import Identity, PublishedCounts
from deft_llm.corpora.sheets import Sheet, SheetRow, as_text, read_cells
from deft_llm.errors import UserError


class CasmeSquared(Corpus):
    """CAS(ME)2, micro-expressions in long videos."""

    name = "casme_squared"
    title = "CAS(ME)2"
    licence = "the Institute of Psychology, Chinese Academy of Sciences (Qu et al., IEEE TAC 2018)"
    tree = """
CASME_squared/
  CAS(ME)^2code_final.xlsx    (worksheets CASFEcode_final, naming rule1, naming rule2)
  rawpic/s15/15_0101disgustingteeth/img001.jpg
"""
    fps = 30.0
    schemes = ("3", "4")
    published = PublishedCounts(57)
    sheet = Sheet(
        ("CAS(ME)*code_final*", "code_final"),
        {
            name: (name,)
            for name in (
                *("subject", "clip", "onset", "apex", "offset", "aus", "emotion"),
                *("type", "felt"),
            )
        },
        header=False,
    )
    trees = ("rawpic",)
    emotions = {name: name for name in ("positive", "negative", "surprise", "others")}

    def of_kind(self, kind: str) -> CasmeSquared:
        """See the base."""
        corpus = type(self)(self.root)
        corpus.coded_kind = kind
        return corpus

    def video_of(self, path: str) -> tuple[str, str] | None:
        """Subject "s15", video "15_101disgustingteeth" of "rawpic/s15/15_101disgustingteeth"."""
        # Paths come in canonical spelling: lower case, numbers without leading zeros.
        found = re.fullmatch(r"(?:.*/)?s?(\d+)/(\1_\d+.*)", path)
        return (f"s{found[1]}", found[2]) if found else None

    def rows(self, path: Path) -> list[SheetRow]:
        """The rows of one kind; also reads the two worksheets with naming rules."""
        rules = {rule: read_cells(path, rule) for rule in ("naming rule1", "naming rule2")}
        for (rule, lines), width in zip(rules.items(), (3, 2), strict=True):
            if any(len(line) < width for line in lines):
                raise UserError(f"{path}: worksheet {rule!r} has no {width} columns; copy it again")
        # The sheet says "subject 1, film anger1", the folders "s15/15_0101…": a worksheet each
        # translates people and films.
        # Rule 1: subject in the sheet ("1") -> number in folder names ("15").
        self._people = {
            subject_key(as_text(line[2])): re.sub(r"\D", "", as_text(line[0]))
            for line in rules["naming rule1"]
        }
        # Rule 2: film in the sheet ("anger1") -> its four-digit code in folder names.
        # A number in a spreadsheet has lost the leading zeros of its code.
        self._films = {
            as_text(line[1]).casefold(): as_text(line[0]).zfill(4) for line in rules["naming rule2"]
        }
        # The sheets write "micro-expression".
        return [r for r in super().rows(path) if r["type"].lower().startswith(self.coded_kind)]

    def identify(self, row: SheetRow) -> Identity:
        """Subject "s15", clip "s15_anger1_1": film, then the number of the expression in it."""
        number, clip = self._people.get(subject_key(row["subject"])), clip_name(row["clip"])
        film = clip.split("_")[0].casefold()
        if not number or film not in self._films:
            raise UserError(
                f"subject {row['subject']!r}, clip {row['clip']!r}: not in the naming rules"
            )
        # Here 0 is no first frame but "before the video was cut", unlike in the other sheets.
        if row["onset"] == "0":
            raise UserError(f"clip {row['clip']!r} of subject {number}: onset 0, before the video")
        video = f"{number}_{self._films[film]}*"
        return Identity(f"s{number}", f"s{number}_{clip}", (f"s{number}/{video}", video))
