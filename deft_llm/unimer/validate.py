"""Validate a data folder: every problem is reported with file, line and field.

Training reads ``clips.jsonl`` and ``train.jsonl`` by the same checks (``data/clip_lines.py``,
``data/conversations.py``) and refuses a folder in which anything is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deft_llm.data.clip_lines import CLIPS, Shards, clip_lines, clip_problems, repeated
from deft_llm.data.conversations import CONVERSATIONS, conversation_problems
from deft_llm.errors import UserError
from deft_llm.files import numbered_lines


@dataclass(frozen=True)
class Problem:
    """One problem of a data folder.

    Attributes:
        file: Name of the file.
        line: From 1.
        field: For example "evidence[2].direction".
        what: What was found and what was expected.
    """

    file: str
    line: int
    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, {self.field}: {self.what}"


def validate_folder(folder: Path) -> Iterator[Problem]:
    """All problems of a data folder, in order.

    Raises:
        UserError: If ``clips.jsonl`` or ``train.jsonl`` is missing or empty, or a line is no JSON
            object.
    """
    clips: set[str] = set()
    shards = Shards()
    for number, row in clip_lines(folder):
        for field, what in (*clip_problems(row, folder, shards), *repeated(row, clips)):
            yield Problem(CLIPS, number, field, what)
    yield from _conversations(folder, CONVERSATIONS, clips)
    # DEFT-LLM's own recipe writes train.jsonl alone. Rows about a hidden face name a clip that was
    # left out, so the others may name any.
    for name in ("extra.jsonl", "messages.jsonl"):
        if (folder / name).is_file():
            yield from _conversations(folder, name, None)


def _conversations(folder: Path, name: str, clips: set[str] | None) -> Iterator[Problem]:
    number = 0
    for number, row in numbered_lines(folder / name):
        for field, what in conversation_problems(row, clips):
            yield Problem(name, number, field, what)
    if clips is not None and not number:
        raise UserError(f"{folder / name}: no conversations; expected one a line")


def require_valid(folder: Path) -> None:
    """Check that a data folder has no problem, before anything is trained on it.

    Raises:
        UserError: If it has; names file, line and field of the first.
    """
    for problem in validate_folder(folder):
        raise UserError(f"{folder}: {problem}; deft-llm instructions validate lists all problems")
