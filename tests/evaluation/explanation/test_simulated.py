"""The simulated benchmark: every figure, every bar, every refusal, on one entry and on several."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.config import read_yaml
from deft_llm.data import simulated as simulated_clips
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.simulated import SimulatedData, head_at_hand
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.explanation.measures import figure_names
from deft_llm.evaluation.explanation.scores import scored_aus
from deft_llm.metrics.figures import Figure
from tests.evaluation.explanation.conftest import BENCHMARKS, SMALL, SMOKE, by_name

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
CLIPS = SMALL["clips"]
SINGLE = {
    *("uf1", "ceiling_uf1", "uar", "f1_negative", "f1_positive", "f1_surprise"),
    *("uf1_none_is_an_error", "au_macro_f1", "claim_precision", "claim_recall", "parsed"),
    *("named_without_au", "clips_without_face", "structure_alone_uf1"),
    *("drop_without_structure", "drop_without_texture", "drop_without_motion"),
    *("heads_uf1", "heads_au_macro_f1", "lr_on_flow_uf1"),
    *(f"f1_au{number}" for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 17, 24)),
}
SEVERAL = {
    *("three_uf1", "three_ceiling", "three_ece", "seven_uf1", "seven_ceiling", "seven_ece"),
    *("named_without_au", "au_macro_f1", "claim_precision", "claim_recall"),
    *("claim_recall_of_rule", "hallucinated_aus", "aus_not_coded"),
    *("parsed", "heads_three_uf1", "heads_seven_uf1", "heads_au_macro_f1"),
    *(f"drop_without_{name}" for name in EXPERTS),
    *("exchange_follows_both", "exchange_follows_motion", "exchange_pairs"),
    *("cka_structure_texture", "cka_structure_motion", "cka_texture_motion"),
    *(f"identity_{name}" for name in (*EXPERTS, "chance", "faces")),
}


# ----------------------------------------------------------------- one model on one test set


def _check_single(figures: list[Figure], tables: str, output: Path, clips: int) -> None:
    named = by_name(figures)
    assert set(named) == SINGLE
    bars = read_yaml(BENCHMARKS / "simulated.yaml")["bars"]
    for name, bar in bars.items():
        assert named[name].bar == bar["least" if named[name].above else "most"]
    assert {f.name for f in figures if not f.above} == {"named_without_au", "structure_alone_uf1"}
    assert {f.name for f in figures if f.bar is not None} == set(bars)
    assert math.isnan(named["lr_on_flow_uf1"].value)  # there is no training data to fit it on
    for row in ("0.3-0.6", "1.8-3.0", *facs.THREE_CLASSES):
        assert row in tables
    text = (output / "predictions-embedded-own.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == clips
    assert all(
        sum(row["probabilities"].values()) == pytest.approx(1) for row in rows if row["text"]
    )


@pytest.mark.usefixtures("short_answers")
def test_one_model_on_one_set_gives_every_figure_by_its_own_name(
    single: Path, rendered: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, tables = benchmarks.run(single)
    _check_single(figures, tables, tmp_path / "output", CLIPS)
    assert by_name(figures)["clips_without_face"].value == 1
    assert len(rendered) == CLIPS
    again, _ = benchmarks.run(single)
    assert len(rendered) == CLIPS + 1  # measured clips are kept, the first one is looked at again
    assert [f.name for f in again] == [f.name for f in figures]
    np.testing.assert_array_equal([f.value for f in again], [f.value for f in figures])

    noise = simulated_clips.render_many

    def other_code(*arguments: Any) -> Iterator[MeasuredClip]:
        for clip in noise(*arguments):
            yield MeasuredClip.simulated(clip.spec, clip.motion + 1, clip.features)

    monkeypatch.setattr(simulated_clips, "render_many", other_code)
    benchmarks.run(single, ["measures=[classes]"])
    assert len(rendered) == 2 * CLIPS + 2  # what other code measured is measured again


@pytest.mark.usefixtures("short_answers", "rendered")
def test_rows_have_figures_of_their_own_and_leave_the_others(single: Path, tmp_path: Path) -> None:
    held = {**SMALL, "first_identity": 940000, "seed": 9425000, "profile": "life"}
    row = f"rows={{held: {json.dumps({**held, 'kinds': ['held']})}}}"
    figures, tables = benchmarks.run(single, [row, "bars.held_uf1={least: 2.0}"])
    named = by_name(figures)
    untold = {"structure_alone_uf1", "lr_on_flow_uf1", *(f"drop_without_{e}" for e in EXPERTS)}
    assert set(named) == SINGLE | {f"held_{name}" for name in SINGLE - untold}
    assert named["held_uf1"].bar == 2.0 and named["held_ceiling_uf1"].bar is None
    plain = by_name(benchmarks.run(single)[0])
    for name in SINGLE:
        np.testing.assert_array_equal(named[name].value, plain[name].value)
        assert named[name].bar == plain[name].bar
    assert "embedded on held" in tables and "| held |" in tables
    assert (tmp_path / "output" / "predictions-embedded-held.jsonl").is_file()


@pytest.mark.usefixtures("short_answers", "rendered")
def test_rows_beside_several_sets_are_named_by_model_and_row(several: Path) -> None:
    row = f"rows={{turned: {json.dumps({**SMALL, 'first_identity': 942000, 'seed': 9435000})}}}"
    figures, _ = benchmarks.run(several, [row, "measures=[classes,experts]"])
    named = by_name(figures)
    assert {"tiny_own_three_uf1", "tiny_turned_three_uf1", "tiny_own_identity_chance"} < set(named)
    assert "tiny_turned_identity_chance" not in named and named["left_out"].value == 2


def test_faces_of_training_are_refused_in_rows(single: Path) -> None:
    first = SimulatedData(**read_yaml(SMOKE)["data"]).first_identity
    row = f"rows={{held: {json.dumps({**SMALL, 'first_identity': first})}}}"
    with pytest.raises(UserError, match=r"rows\.held\.first_identity"):
        benchmarks.run(single, [row])


@pytest.mark.slow
@pytest.mark.usefixtures("short_answers")
def test_run_with_rendering(single: Path, tmp_path: Path) -> None:
    figures, tables = benchmarks.run(single, ["data.own.clips=4"])
    _check_single(figures, tables, tmp_path / "output", 4)


def test_shared_subject_is_refused(single: Path) -> None:
    first = SimulatedData(**read_yaml(SMOKE)["data"]).first_identity
    with pytest.raises(UserError, match="share subject own00") as caught:
        benchmarks.run(single, [f"data.own.first_identity={first}"])
    assert "data.own.first_identity" in str(caught.value)


def test_shared_clip_is_refused(single: Path) -> None:
    """The same recipe on other faces is no new clip."""
    seed = read_yaml(SMOKE)["data"]["seed"]
    with pytest.raises(UserError, match="training draw and test share clip"):
        benchmarks.run(single, [f"data.own.seed={seed}"])


def test_missing_checkpoint_is_named(single: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder"):
        benchmarks.run(single, [f"models.embedded.checkpoint={tmp_path / 'none'}"])


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("models.embedded.tests=[ict]", "test set 'ict' is not in data; there are: own"),
        ("measures=[classes,experts]", "test set 'own' is not in probe; there are: none"),
        ("rows={own: {clips: 1, identities: 1}}", "rows: 'own' is in data as well"),
        ("measures=[sounds]", "expected some of classes, calibration"),
        ("train_data=null", "reference needs train_data"),
        ("names.tree_uf1=other", "names: no figure 'tree_uf1'; did you mean 'three_uf1'"),
        ("bars.uf1_of_ceiling={least: 0.85}", "no figure 'uf1_of_ceiling'; did you mean"),
        ("bars.uf1={least: 0.85, of: ceilling_uf1}", "did you mean 'ceiling_uf1'"),
    ],
)
def test_a_wrong_file_is_named_before_any_work(single: Path, override: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        benchmarks.run(single, [override])


# ------------------------------------------------------------- several models and test sets


@pytest.mark.usefixtures("short_answers", "rendered")
def test_several_give_every_figure_and_count_what_is_left_out(
    several: Path, tmp_path: Path
) -> None:
    figures, tables = benchmarks.run(several)
    named = by_name(figures)
    assert set(named) == {f"tiny_own_{name}" for name in SEVERAL} | {"left_out"}
    assert named["left_out"].value == 1 and not named["left_out"].reached
    bars = read_yaml(BENCHMARKS / "deft_simulated.yaml")["bars"]
    ceiling = named["tiny_own_seven_ceiling"].value
    assert named["tiny_own_seven_uf1"].bar == pytest.approx(bars["seven_uf1"]["least"] * ceiling)
    assert named["tiny_own_hallucinated_aus"].bar == bars["hallucinated_aus"]["most"]
    seen = named["tiny_own_identity_structure"].value
    share = bars["identity_motion"]["most"]
    assert named["tiny_own_identity_motion"].bar == pytest.approx(share * seen)
    assert {f.name for f in figures if f.bar is not None and not f.above} == {
        "left_out",
        *(f"tiny_own_{n}" for n in ("three_ece", "seven_ece", "named_without_au")),
        *(f"tiny_own_{n}" for n in ("hallucinated_aus", "identity_texture", "identity_motion")),
    }
    assert named["tiny_own_identity_chance"].value == pytest.approx(0.5)
    assert math.isnan(named["tiny_own_hallucinated_aus"].value)  # an untrained model names no AU
    assert "tiny on own" in tables and "| raw |" in tables
    file = tmp_path / "output" / "predictions-tiny-own.jsonl"
    rows = file.read_text(encoding="utf-8").splitlines()
    assert len(rows) == CLIPS
    assert all("text" in json.loads(row) for row in rows)


@pytest.mark.usefixtures("short_answers", "rendered")
def test_figures_under_the_grammar_are_called_so(several: Path) -> None:
    measures = "measures=[classes,text,grounding]"
    figures, tables = benchmarks.run(several, ["grammar=true", measures])
    named = by_name(figures)
    for name in ("claim_precision", "claim_recall", "au_macro_f1", "hallucinated_aus", "parsed"):
        assert f"tiny_own_grammar_{name}" in named and f"tiny_own_{name}" not in named
    for name in (
        "au_macro_f1",
        "claim_precision",
        "hallucinated_aus",
    ):  # the same bars, under the name that says so
        assert named[f"tiny_own_grammar_{name}"].bar is not None
    assert "tiny_own_three_uf1" in named  # label likelihoods know no grammar
    assert "| grammar |" in tables


@pytest.mark.parametrize("part", ["data", "probe"])
def test_faces_of_training_are_refused(several: Path, part: str) -> None:
    first = SimulatedData(**read_yaml(several.with_name("recipe.yaml"))["data"]).first_identity
    with pytest.raises(UserError, match="share subject own00"):
        benchmarks.run(several, [f"{part}.own.first_identity={first}"])


def test_a_head_that_is_not_at_hand_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DEFT_ICT", raising=False)
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert head_at_hand("own") and not head_at_hand("ict")
    assert "set DEFT_ICT" in caplog.text


# ------------------------------------------------------------------------------ the files


def test_the_pinned_file_keeps_its_sets_apart() -> None:
    values = read_yaml(BENCHMARKS / "deft_simulated.yaml")
    parts = ("data", "rows", "probe")
    sets = [SimulatedData(**s) for part in parts for s in values[part].values()]
    faces = [range(s.first_identity, s.first_identity + s.identities) for s in sets]
    seeds = [range(s.seed, s.seed + s.clips) for s in sets]
    for ranges in (faces, seeds):
        for i, a in enumerate(ranges):
            assert all(a.stop <= b.start or b.stop <= a.start for b in ranges[i + 1 :])
    for data in values["data"].values():
        assert data["clips"] >= 600 and data["identities"] >= 60
    for data in values["probe"].values():
        assert data["identities"] == 50 and data["clips"] / 50 >= 20
    assert values["rows"] == read_yaml(BENCHMARKS / "simulated.yaml")["rows"]
    assert {name: row["kinds"] for name, row in values["rows"].items()} == {
        **{"held": ["held"], "macro": ["macro"], "turned": ["turn"]}
    }


def test_measures_give_the_figures_that_they_declare() -> None:
    assert set(figure_names(scored_aus())) == {
        *SEVERAL,
        *(name for name in SINGLE if name not in ("uf1", "ceiling_uf1", "heads_uf1")),
    }
