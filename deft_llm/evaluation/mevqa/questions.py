"""ME-VQA's files: questions are read and told apart, answers are handed in.

The task of MEGC 2025 (Fan et al., arXiv 2506.15298), the free descriptions of 2026, and the
questions of 2026 about long videos. Published files are JSON lines. Training rows have id, dataset,
image_id, subject, filename, question, answer; test rows have video_id, video, question, and an
empty answer; the submission is the test file with the answers filled in.

Which words ask for what stands in ``eval/benchmarks/mevqa.yaml``, for everyone to edit. No file of
the long videos was at hand: their forms are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.files import numbered_lines, write_lines

OTHER: Literal["other"] = "other"
Kind = Literal[
    "coarse",
    "fine",
    "aus",
    "au_yes_no",
    "side",
    "combined",
    "description",
    "count_micro",
    "count_macro",
    "micro_or_macro",
    "other",
]
LONG: frozenset[str] = frozenset({"count_micro", "count_macro", "micro_or_macro"})
"""Kinds that ask about a long video."""
FREE: frozenset[str] = frozenset({"combined", "description", OTHER})
"""Kinds that are answered in sentences."""
COARSE: tuple[str, ...] = facs.THREE_CLASSES
FINE: dict[str, tuple[str, ...]] = {
    "casme2": ("disgust", "happiness", "repression", "surprise"),
    "samm": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "casme3": ("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
}
"""Pinned label sets; SMIC has coarse classes alone."""
DATASETS: tuple[str, ...] = (*FINE, "smic")
UNNAMED = "unnamed"
"""Stands for the dataset of rows that name none: they make one table, and a subject is one."""
# The task's own wording where it differs from the FACS manual.
_TASK_NAMES = {
    43: "eye closure",
    38: "nostril dilater",
    39: "nostril compress",
    56: "tilt right",
    61: "eyes left",
    62: "eyes right",
}
AU_NAMES: dict[int, str] = {n: _TASK_NAMES.get(n, au.name) for n, au in facs.ACTION_UNITS.items()}
AU_NUMBERS = {name: n for n, name in AU_NAMES.items()}
_FILE_NAME = re.compile(r"[^\\/.\x00-\x1f][^\\/\x00-\x1f]{,99}")


class QuestionForm(Settings):
    """One wording of a question.

    Attributes:
        pattern: Regular expression that matches the whole question, in lower case with single
            spaces; its group ``au`` is the name of an action unit.
        kind: What is asked.
    """

    pattern: str
    kind: Kind

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from None
        return pattern


@dataclass(frozen=True)
class VqaQuestion:
    """One row.

    Attributes:
        name: Row id, unique in the file.
        clip: The clip it asks about.
        dataset: One of ``DATASETS``, another, or ``UNNAMED``.
        kind: What is asked.
        au: FACS number in the question; None for other kinds.
        question: As worded.
        answer: The reference; "" in a test file.
        row: The row as read.
    """

    name: str
    clip: str
    dataset: str
    kind: Kind
    au: int | None
    question: str
    answer: str
    row: Mapping[str, Any]

    @property
    def subject(self) -> str:
        """Dataset and subject; the clip where no subject is given, so that each stands alone."""
        return f"{self.dataset}/{self.row.get('subject') or self.clip}"

    @property
    def words(self) -> str:
        """The question, in lower case with single spaces: case and spacing carry nothing."""
        return " ".join(self.question.lower().split())


@dataclass(frozen=True)
class QuestionFile:
    """A file of questions.

    Attributes:
        questions: Those that can be used.
        problems: Rows that cannot, each with file, line and field.
    """

    questions: tuple[VqaQuestion, ...]
    problems: tuple[str, ...]

    @property
    def unknown(self) -> dict[str, int]:
        """Questions of no known form -> how often each is asked."""
        asked = [q.question for q in self.questions if q.kind == OTHER]
        return {words: asked.count(words) for words in dict.fromkeys(asked)}

    @property
    def unnamed(self) -> int:
        """Number of questions of fine classes that name no dataset, and so no labels."""
        return sum(q.kind == "fine" and q.dataset == UNNAMED for q in self.questions)


def read_questions(path: Path, forms: Sequence[QuestionForm]) -> QuestionFile:
    """Read a file of the task, training or test.

    A row that cannot be used is left out and listed; a question of no known form is kept as
    "other".

    Args:
        path: JSON lines, or one JSON array; with a byte order mark or without.
        forms: The known wordings; the first that fits is taken.

    Raises:
        UserError: If the file is missing, or no row can be used.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the file of questions as questions=….jsonl")
    questions: dict[str, VqaQuestion] = {}
    problems: list[str] = []
    for number, row in numbered_lines(path, problems):
        where = f"{path}, line {number}"
        try:
            question = _question(row, where, forms)
            if question.name in questions:
                raise UserError(f"{where}: {question.name!r} is there twice; the first is used")
        except UserError as error:
            problems.append(str(error))
            continue
        questions[question.name] = question
    if not questions:
        raise UserError(problems[0] if problems else f"{path}: empty; expected questions")
    return QuestionFile(tuple(questions.values()), tuple(problems))


def _question(row: Mapping[str, Any], where: str, forms: Sequence[QuestionForm]) -> VqaQuestion:
    fields = ("video_id", "video") if "video_id" in row else ("id", "image_id")
    for field in (*fields, "question"):
        if not isinstance(row.get(field), str):
            raise UserError(f"{where}, {field}: got {row.get(field)!r}, expected text")
    name, clip = (row[field] for field in fields)
    # Rows of the task without a dataset field carry it as the first part of their id; in files of
    # other people that is a number, or a subject.
    first = name.split("_", 1)[0].lower()
    dataset = str(row.get("dataset") or (first if first in DATASETS else UNNAMED)).lower()
    # Tables are files called like their dataset, and a question file may be anybody's.
    if not _FILE_NAME.fullmatch(dataset):
        raise UserError(f"{where}, dataset: got {dataset!r}, expected a name, such as samm")
    asked = VqaQuestion(
        *(name, clip, dataset, OTHER, None, row["question"], str(row.get("answer") or "")), row
    )
    for form in forms:
        match = re.fullmatch(form.pattern, asked.words)
        if match is None:
            continue
        au = match.groupdict().get("au")
        if au is not None and au not in AU_NUMBERS:
            return asked  # an action unit that nobody knows cannot be answered by number
        number = None if au is None else AU_NUMBERS[au]
        return VqaQuestion(
            *(name, clip, dataset, form.kind, number, asked.question, asked.answer), row
        )
    return asked


def submission(path: Path, questions: Iterable[VqaQuestion], answers: Mapping[str, str]) -> None:
    """Write the submission file: every row as given, with its answer.

    Raises:
        UserError: If a question has no answer; then nothing is written.
    """
    # All rows first: a missing answer must not leave half a file.
    lines = []
    for question in questions:
        text = answer_to(question, answers)
        row = {name: value for name, value in question.row.items() if name != "answer"}
        lines.append(json.dumps({**row, "answer": text}, ensure_ascii=False))
    write_lines(path, lines)


def answer_to(question: VqaQuestion, answers: Mapping[str, str]) -> str:
    """The answer to a question.

    Raises:
        UserError: If it has none.
    """
    text = answers.get(question.name, "").strip()
    if not text:
        raise UserError(f"question {question.name}: no answer; expected a text for each question")
    return text
