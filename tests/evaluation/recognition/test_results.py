"""Tables of recognition benchmarks, draws of few subjects, rows that belong to their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.clip import Prediction
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.corpora import from_anywhere
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.folds import few_subject_splits
from deft_llm.evaluation.recognition.results import Result, questions
from deft_llm.evaluation.recognition.tables import PublishedScore, leaderboard, table_rows


def _result(name: str, oracle: bool = False, seeds: int = 2) -> Result:
    probabilities = {"negative": 1.0, "positive": 0.0, "surprise": 0.0}
    rows = [
        Prediction("SMIC", f"s{i}", f"c{i}", i, seed, label, label, probabilities, 0.1)
        for seed in range(seeds)
        for i, label in enumerate(probabilities)
    ]
    schedule = {"oracle_epoch": oracle}
    entry = ModelEntry.model_validate({"recognizer": "ststnet", "schedule": schedule})
    return Result(name, entry, rows)


def test_an_oracle_is_called_one_everywhere() -> None:
    results = {"honest": _result("honest", seeds=1), "peeked": _result("peeked", oracle=True)}
    rows = {row["model"]: str(row["selection"]) for row in table_rows(results, "honest")}
    assert rows["honest"] == "fixed schedule"
    assert rows["peeked"].startswith("ORACLE")
    number = PublishedScore(model="X", uf1=0.5, data="442 clips", selection="unknown", source="[1]")
    page = leaderboard(results, [number])
    assert "| peeked | 1.000 | 1.000 | 3 clips | ORACLE: best epoch on the test subject |" in page
    assert "| measured here, 1 seed |" in page
    assert page.index("peeked") < page.index("| X | 0.500 |")


def test_draws_of_few_subjects_show_every_class() -> None:
    subjects = np.repeat(["a", "b", "c", "d"], 2)
    labels = np.array([0, 1, 0, 0, 2, 2, 1, 2])
    splits = few_subject_splits(subjects, labels, 2, 20)
    assert len({tuple(s.train) for s in splits}) > 2
    for split in splits:
        assert len(set(subjects[split.train])) == 2
        assert set(labels[split.train]) == {0, 1, 2}
        assert not set(subjects[split.train]) & set(subjects[split.test])
    with pytest.raises(UserError, match="expected fewer"):
        few_subject_splits(subjects, labels, 4, 1)


def test_rows_of_other_weights_are_other_rows(tmp_path: Path) -> None:
    entry = ModelEntry(recognizer="prior_flow", options={"weights": str(tmp_path), "C": 0.1})
    assert entry.weights() == []
    seen = []
    for content in (b"one", b"two"):
        (tmp_path / "net0.safetensors").write_bytes(content)
        seen.append(entry.weights())
    assert seen[0] != seen[1]


def test_a_figure_is_asked_for_by_name() -> None:
    results = {"a": _result("a"), "b": _result("b")}
    known = questions(results, baseline="b")
    assert known["a_uf1"].values(results, {}) == {"a_uf1": 1.0}
    gain = known["a_gain"].values(results, {})
    assert gain == {"a_gain": 0.0, "a_gain_low": 0.0, "a_gain_high": 0.0}
    assert known["a_gain_low"].values(results, {}) == gain  # the ends come with it
    assert set(known["a_gain_over_b"].values(results, {})) >= {"a_gain_over_b"}
    assert known["a_few_subjects_uf1"].values(results, {}) == {}  # it was not run
    assert known["a_gain"].values({"a": results["a"]}, {}) == {}


def test_a_long_text_among_the_options_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the question to a vision-language model: longer than any name of a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    question = "Look closely and/or twice. " * 40 + "Which of {labels} is it?"
    entry = ModelEntry(recognizer="vlm", options={"model": "x", "question": question, "none": ""})
    assert entry.weights() == []
    assert from_anywhere(entry.options) == entry.options
