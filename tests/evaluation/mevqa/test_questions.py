"""ME-VQA: the real questions are read, answered in the task's own words, and scored."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from deft_llm import resources
from deft_llm.answers import Facts, read_label
from deft_llm.config import read_yaml
from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa import scores
from deft_llm.evaluation.mevqa.questions import (
    QuestionForm,
    VqaQuestion,
    read_questions,
    submission,
)
from deft_llm.evaluation.mevqa.scores import vqa_scores
from deft_llm.evaluation.mevqa.wording import answer, named_aus, read_count, read_size
from deft_llm.metrics import text

FORMS = [QuestionForm(**form) for form in read_yaml(resources.benchmark("mevqa"))["forms"]]


@pytest.fixture(scope="module")
def real() -> list[VqaQuestion]:
    data = os.environ.get("DEFT_DATA")
    if not data:
        pytest.skip("DEFT_DATA is not set")
    file = read_questions(Path(data) / "mevqa" / "casme2_mevqa.jsonl", FORMS)
    assert not file.problems and not file.unknown
    return list(file.questions)


def facts_of(questions: list[VqaQuestion]) -> dict[str, Facts]:
    """What the reference answers say of each clip."""
    by_clip: dict[str, dict[str, VqaQuestion]] = defaultdict(dict)
    sides: dict[str, dict[int, str]] = defaultdict(dict)
    for question in questions:
        by_clip[question.clip][question.kind] = question
        if question.kind == "side" and question.au is not None:
            sides[question.clip][question.au] = question.answer[0].upper()
    return {
        clip: Facts(
            found["fine"].answer,
            tuple(f"{sides[clip].get(n, '')}{n}" for n in named_aus(found["aus"].answer)),
            (),
        )
        for clip, found in by_clip.items()
    }


def test_every_real_question_is_understood(real: list[VqaQuestion]) -> None:
    assert len(real) == 911
    assert len({q.clip for q in real}) == 145
    kinds = {q.kind for q in real}
    assert kinds == {"coarse", "fine", "aus", "au_yes_no", "side", "combined"}
    assert all((q.au is not None) == (q.kind in {"au_yes_no", "side"}) for q in real)


def test_the_reference_facts_give_the_reference_answers(real: list[VqaQuestion]) -> None:
    """Word for word: classes, AUs, sides and the combined sentence.

    One coding names its AUs out of order, in two answers: those have to name the same AUs.
    """
    facts = facts_of(real)
    wrong = [q for q in real if answer(q, facts[q.clip]) != q.answer]
    unlike = [q for q in wrong if q.kind != "au_yes_no"]
    assert {q.clip for q in unlike} <= {"sub12_EP09_02"}
    assert all(named_aus(answer(q, facts[q.clip])) == named_aus(q.answer) for q in unlike)
    # The few others ask about an AU that was coded in parts or in doubt.
    assert len(wrong) <= 0.02 * len(real)


def test_perfect_answers_get_perfect_labels(
    real: list[VqaQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "bleu", lambda *_: 0.0)
    monkeypatch.setattr(scores, "rouge1", lambda *_: 0.0)
    right = vqa_scores(real, {q.name: q.answer for q in real})
    names = ("coarse_uf1", "coarse_uar", "fine_uf1", "fine_uar", "yes_no_accuracy")
    assert [right[n] for n in names] == [1.0] * 5
    replies = {q.name: "negative" if q.kind == "coarse" else "neutral" for q in real}
    poor = vqa_scores(real, replies)
    # By hand: 88 of 145 are negative, so F1 = 2 * 88 / (145 + 88) for one class of three.
    assert poor["coarse_uf1"] == pytest.approx(2 * 88 / (145 + 88) / 3)
    assert poor["coarse_uar"] == pytest.approx(1 / 3)
    assert (poor["fine_uf1"], poor["fine_uar"]) == (0.0, 0.0)


def test_the_submission_is_the_given_file_with_answers(tmp_path: Path) -> None:
    rows = [
        {"video_id": "casme3_test_1_1", "video": "1", "question": "What are the action units?"},
        {
            "video_id": "casme3_test_1_2",
            "video": "1",
            "question": "Is the action unit dimpler shown on the face?",
            "answer": "",
        },
    ]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = read_questions(path, FORMS).questions
    assert [(q.dataset, q.kind, q.au) for q in questions] == [
        ("casme3", "aus", None),
        ("casme3", "au_yes_no", 14),
    ]
    facts = Facts("disgust", ("4", "R14"), ())
    submission(path, questions, {q.name: answer(q, facts) for q in questions})
    handed_in = [json.loads(line) for line in path.read_text().splitlines()]
    assert [list(row) for row in handed_in] == [["video_id", "video", "question", "answer"]] * 2
    assert [row["answer"] for row in handed_in] == ["brow lowerer, dimpler", "yes"]
    with pytest.raises(UserError, match="casme3_test_1_2"):
        submission(tmp_path / "x.jsonl", questions, {questions[0].name: "a"})
    assert not (tmp_path / "x.jsonl").exists()


ROW = {"id": "a", "dataset": "samm", "image_id": "1", "answer": "x"}
ROW |= {"question": "What is the coarse expression class?"}


def write(path: Path, *rows: object, start: bytes = b"") -> Path:
    path.write_bytes(start + "".join(json.dumps(row) + "\n" for row in rows).encode())
    return path


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"question": None}, "line 2, question: got None, expected text"),
        ({"image_id": 3}, "line 2, image_id: got 3, expected text"),
        ({"dataset": "../../x"}, "line 2, dataset: got '../../x', expected a name, such as samm"),
        (
            {"dataset": "samm/long"},
            "line 2, dataset: got 'samm/long', expected a name, such as samm",
        ),
        ({"id": "a"}, "line 2: 'a' is there twice; the first is used"),
    ],
)
def test_a_wrong_row_is_listed_and_the_rest_goes_on(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    path = write(tmp_path / "q.jsonl", ROW, {**ROW, "id": "b", **change}, {**ROW, "id": "c"})
    file = read_questions(path, FORMS)
    assert [q.name for q in file.questions] == ["a", "c"]
    assert file.problems == (f"{path}, {named}",)


def test_a_line_that_is_no_row_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", ROW, ["a"], {**ROW, "id": "c"})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "no JSON", "", *lines[1:]]))
    file = read_questions(path, FORMS)
    assert [q.name for q in file.questions] == ["a", "c"]
    assert [p.split(": ")[0] for p in file.problems] == [f"{path}, line {n}" for n in (2, 4)]


def test_rows_that_name_no_dataset_share_one(tmp_path: Path) -> None:
    """Their ids are numbers or begin with the subject; each would be a dataset of one question."""
    row = {name: value for name, value in ROW.items() if name != "dataset"}
    fine = {"question": "What is the fine-grained expression class?"}
    rows = [{**row, "id": "1"}, {**row, "id": "sub01_EP02", **fine}, {**row, "id": "SMIC_s1_1"}]
    file = read_questions(write(tmp_path / "q.jsonl", *rows), FORMS)
    assert [q.dataset for q in file.questions] == ["unnamed", "unnamed", "smic"]
    assert file.unnamed == 1


def test_a_file_without_a_row_to_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1, image_id: got None"):
        read_questions(write(tmp_path / "q.jsonl", {"id": "a", "question": "?"}), FORMS)
    with pytest.raises(UserError, match="empty; expected questions"):
        read_questions(write(tmp_path / "q.jsonl"), FORMS)


def test_unknown_forms_are_kept_and_listed(tmp_path: Path) -> None:
    """With the byte order mark that a spreadsheet or an editor leaves."""
    asked = ["How old?", "Is the action unit smile shown on the face?", "How old?"]
    rows = [{**ROW, "id": str(i), "question": words} for i, words in enumerate(asked)]
    file = read_questions(write(tmp_path / "q.jsonl", *rows, start=b"\xef\xbb\xbf"), FORMS)
    assert [q.kind for q in file.questions] == ["other"] * 3
    assert file.unknown == {"How old?": 2, asked[1]: 1} and not file.problems


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Please analyse the micro-expression in this clip.", "description"),
        ("Provide a detailed  ANALYSIS of what is seen.", "description"),
        ("How many micro-expressions are in the video?", "count_micro"),
        ("How many macro-expressions does the video show?", "count_macro"),
        ("How many micro-expressions and macro-expressions are there?", "other"),
        ("Is it a micro-expression or a macro-expression?", "micro_or_macro"),
        ("What are the action units?", "aus"),
    ],
)
def test_forms_of_2026(tmp_path: Path, words: str, kind: str) -> None:
    row = {**ROW, "dataset": "SMIC", "question": words}
    (question,) = read_questions(write(tmp_path / "q.jsonl", row), FORMS).questions
    assert (question.kind, question.dataset) == (kind, "smic")


def test_what_is_read_of_answers() -> None:
    labels = ("negative", "positive", "surprise")
    assert read_label("It is Negative.", labels) == "negative"
    assert read_label("positive or negative", labels) is None
    assert read_label("happy", labels) is None
    assert named_aus("brow lowerer, AU12") == (4, 12)
    assert [read_count(t) for t in ("There are three.", "12", "none", "2 or 3", "many")] == [
        *(3, 12, 0, None, None)
    ]
    assert [read_size(t) for t in ("a macro-expression", "Micro", "micro or macro")] == [
        *("macro", "micro", None)
    ]


def test_text_scores() -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    same = ["The action unit present is: dimpler, in this clip."]
    assert text.bleu(same, same) == pytest.approx(1.0)
    assert text.rouge1(same, same) == pytest.approx(1.0)
    assert text.bleu(["a b c e"], ["f g h i"]) < 0.2
    # One reference with a 4-gram is enough; a comma is a token.
    assert text.bleu(["positive", "a, b c"], ["positive", "a, b c"]) == pytest.approx(1.0)
    assert math.isnan(text.bleu(["positive", "a b c d"], ["positive", "a b c"]))
    # Two of three words shared: precision = recall = 2/3.
    assert text.rouge1(["brow lowerer puller"], ["Brow lowerer dimpler"]) == pytest.approx(2 / 3)


def test_a_missing_text_scorer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UserError, match="pip install sacrebleu"):
        text.bleu(["a"], ["a"])
    with pytest.raises(ValueError, match="1 texts for 2"):
        text.bleu(["a"], ["a", "b"])
