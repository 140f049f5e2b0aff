"""Answers from how often each answer was given, without a look at any clip: the bar to clear.

An entrant of the task handed these in. The words of a question say something about its answer
(which action unit it asks about, one or several), so the prior is that of the very question.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.questions import VqaQuestion

Counts = dict[Hashable, Counter[str]]
_EVERYONE = ""


def prior_answers(
    questions: Sequence[VqaQuestion], train: Sequence[VqaQuestion] = ()
) -> dict[str, str]:
    """The commonest answer to each question.

    Looked for among the same question of the same dataset, then of any dataset, then among the
    same kind; of two that are equally common, the first in the alphabet.

    Args:
        questions: To be answered.
        train: Answered questions to learn from; without any, the questions themselves. Answers
            about a subject are never learned for the same subject.

    Returns:
        Question name -> answer.

    Raises:
        UserError: If there is nothing to learn from.
    """
    counts: dict[str, Counts] = defaultdict(lambda: defaultdict(Counter))
    for question in train or questions:
        if not question.answer:
            continue
        for who in (_EVERYONE, question.subject):
            for level in _levels(question):
                counts[who][level][question.answer] += 1
    if not counts:
        raise UserError(
            "prior: no question has an answer to learn from; give the training file: train=….jsonl"
        )
    return {q.name: _commonest(q, counts) for q in questions}


def _levels(question: VqaQuestion) -> tuple[Hashable, ...]:
    """What questions share their prior with, the closest first."""
    return (question.dataset, question.words), question.words, (question.kind,), ()


def _commonest(question: VqaQuestion, counts: dict[str, Counts]) -> str:
    everyone, own = counts[_EVERYONE], counts.get(question.subject, {})
    for level in _levels(question):
        others = everyone.get(level, Counter()) - own.get(level, Counter())
        if others:
            return min(others, key=lambda text: (-others[text], text))
    raise UserError(
        f"question {question.name}: {question.subject} alone has answers, so that there is nothing "
        "to learn from; give a training file: train=….jsonl"
    )
