"""Scores of ME-VQA by hand, and the prior that looks at no clip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.prior import prior_answers
from deft_llm.evaluation.mevqa.questions import Kind, VqaQuestion, read_questions
from deft_llm.evaluation.mevqa.scores import intervals, vqa_scores

from .test_questions import FORMS

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")


def asked(kind: Kind, answer: str, subject: str = "1", words: str = "?") -> VqaQuestion:
    asked.count += 1  # type: ignore[attr-defined]
    name = f"q{asked.count}"  # type: ignore[attr-defined]
    return VqaQuestion(name, f"c{name}", "samm", kind, None, words, answer, {"subject": subject})


asked.count = 0  # type: ignore[attr-defined]


def scored(questions: list[VqaQuestion], *replies: str) -> dict[str, float]:
    return vqa_scores(questions, {q.name: r for q, r in zip(questions, replies, strict=True)})


def test_counts_and_sizes_of_long_videos() -> None:
    questions = [asked("count_micro", n) for n in ("2", "0", "5")]
    found = scored(questions, "There are 3.", "none", "I cannot say")
    # Errors 1, 0 and 5: an answer without a number counts as 0.
    assert found["count_micro_mae"] == pytest.approx(2)
    assert found["count_micro_rmse"] == pytest.approx((26 / 3) ** 0.5)
    assert found["unread"] == pytest.approx(1 / 3) and "coarse_uf1" not in found
    sizes = [asked("micro_or_macro", n) for n in ("micro", "micro", "macro")]
    found = scored(sizes, "micro-expression", "macro", "macro")
    assert found["micro_or_macro_uar"] == pytest.approx(0.75)
    assert found["micro_or_macro_uf1"] == pytest.approx(2 / 3)


def test_action_units_are_scored_as_sets() -> None:
    questions = [asked("aus", "brow lowerer, dimpler"), asked("aus", "lip corner puller")]
    # Two of three named are right, and two of three coded are named.
    found = scored(questions, "dimpler", "Lip corner puller and AU6.")
    assert found["au_f1"] == pytest.approx(2 / 3)


def test_sides_and_a_reference_outside_the_pinned_set() -> None:
    sides = [asked("side", "left"), asked("side", "right")]
    assert scored(sides, "left", "the left")["side_accuracy"] == 0.5
    fine = [asked("fine", "anger"), asked("fine", "others")]
    found = scored(fine, "anger", "others")
    assert found["fine_uf1"] == pytest.approx(1 / 7)  # the seven of SAMM; others is none of them


def test_intervals_are_over_subjects() -> None:
    questions = [asked("coarse", "negative", str(i % 4)) for i in range(12)]
    answers = {q.name: "negative" if i % 3 else "surprise" for i, q in enumerate(questions)}
    interval = intervals(questions, answers)["coarse_uf1"]
    assert interval.low <= interval.value <= interval.high
    assert interval.value == pytest.approx(vqa_scores(questions, answers)["coarse_uf1"])


def test_the_prior_never_learns_from_the_same_subject() -> None:
    questions = [
        *(asked("coarse", "negative", "1", "class?") for _ in range(3)),
        asked("coarse", "positive", "2", "class?"),
        asked("coarse", "positive", "3", "class?"),
        asked("au_yes_no", "yes", "2", "4?"),
        asked("au_yes_no", "no", "3", "17?"),
    ]
    given = [prior_answers(questions)[q.name] for q in questions]
    # Subject 1: two positive of others. Subjects 2 and 3: three negative against one positive.
    # AUs that only they were asked about: what was said of the other one.
    assert given == [*["positive"] * 3, "negative", "negative", "no", "yes"]
    train = [asked("coarse", "surprise", "1", "class?")]
    assert prior_answers(questions[3:4], train)[questions[3].name] == "surprise"
    with pytest.raises(UserError, match="samm/1 alone has answers"):
        prior_answers(questions[:1], train)
    with pytest.raises(UserError, match=r"train=….jsonl"):
        prior_answers([asked("coarse", "")])


def test_the_prior_on_the_published_questions() -> None:
    """Negative is the commonest class of every fold: 88 of 145, and never another."""
    data = os.environ.get("DEFT_DATA")
    if not data:
        pytest.skip("DEFT_DATA is not set")
    questions = read_questions(Path(data) / "mevqa" / "casme2_mevqa.jsonl", FORMS).questions
    found = vqa_scores(questions, prior_answers(questions))
    assert found["coarse_uf1"] == pytest.approx(2 * 88 / (145 + 88) / 3)
    assert found["coarse_uar"] == pytest.approx(1 / 3)
    # Disgust is the commonest emotion of every fold.
    disgust = sum(q.kind == "fine" and q.answer == "disgust" for q in questions)
    fine = sum(q.kind == "fine" for q in questions)
    assert found["fine_uf1"] == pytest.approx(2 * disgust / (fine + disgust) / 4)
    assert found["unread"] == 0.0
