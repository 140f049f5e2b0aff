"""``train.jsonl`` of a data folder, read in one way by training and validation.

A line holds one conversation about one clip, as ``conversations`` (LLaVA, ShareGPT) or ``messages``
(chat models), with the keys and roles of either. Content may be text or a list of parts. The clip
stands in the first question, as ``<clip>`` or as a part that is no text; ``<image>`` and
``<video>``, which other data sets write, mean it too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft_llm.data import checks
from deft_llm.data.checks import FieldProblems, Row
from deft_llm.errors import UserError
from deft_llm.files import numbered_lines

CONVERSATIONS = "train.jsonl"
FORMS = ("conversations", "messages")
MARK = "<clip>"
ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model"), "assistant"),
    "system": "system",
}
Message = dict[str, str]
_SPEAKER, _CONTENT = ("from", "role"), ("value", "content")
_MARKS = re.compile(r"\n*<(?:clip|image|video)>\n*")  # LLaVA sets them on lines of their own
# Tokens that steer a chat model, and the placeholders of the experts: in text they would be read as
# what they stand for.
_CONTROL = re.compile(r"<\|[^|<>\s]+\|>|</?(?:structure|texture|motion)(?:_token)?>")


@dataclass(frozen=True)
class Conversation:
    """One conversation.

    Attributes:
        clip: The clip that it is about.
        mirrored: Whether it is about the mirror image of the clip.
        messages: Chat messages with ``role`` and ``content``; the first question holds ``MARK``.
    """

    clip: str
    mirrored: bool
    messages: list[Message]


def read_conversations(path: Path, clips: Collection[str]) -> Iterator[Conversation]:
    """The conversations of a file.

    Args:
        path: A ``train.jsonl``.
        clips: The clips that they may be about.

    Raises:
        UserError: If the file is missing or empty, or a line is wrong; names line and field.
    """
    number = 0
    for number, row in numbered_lines(path):
        for field, what in conversation_problems(row, clips):
            raise UserError(f"{path}, line {number}, {field}: {what}")
        yield Conversation(row["clip"], row.get("mirrored", False), messages_of(row))
    if not number:
        raise UserError(f"{path}: no conversations; expected one a line")


def messages_of(row: Row) -> list[Message]:
    """The chat messages of a row without problems."""
    turns = next(row[form] for form in FORMS if form in row)
    return [{"role": _role(turn) or "", "content": _text(_said(turn)[1])} for turn in turns]


def conversation_problems(row: Row, clips: Collection[str] | None) -> FieldProblems:
    """All problems of one line.

    Args:
        row: The line.
        clips: The clips that it may be about, one of them; None for any, one or several.
    """
    yield from checks.fields(row, {"clip": checks.text}, _OPTIONAL)
    # A row about several clips lists them in "clips"; any other has one.
    about = row.get("clips", [row.get("clip")])
    count = len(about) if isinstance(about, list) else 1
    if clips is not None:
        if isinstance(row.get("clip"), str) and row["clip"] not in clips:
            yield "clip", f"{checks.shown(row['clip'])} is not in clips.jsonl"
        if count != 1:
            yield "clips", f"got {count} clips, expected one; extra.jsonl holds several"
            return
    forms = [form for form in FORMS if form in row]
    if len(forms) != 1:
        got = " and ".join(forms) or "neither"
        yield forms[0] if forms else FORMS[0], f"got {got}, expected one of {' and '.join(FORMS)}"
        return
    yield from _turns(row[forms[0]], forms[0], count)
    yield from _stated(row)


def _listed(value: Any, field: str) -> FieldProblems:
    if not isinstance(value, list):
        yield field, f"got {checks.shown(value)}, expected a list"


def _identity(value: Any, field: str) -> FieldProblems:
    if not checks.is_whole(value):  # some data sets number their conversations
        yield from checks.text(value, field)


_OPTIONAL: dict[str, checks.Check] = {
    # A clip that shows no face has no subject, in the row that says so.
    **{"id": _identity, "subject": checks.any_text, "mirrored": checks.flag},
    **{"evidence": checks.evidence, "stated": _listed, "subjects": _listed},
    **dict.fromkeys(("clips", "kinds"), checks.texts),
    **{"dataset": checks.any_text, "agreement": checks.text, "score": checks.number},
    **dict.fromkeys(FORMS, _listed),
}


def _stated(row: Row) -> FieldProblems:
    """Places of ``evidence`` that an answer states."""
    rows, stated = row.get("evidence", []), row.get("stated", [])
    count = len(rows) if isinstance(rows, list) else 0
    for k, places in enumerate(stated if isinstance(stated, list) else ()):
        for place in places if isinstance(places, list) else (places,):
            if not checks.is_whole(place) or place >= count:
                got = checks.shown(place)
                yield f"stated[{k}]", f"got {got}, expected a place in evidence ({count})"


def _turns(turns: Any, form: str, clips: int) -> FieldProblems:
    if not isinstance(turns, list):
        return  # said already
    first = bool(turns) and isinstance(turns[0], dict) and _role(turns[0]) == "system"
    for k, turn in enumerate(turns):
        field = f"{form}[{k}]"
        if not isinstance(turn, dict):
            yield field, f"got {checks.shown(turn)}, expected who speaks and what is said"
            continue
        # A system message stands before the turns and has the place -1.
        place = k - first
        wanted = "system" if place < 0 else ("user", "assistant")[place % 2]
        # The marks of all clips stand in the first question.
        yield from _turn(turn, field, wanted, clips if place == 0 else 0)
    count = len(turns) - first
    if not count or count % 2:
        yield form, f"got {count} turns, expected pairs of question and answer"


def _turn(turn: Row, field: str, wanted: str, marks: int) -> FieldProblems:
    for names in (_SPEAKER, _CONTENT):
        given = [name for name in names if name in turn]
        if len(given) != 1:
            got, known = " and ".join(given) or "neither", " and ".join(names)
            yield f"{field}.{(given or names)[0]}", f"got {got}, expected one of {known}"
            return
    who, (what, content) = next(name for name in _SPEAKER if name in turn), _said(turn)
    if _role(turn) != wanted:
        known = " or ".join(repr(name) for name, role in ROLES.items() if role == wanted)
        yield f"{field}.{who}", f"got {checks.shown(turn[who])}, expected {known}"
    problems = list(_content(content, f"{field}.{what}"))
    yield from problems
    if problems:
        return
    text = _text(content)
    # A question that is nothing but the clip asks nothing.
    if not text.replace(MARK, "").strip():
        yield f"{field}.{what}", f"got {checks.shown(content)}, expected text"
    if text.count(MARK) != marks:
        yield f"{field}.{what}", f"{MARK} is there {text.count(MARK)} times, not {marks}"
    if found := _CONTROL.search(text):
        yield f"{field}.{what}", f"holds {found[0]!r}, which is a token of the model; leave it out"


def _content(content: Any, field: str) -> FieldProblems:
    """Text, or parts with at most text in them."""
    if not isinstance(content, list):
        yield from checks.text(content, field)
        return
    if not content:
        yield field, "got no parts, expected text"
    for k, part in enumerate(content):
        place = f"{field}[{k}]"
        if not isinstance(part, dict):
            yield place, f"got {checks.shown(part)}, expected a part with type"
        elif _is_text(part):
            yield from checks.any_text(part.get("text"), f"{place}.text")
        elif part.get("type") not in _MEDIA:
            kinds = ", ".join(("text", *_MEDIA))
            yield f"{place}.type", f"got {checks.shown(part.get('type'))}, expected one of {kinds}"


_MEDIA = ("clip", "video", "image", "video_url", "image_url")


def _is_text(part: Row) -> bool:
    return part.get("type", "text") == "text"


def _role(turn: Row) -> str | None:
    """The role of a turn in any spelling; None if it has none."""
    name = next((turn[name] for name in _SPEAKER if name in turn), None)
    return ROLES.get(name.casefold()) if isinstance(name, str) else None


def _said(turn: Row) -> tuple[str, Any]:
    """The key of a turn's content, and the content."""
    return next((name, turn[name]) for name in _CONTENT if name in turn)


def _text(content: str | Sequence[Row]) -> str:
    """The text of a turn, with ``MARK`` for the clip."""
    if not isinstance(content, str):
        content = "".join(part["text"] if _is_text(part) else MARK for part in content)
    return _MARKS.sub(MARK, content).strip()
