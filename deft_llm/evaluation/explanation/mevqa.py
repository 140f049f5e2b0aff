"""ME-VQA, the question task of MEGC 2025 (Fan et al., arXiv 2506.15298): read, answer, score.

Published files are JSON lines. Training rows have id, dataset, image_id, subject, filename,
question, answer; test rows have video_id, video, question, and an empty answer; the submission is
the test file with the answers filled in. The label sets of the scores are fixed: an answer outside
them counts as an error of its true class and does not add a class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deft_llm import facs
from deft_llm.answers import NOTHING, Facts
from deft_llm.errors import UserError
from deft_llm.files import read_lines, write_lines
from deft_llm.metrics.classification import accuracy, confusion_matrix, uar, uf1
from deft_llm.metrics.text import bleu, rouge1

Kind = Literal["coarse", "fine", "aus", "au_yes_no", "side", "combined"]
COARSE: tuple[str, ...] = facs.THREE_CLASSES
FINE: dict[str, tuple[str, ...]] = {
    "casme2": ("disgust", "happiness", "repression", "surprise"),
    "samm": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "casme3": ("anger", "disgust", "fear", "happiness", "sadness", "surprise"),
}
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
_NUMBERS = {name: n for n, name in AU_NAMES.items()}
_FORMS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("coarse", re.compile(r"what is the coarse expression class\?")),
    ("fine", re.compile(r"what is the fine-grained expression class\?")),
    ("aus", re.compile(r"what (?:is|are) the action units?\?")),
    ("au_yes_no", re.compile(r"is the action unit (?P<au>.+) shown on the face\?")),
    ("side", re.compile(r"is the action unit (?P<au>.+) located on the left or right face\?")),
    ("combined", re.compile(r"what (?:is|are) the action units? present, and based on .+\?")),
)


@dataclass(frozen=True)
class VqaQuestion:
    """One row.

    Attributes:
        name: Row id, unique in the file.
        clip: The clip it asks about.
        dataset: "casme2", "samm", "casme3".
        kind: Question type.
        au: FACS number in the question; None for other types.
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


def read_questions(path: Path) -> list[VqaQuestion]:
    """Read a file of the task, training or test.

    Raises:
        UserError: If the file or a field is missing; names the file, line and field.
    """
    questions: list[VqaQuestion] = []
    seen: set[str] = set()
    for number, row in enumerate(read_lines(path), 1):
        where = f"{path}, line {number}"
        test = "video_id" in row
        fields = ("video_id", "video") if test else ("id", "image_id")
        for field in (*fields, "question"):
            if not isinstance(row.get(field), str):
                raise UserError(f"{where}, {field}: got {row.get(field)!r}, expected text")
        name = row[fields[0]]
        if name in seen:
            raise UserError(f"{where}, {fields[0]}: {name!r} is there twice")
        seen.add(name)
        # Rows without a dataset field carry it as the first part of their id.
        dataset = str(row.get("dataset") or name.split("_", 1)[0])
        if dataset not in FINE:
            known = ", ".join(FINE)
            raise UserError(f"{where}, dataset: got {dataset!r}, expected one of {known}")
        kind, au = _kind(row["question"], where)
        questions.append(
            VqaQuestion(
                *(name, row[fields[1]], dataset, kind, au, row["question"]),
                str(row.get("answer") or ""),
                row,
            )
        )
    return questions


def _kind(question: str, where: str) -> tuple[Kind, int | None]:
    # The forms are matched on the whole text, so case and spacing must not matter.
    text = " ".join(question.lower().split())
    for kind, form in _FORMS:
        match = form.fullmatch(text)
        if match is None:
            continue
        name = match.groupdict().get("au")
        if name is not None and name not in _NUMBERS:
            raise UserError(f"{where}, question: {name!r} is no action unit that is known")
        return kind, None if name is None else _NUMBERS[name]
    raise UserError(f"{where}, question: {question!r} is none of the task's forms")


# ------------------------------------------------------------------------------ answering


def answer(question: VqaQuestion, facts: Facts) -> str:
    """The answer in the task's own wording.

    Args:
        question: A question of the task.
        facts: Known or predicted facts about its clip.
    """
    aus = ", ".join(AU_NAMES[n] for n in _present(facts)) or NOTHING
    if question.kind == "coarse":
        return facts.coarse
    if question.kind == "fine":
        return facts.emotion or NOTHING
    if question.kind == "aus":
        return aus
    if question.kind == "au_yes_no":
        return "yes" if question.au in _present(facts) else "no"
    if question.kind == "side":
        codes = {code[0] for code in facts.aus if facs.au_number(code) == question.au}
        # The question leaves no third answer: both sides, or none on record, are answered "left".
        return "right" if codes == {"R"} else "left"
    # Singular and plural matter: BLEU and ROUGE compare the wording.
    verb, many = ("are", "s") if len(_present(facts)) > 1 else ("is", "")
    return (
        f"The action unit{many} present {verb}: {aus}. Therefore, the fine-grained expression "
        f"class is {facts.emotion or NOTHING}, and the coarse expression class is {facts.coarse}."
    )


def _present(facts: Facts) -> list[int]:
    return sorted({facs.au_number(code) for code in facts.aus})


def named_aus(text: str) -> tuple[int, ...]:
    """The action units that an answer names, by the task's names."""
    # Whole words only, so that a name is not found inside a longer word.
    found = [
        n for name, n in _NUMBERS.items() if re.search(rf"\b{re.escape(name)}\b", text.lower())
    ]
    return tuple(sorted(found))


def submission(path: Path, questions: Iterable[VqaQuestion], answers: Mapping[str, str]) -> None:
    """Write the submission file: every row as given, with its answer.

    Raises:
        UserError: If a question has no answer; then nothing is written.
    """
    # All rows first: a missing answer must not leave half a file.
    lines = []
    for question in questions:
        text = _answer_to(question, answers)
        row = {name: value for name, value in question.row.items() if name != "answer"}
        lines.append(json.dumps({**row, "answer": text}, ensure_ascii=False))
    write_lines(path, lines)


def _answer_to(question: VqaQuestion, answers: Mapping[str, str]) -> str:
    text = answers.get(question.name, "").strip()
    if not text:
        raise UserError(f"question {question.name}: no answer; expected a text for each question")
    return text


# -------------------------------------------------------------------------------- scoring


def read_label(text: str, labels: Sequence[str]) -> str | None:
    """The label an answer names; None if it names none or several."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    # An answer that lists several labels must not score by covering all of them.
    named = [label for label in labels if label in words]
    return named[0] if len(named) == 1 else None


def vqa_scores(questions: Sequence[VqaQuestion], answers: Mapping[str, str]) -> dict[str, float]:
    """The scores of the task, 0..1.

    Args:
        questions: With reference answers, all from one dataset.
        answers: Question name -> the model's text.

    Returns:
        ``coarse_uf1``, ``coarse_uar``, ``fine_uf1``, ``fine_uar`` over the fixed label sets,
        ``yes_no_accuracy``, ``bleu`` and ``rouge1`` over all answers.

    Raises:
        UserError: If answers are missing, a reference is outside the label set, questions come
            from several datasets, or the text scores are not installed.
    """
    datasets = {question.dataset for question in questions}
    if len(datasets) != 1:
        raise UserError(f"questions of {sorted(datasets)}; score one dataset at a time")
    texts = [_answer_to(question, answers) for question in questions]
    values = {}
    for kind, labels in (("coarse", COARSE), ("fine", FINE[datasets.pop()])):
        matrix = _labels(kind, labels, questions, texts)
        values[f"{kind}_uf1"], values[f"{kind}_uar"] = uf1(matrix), uar(matrix)
    values["yes_no_accuracy"] = accuracy(_labels("au_yes_no", ("no", "yes"), questions, texts))
    references = [question.answer for question in questions]
    return {**values, "bleu": bleu(texts, references), "rouge1": rouge1(texts, references)}


def _labels(
    kind: str, labels: Sequence[str], questions: Sequence[VqaQuestion], texts: Sequence[str]
) -> Any:
    truth, predicted = [], []
    for question, text in zip(questions, texts, strict=True):
        if question.kind != kind:
            continue
        if question.answer not in labels:
            raise UserError(
                f"question {question.name}: reference {question.answer!r} is none of "
                f"{', '.join(labels)}"
            )
        truth.append(question.answer)
        predicted.append(read_label(text, labels))
    return confusion_matrix(truth, predicted, labels)
