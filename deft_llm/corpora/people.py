"""Names of people and folders, however they are spelled.

One person must not become two because one sheet says "1" and another "sub01", and two must not
become one; a name that fits no known spelling is refused.
"""

from __future__ import annotations

import re
import unicodedata

from deft_llm.errors import UserError

# Words that people put before a subject's number. Any other word might tell two people apart.
_NUMBERED = re.compile(
    r"(?:subjects?|subj|sub|sp|s|participants?)?[\s._#:-]*(?:number|nr|no)?[\s._#:-]*"
    r"(\d+)(?:[.,]0{1,2})?"
)
_VIDEO = re.compile(r"\.(avi|mp4|mov|mkv|wmv|mpe?g)$", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?")


def canonical(name: str) -> str:
    """A name without what people vary: case, width, leading zeros, and the signs between words."""
    text = unicodedata.normalize("NFKC", name).strip().casefold()
    text = re.sub(r"\d+", lambda digits: str(int(digits[0])), text)
    return re.sub(r"[\s_-]+", "_", text)


def subject_number(text: str) -> int:
    """The number of a subject: 1 of "1", "1.0", "01", "sub1", "Sub 01", "S01" and "spNO.1".

    Raises:
        UserError: If the text is none of these.
    """
    found = _NUMBERED.fullmatch(text.casefold())
    if not found:
        raise UserError(f"subject {text!r} is no number; expected one like 1, 01 or sub01")
    return int(found[1])


def subject_key(text: str) -> str:
    """The number of a subject, or its name in one spelling where subjects have names."""
    try:
        return str(subject_number(text))
    except UserError:
        return canonical(text)


def clip_name(text: str) -> str:
    """The name of a clip from a cell that may hold its file or path ("sub01/EP02_01f.avi")."""
    return _VIDEO.sub("", re.split(r"[\\/]", text)[-1]).strip()


def is_video(name: str) -> bool:
    """Whether a file is a film, by its name; hidden twins of files are none."""
    return bool(_VIDEO.search(name)) and not name.startswith(".")


def is_date(text: str) -> bool:
    """Whether a cell is a date: what a spreadsheet makes of "8-4" and "12-1"."""
    return bool(_DATE.fullmatch(text))
