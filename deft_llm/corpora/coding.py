"""From the cells of one row to an annotation, with rules for mending implausible cells.

The rules are our own; the report lists each use:

- apex missing, or outside onset..offset: the middle of both;
- offset missing, 0 or before the onset: the apex, so that the clip has no offset phase;
- onset missing, or apex and offset both missing: the row is dropped;
- onset before the first frame: the first frame;
- "R12 or R14": the first; ``ref(...)``: omitted, because it did not move; "4+?": AU4; an unreadable
  code: no AUs, since a unit that is left out would be learned as one that is absent;
- emotion in another spelling: accepted if only case differs, or as the adjective or the Chinese
  word of the same emotion; otherwise the row is dropped;
- a date, which a spreadsheet makes of "8-4": a frame number if the date is one, else not coded; a
  row whose clip or subject became a date is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from deft_llm import facs
from deft_llm.au_notation import parse_aus
from deft_llm.clip import Interval
from deft_llm.corpora.people import is_date
from deft_llm.corpora.report import Action, Report
from deft_llm.corpora.sheets import FRAME_FIELDS, SheetRow, frame_number, number_of_date
from deft_llm.errors import UserError

#: What people write for an emotion.
_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "anger": ("angry", "愤怒", "生气"),
    "contempt": ("contemptuous", "轻蔑", "蔑视"),
    "disgust": ("disgusted", "disgusting", "厌恶"),
    "fear": ("fearful", "afraid", "恐惧", "害怕"),
    "happiness": ("happy", "高兴", "快乐"),
    "sadness": ("sad", "悲伤", "难过"),
    "surprise": ("surprised", "惊讶", "吃惊"),
    "repression": ("repressed", "压抑"),
    "others": ("other", "其他", "其它"),
}
#: What people write where no AU is coded, beside what ``au_notation.parse_aus`` knows.
NOTHING_CODED = frozenset({"none", "n/a", "na", "null", "nil", "无"})
_WORDS = {word: emotion for emotion, words in _OTHER_WORDS.items() for word in (emotion, *words)}


@dataclass(frozen=True)
class RowPlace:
    """A row of a sheet, for remarks in the report."""

    report: Report
    file: str
    row: int
    clip: str

    def say(self, what: str, why: str, action: Action) -> None:
        """Add a remark about the row to the report."""
        self.report.add(self.file, self.row, f"{self.clip}: {what}", why, action)


def read_interval(row: SheetRow, place: RowPlace, first_frame: int) -> Interval | None:
    """Onset, apex and offset in the sheet's frame numbers; None if the row is dropped."""
    numbers: dict[str, int | None] = {}
    for name in FRAME_FIELDS:
        try:
            numbers[name] = frame_number(row[name])
        except ValueError:
            number = numbers[name] = number_of_date(row[name])
            why = "no frame number: taken as not coded"
            if number is not None:
                why = f"a number that the spreadsheet shows as a date: {number}"
            place.say(f"{name} {row[name]!r}", why, "mended")
    onset = numbers["onset"]
    if onset is None:
        place.say(f"onset {row['onset']!r}", "a clip without onset cannot be placed", "dropped")
        return None
    if onset < first_frame:
        place.say(f"onset {onset}", f"frames are numbered from {first_frame}: that one", "mended")
        onset = first_frame
    return _mend_interval(onset, numbers["apex"], numbers["offset"], place)


def _mend_interval(
    onset: int, apex: int | None, offset: int | None, place: RowPlace
) -> Interval | None:
    shown = f"onset {onset}, apex {apex or '/'}, offset {offset or '/'}"
    if not apex:
        apex = None  # some sheets write 0 for "not coded"
    if not offset or offset < onset:
        if apex is None or apex < onset:
            place.say(shown, "neither apex nor offset lies after the onset", "dropped")
            return None
        place.say(shown, f"no offset: the apex {apex}, no falling phase", "mended")
        return Interval(onset, apex, apex)
    middle = (onset + offset) // 2
    if apex is None:
        place.say(shown, f"no apex: the middle, {middle}", "mended")
        return Interval(onset, middle, offset)
    if not onset <= apex <= offset:
        place.say(shown, f"apex outside onset..offset: the middle, {middle}", "mended")
        return Interval(onset, middle, offset)
    return Interval(onset, apex, offset)


def read_aus(text: str, place: RowPlace) -> tuple[str, ...]:
    """AU codes with side, in order of number; ``au_notation.parse_aus`` defines the grammar."""
    if is_date(text):
        why = "left empty (the spreadsheet made a date of the code; format the column as text)"
        place.say(f"AUs {text!r}", why, "mended")
        return ()
    # "4+?": something else moved too, which the coder could not name.
    named = "+".join(part for part in text.split("+") if not part.strip() or part.strip("? "))
    if named != text:
        place.say(f"AUs {text!r}", "one that the coder could not name: left out", "mended")
    try:
        aus = parse_aus(named)
    except UserError as error:
        place.say(f"AUs {text!r}", f"left empty ({error})", "mended")
        return ()
    chosen: list[str] = []
    # Members of one "or" group share a number > 0; only the first of a group is used.
    groups: set[int] = set()
    for au in aus:
        if au.reference:
            place.say(f"AUs {text!r}", f"AU{au.number} was there before the onset", "mended")
        elif au.alternative == 0:
            chosen.append(au.code)
        elif au.alternative not in groups:
            groups.add(au.alternative)
            chosen.append(au.code)
            first = facs.au_short(au.code)
            place.say(f"AUs {text!r}", f"coders left it open: the first, {first}", "mended")
    return facs.sort_aus(chosen)


def au_code(text: str) -> str:
    """A coding in the notation of ``au_notation.parse_aus``.

    "AU4, AU7", "AU4 & 7", "4 7" and "AU4AU7" -> "4+7"; "4L" -> "L4"; "4.0" -> "4"; "N/A" -> "".
    """
    if text.casefold() in NOTHING_CODED:
        return ""
    text = re.sub(r"^(\d+)[.,]0$", r"\1", text)
    text = re.sub(r"(?<=\d)\s*AU(?=\s*[LR]?\d)", "+", text, flags=re.IGNORECASE)
    text = re.sub(r"\bAU\s*(?=[LR]?\d)", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\s*(?:[,;、&]|\band\b)\s*", "+", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d)\s+(?=[LRT]?\d)", "+", text, flags=re.IGNORECASE)
    # Intensities are A to E, so that a side behind the number can be nothing else.
    text = re.sub(r"(?<![\w/])(\d+)([LR])\b", r"\2\1", text, flags=re.IGNORECASE)
    return text.strip("+ ")


def read_emotion(text: str, emotions: Mapping[str, str], place: RowPlace) -> str:
    """Translate the corpus's word for an emotion.

    Raises:
        UserError: If the corpus has no such word; the message suggests the nearest one.
    """
    if text in emotions:
        return emotions[text]
    same = [word for word in emotions if word.casefold() == text.casefold()]
    if same:
        place.say(f"emotion {text!r}", f"read as {same[0]!r}", "mended")
        return emotions[same[0]]
    meant = _WORDS.get(text.casefold())
    if meant is not None and meant in emotions.values():
        place.say(f"emotion {text!r}", f"read as {meant!r}", "mended")
        return meant
    near = get_close_matches(text, emotions, n=1)
    hint = f", the nearest is {near[0]!r}" if near else ""
    raise UserError(f"emotion {text!r} is none of {', '.join(emotions)}{hint}")
