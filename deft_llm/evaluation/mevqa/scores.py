"""The scores of ME-VQA: pinned label sets, pooled counts, and texts by BLEU and ROUGE.

An answer outside a label set counts as an error of its true class and does not add a class. A
reference outside its set (one clip of a rare emotion) is in no score of classes, as in the task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deft_llm.answers import read_label
from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.questions import COARSE, FINE, FREE, VqaQuestion, answer_to
from deft_llm.evaluation.mevqa.wording import named_aus, read_count, read_size
from deft_llm.metrics.classification import accuracy, uar, uf1
from deft_llm.metrics.subjects import ConfidenceInterval, bootstrap, subject_matrices
from deft_llm.metrics.text import bleu, rouge1

_SIZES = ("macro", "micro")
_COUNTS = ("count_micro", "count_macro")
_READERS: dict[str, Callable[[str], object]] = {
    "aus": lambda text: named_aus(text) or None,
    "au_yes_no": lambda text: read_label(text, ("no", "yes")),
    "side": lambda text: read_label(text, ("left", "right")),
    "count_micro": read_count,
    "count_macro": read_count,
    "micro_or_macro": read_size,
}


@dataclass(frozen=True)
class _Answered:
    """Questions of one kind with their answers."""

    questions: Sequence[VqaQuestion]
    texts: Sequence[str]

    @property
    def references(self) -> list[str]:
        return [question.answer for question in self.questions]

    def of(self, *kinds: str) -> _Answered:
        chosen = [i for i, q in enumerate(self.questions) if q.kind in kinds]
        return _Answered([self.questions[i] for i in chosen], [self.texts[i] for i in chosen])

    def matrices(
        self, labels: Sequence[str], read: Callable[[str], str | None]
    ) -> NDArray[np.int64] | None:
        """Confusion matrices (S, C, C + 1) of the subjects; None without a usable reference."""
        truth = [read(text) for text in self.references]
        rows = [i for i, label in enumerate(truth) if label in labels]
        if not rows:
            return None
        return subject_matrices(
            [self.questions[i].subject for i in rows],
            [str(truth[i]) for i in rows],
            [read(self.texts[i]) for i in rows],
            labels,
        )


def vqa_scores(questions: Sequence[VqaQuestion], answers: Mapping[str, str]) -> dict[str, float]:
    """The scores of the task, all 0..1 but the errors of counts.

    Args:
        questions: With reference answers, all from one dataset.
        answers: Question name -> the model's text.

    Returns:
        What the questions allow of ``coarse_uf1``, ``coarse_uar``, ``fine_uf1``, ``fine_uar``,
        ``yes_no_accuracy``, ``side_accuracy``, ``au_f1`` (of the named AUs, pooled),
        ``micro_or_macro_uf1`` and ``_uar``, ``count_micro_mae`` and ``_rmse``, the same of
        ``count_macro``, ``bleu`` (NaN without a reference of four words) and ``rouge1`` over all
        answers, the same of descriptions alone, and ``unread``: the share of answers to closed
        questions that name nothing, or too much.

    Raises:
        UserError: If answers are missing, questions come from several datasets, or the text scores
            are not installed.
    """
    answered = _answered(questions, answers)
    values: dict[str, float] = {}
    for name, matrices in _class_matrices(answered).items():
        pooled = matrices.sum(0)
        values[f"{name}_uf1"], values[f"{name}_uar"] = uf1(pooled), uar(pooled)
    for kind, name, labels in (
        ("au_yes_no", "yes_no", ("no", "yes")),
        ("side", "side", ("left", "right")),
    ):
        found = answered.of(kind).matrices(labels, partial(read_label, labels=labels))
        if found is not None:
            values[f"{name}_accuracy"] = accuracy(found.sum(0))
    if (sets := answered.of("aus")).questions:
        values["au_f1"] = _set_f1(sets)
    for kind in _COUNTS:
        values |= _count_errors(kind, answered.of(kind))
    texts, references = answered.texts, answered.references
    values |= {"bleu": bleu(texts, references), "rouge1": rouge1(texts, references)}
    if (said := answered.of("description")).questions:
        values["description_bleu"] = bleu(said.texts, said.references)
        values["description_rouge1"] = rouge1(said.texts, said.references)
    return {**values, "unread": unread(questions, answers)}


def confusions(
    questions: Sequence[VqaQuestion], answers: Mapping[str, str]
) -> dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]:
    """Kind of class question -> its labels, and a confusion matrix (S, C, C + 1) by subject.

    Args:
        questions: As for :func:`vqa_scores`.
        answers: The same.
    """
    return _confusions(_answered(questions, answers))


def intervals(
    questions: Sequence[VqaQuestion], answers: Mapping[str, str]
) -> dict[str, ConfidenceInterval]:
    """UF1 of each kind of class question with its 95 % interval over subjects.

    Args:
        questions: As for :func:`vqa_scores`.
        answers: The same.
    """
    found = _class_matrices(_answered(questions, answers))
    return {f"{name}_uf1": bootstrap([matrices]) for name, matrices in found.items()}


def unread(questions: Sequence[VqaQuestion], answers: Mapping[str, str]) -> float:
    """Share of the answers to closed questions out of which nothing can be read; 0 without any."""
    closed = [q for q in questions if q.kind not in FREE]
    missed = [q for q in closed if _read(q, answer_to(q, answers)) is None]
    return len(missed) / len(closed) if closed else 0.0


def _read(question: VqaQuestion, text: str) -> object:
    if question.kind in _READERS:
        return _READERS[question.kind](text)
    labels = COARSE if question.kind == "coarse" else FINE.get(question.dataset, ())
    return read_label(text, labels)


def _answered(questions: Sequence[VqaQuestion], answers: Mapping[str, str]) -> _Answered:
    datasets = {question.dataset for question in questions}
    if len(datasets) != 1:
        raise UserError(f"questions of {sorted(datasets)}; score one dataset at a time")
    return _Answered(questions, [answer_to(question, answers) for question in questions])


def _class_matrices(answered: _Answered) -> dict[str, NDArray[np.int64]]:
    return {kind: matrices for kind, (_, matrices) in _confusions(answered).items()}


def _confusions(answered: _Answered) -> dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]:
    fine = FINE.get(answered.questions[0].dataset, ())
    asked: dict[str, tuple[tuple[str, ...], Callable[[str], str | None]]] = {
        "coarse": (COARSE, partial(read_label, labels=COARSE)),
        "fine": (fine, partial(read_label, labels=fine)),
        "micro_or_macro": (_SIZES, read_size),
    }
    found = {
        kind: (labels, answered.of(kind).matrices(labels, read))
        for kind, (labels, read) in asked.items()
    }
    return {kind: (labels, m) for kind, (labels, m) in found.items() if m is not None}


def _set_f1(answered: _Answered) -> float:
    """F1 of the named action units, from counts pooled over all answers."""
    hits = named = true = 0
    for reference, text in zip(answered.references, answered.texts, strict=True):
        wanted, found = set(named_aus(reference)), set(named_aus(text))
        hits, named, true = hits + len(wanted & found), named + len(found), true + len(wanted)
    return 2 * hits / max(named + true, 1)


def _count_errors(kind: str, answered: _Answered) -> dict[str, float]:
    """Mean absolute and root mean squared error; an answer without a number counts as 0."""
    counts = [
        (read_count(text) or 0) - wanted
        for text, reference in zip(answered.texts, answered.references, strict=True)
        if (wanted := read_count(reference)) is not None
    ]
    if not counts:
        return {}
    errors = np.array(counts, float)
    return {
        f"{kind}_mae": float(np.abs(errors).mean()),
        f"{kind}_rmse": float(np.sqrt((errors**2).mean())),
    }
