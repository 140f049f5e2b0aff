"""AUs named from flow images against codings, by numbers counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deft_llm.clip import Annotation
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.records import ClipRecord
from deft_llm.deft.inference.flow_classifier import DeftFlowClassifier
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.explanation import flow_aus
from deft_llm.evaluation.explanation.flow_aus import au_scores

BENCHMARK = Path(__file__).resolve().parents[3] / "eval" / "benchmarks" / "deft_samm_aus.yaml"


def test_scores_of_a_small_case() -> None:
    coded = [{4}, {4, 7}, {12}, {12, 25}]
    named = [{4}, {7}, {12, 4}, {12}]
    values, table = au_scores(coded, named, least=2)
    # AU4: 1 hit, 2 coded, 2 named; AU12: 2 of 2 and 2. AU7 and AU25 are coded once.
    assert values["au_macro_f1"] == pytest.approx((0.5 + 1.0) / 2)
    assert values["au_macro_f1_all_named"] == pytest.approx(2 / 3)
    assert values["au_precision"] == pytest.approx(4 / 5)
    assert values["au_recall"] == pytest.approx(4 / 6)
    assert (values["clips"], values["scored_aus"]) == (4, 2)
    assert "| 4 | 2 | 2 | 0.500 |" in table
    with pytest.raises(UserError, match="no AU is coded in 5 of 4 clips"):
        au_scores(coded, named, least=5)


def test_the_old_name_of_the_benchmark_is_answered_with_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text("benchmark: flow_units", encoding="utf-8")
    with pytest.raises(UserError, match="did you mean 'flow_aus'"):
        run(path)


def test_names_are_kept_beside_the_codings(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        ClipRecord(clip=clip, subject="006", emotion=None, emotion_known=False, aus=())
        for clip in ("006_1_2", "elsewhere")
    ]
    images = ClipDataset.of_arrays(records, {"flow_image": np.zeros((2, 28, 28, 3))}, "images")
    coding = Annotation("samm", "006", "006_1_2", aus=("L4", "7"))
    corpus = SimpleNamespace(read=lambda frames: SimpleNamespace(annotations=[coding]))
    monkeypatch.setattr(flow_aus, "read_flow_images", lambda folder: images)
    monkeypatch.setattr(flow_aus, "load_corpus", lambda name, folder: corpus)
    monkeypatch.setattr(flow_aus, "medsqrt", lambda images: images)
    monkeypatch.setattr(DeftFlowClassifier, "named_aus", lambda self, images: [frozenset({4, 12})])
    overrides = [f"checkpoint={tiny_checkpoint}", f"output={tmp_path}", "least=1"]
    figures, _ = run(BENCHMARK, overrides)
    assert {f.name: f.value for f in figures}["au_precision"] == 0.5
    (row,) = (tmp_path / "predictions-flow-aus.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row) == {"clip": "006_1_2", "coded": [4, 7], "named": [4, 12]}


def test_aus_are_read_from_the_written_answer(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DeftFlowClassifier(3, str(tiny_checkpoint))
    answers = ["AU4 brow lowerer, AU12 lip corner puller on the left", "No action unit."]
    monkeypatch.setattr(model.explainer, "generate", lambda *_, **__: answers)
    images = np.zeros((2, 3, 28, 28), np.float32)
    assert model.named_aus(images) == [{4, 12}, frozenset()]
