"""The simulated benchmark: its ceiling, its audit, its tables, and a run of a few clips.

Rendering is replaced by random packets, except in the slow test.
"""

from __future__ import annotations

import json
import logging
import math
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from deft_llm.unimer.build import SimulatedData, specs

from deft_llm import facs
from deft_llm.config import read_yaml
from deft_llm.data import simulated_test as simulated_clips
from deft_llm.data.features import REGION_COLUMNS, Packet
from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.explanation import simulated_scores
from deft_llm.metrics.faithfulness import ClaimCounts
from deft_llm.metrics.figures import Figure
from deft_llm.simulator.scene.clip_spec import PEAK_PX, ClipSpec, draw_spec

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "eval" / "benchmarks" / "simulated.yaml"
SMOKE = ROOT / "train_configs" / "deft" / "smoke.yaml"
CLIPS = 12
FIGURES = {
    *("uf1", "ceiling_uf1", "uar", "f1_negative", "f1_positive", "f1_surprise"),
    *("uf1_none_is_an_error", "au_macro_f1", "claim_precision", "claim_recall", "parsed"),
    *("named_without_au", "clips_without_face", "structure_alone_uf1"),
    *("drop_without_structure", "drop_without_texture", "drop_without_motion"),
    *("heads_uf1", "heads_au_macro_f1", "lr_on_flow_uf1"),
}
MakeBenchmark = Callable[..., Path]


def _spec(seed: int, emotion: str | None, *aus: str) -> ClipSpec:
    return draw_spec(seed, seed, emotion=emotion, aus=aus)


# --------------------------------------------------------------------------- ceiling


def test_bayes_rule_counts_as_by_hand() -> None:
    rule = simulated_scores.BayesRule(
        [
            _spec(1, "happiness", "12"),
            _spec(2, "happiness", "12"),
            _spec(3, "anger", "12"),
            _spec(4, "disgust", "4"),
            _spec(5, "others", "4"),  # none of the three classes: not counted
            _spec(6, "others", "4"),
            _spec(7, None),
        ]
    )
    assert rule(["12"]) == "positive"
    assert rule(["4"]) == "negative"
    # Never drawn together. positive: 2/4 · (2+1)/(2+2) · (0+1)/(2+2); negative: 2/4 · 2/4 · 2/4.
    assert rule(["4", "12"]) == "negative"
    assert rule(["12", "4"]) == "negative"


def test_bayes_rule_tells_sides_apart() -> None:
    rule = simulated_scores.BayesRule([_spec(1, "happiness", "12"), _spec(2, "contempt", "L12")])
    assert (rule(["12"]), rule(["L12"])) == ("positive", "negative")


def test_scored_aus_are_the_pinned_twelve() -> None:
    # Those in at least 2 % of the coded combinations.
    assert simulated_scores.scored_aus(0.02) == [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 17, 24]


def test_au_matrix_leaves_sides_aside() -> None:
    matrix = simulated_scores.au_matrix([("L12", "1"), ()], [1, 4, 12])
    np.testing.assert_array_equal(matrix, [[True, False, True], [False, False, False]])


# ---------------------------------------------------------------------------- tables


def test_every_peak_falls_in_one_row() -> None:
    edges = simulated_scores.AMPLITUDES
    assert list(edges) == sorted(edges)
    assert edges[0] <= PEAK_PX[0] and PEAK_PX[1] < edges[-1]
    clips = [
        simulated_clips.TestClip(spec, np.zeros((20, 2), np.float32), None)
        for spec in specs(SimulatedData(clips=200, identities=10))
    ]
    replies = [simulated_scores.Reply({}, "", None, None) for _ in clips]
    rows = simulated_scores.amplitude_table(clips, replies)
    assert sum(row["clips"] for row in rows) == sum(bool(clip.spec.aus) for clip in clips)
    assert all(row["clips"] > 0 for row in rows)


def test_none_is_a_guess_only_where_it_counts() -> None:
    said = {"negative": -2.0, "positive": -1.0, "surprise": -3.0, "others": -0.5, "none": -0.1}
    reply = simulated_scores.Reply(said, "", None, None)
    assert (reply.three(), reply.best()) == ("positive", "none")
    silent = simulated_scores.Reply({}, "", None, None)  # no face was found
    assert (silent.three(), silent.best()) == (None, "none")


def test_the_rule_tells_moved_regions_that_an_au_explains() -> None:
    """Both mouth corners rise under AU12, the glabella moves under none, the chin is not seen."""
    names = list(facs.REGIONS)
    corners = [names.index(f"{side} mouth corner") for side in ("left", "right")]
    motion = np.zeros((len(names), 2), np.float32)
    motion[[*corners, names.index("glabella"), names.index("chin")]] = (0.0, -0.8)
    regions = np.zeros((2, len(names), len(REGION_COLUMNS)), np.float32)
    for phase, sign in enumerate((-1, 1)):
        regions[phase, corners, :3] = (0.0, sign * 0.8, 0.8)
    regions[0, names.index("glabella"), :3] = (0.0, -0.8, 0.8)
    regions[..., REGION_COLUMNS.index("coherence")] = 1.0
    regions[..., REGION_COLUMNS.index("noise")] = 0.04
    regions[..., REGION_COLUMNS.index("z")] = regions[..., REGION_COLUMNS.index("magnitude")] / 0.04
    smile = simulated_clips.TestClip(_spec(1, "happiness", "12"), motion, {"regions": regions})
    still = simulated_clips.TestClip(_spec(2, None), motion, {"regions": regions})
    unseen = simulated_clips.TestClip(_spec(3, "happiness", "12"), motion, None)
    assert simulated_scores.rule_claims([smile]) == ClaimCounts(2, 2, 4, 2)
    assert simulated_scores.rule_claims([still, unseen]) == ClaimCounts(0, 0, 8, 0)


# ------------------------------------------------------------------------------- run


@pytest.fixture
def make_benchmark(tmp_path: Path, tiny_checkpoint: Path) -> MakeBenchmark:
    """``make_benchmark(clips=4)`` -> a benchmark file of an untrained model."""

    def make(**data: Any) -> Path:
        recipe = {**read_yaml(SMOKE), "templates": str(ROOT / "deft_llm" / "unimer" / "templates")}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        pinned = read_yaml(BENCHMARK)
        values = {
            **pinned,
            "checkpoint": str(tiny_checkpoint),
            "recipes": [str(tmp_path / "recipe.yaml")],
            "train_data": str(tmp_path / "nowhere"),
            "cache": str(tmp_path / "cache"),
            "data": {**pinned["data"], "clips": CLIPS, "identities": 6, "workers": 1, **data},
        }
        path = tmp_path / "benchmark.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return make


def test_shared_subject_is_refused(make_benchmark: MakeBenchmark) -> None:
    trained_on = read_yaml(SMOKE)["data"]
    first = SimulatedData(**trained_on).first_identity
    with pytest.raises(UserError, match="share own00") as caught:
        benchmarks.run(make_benchmark(first_identity=first))
    assert "data.first_identity" in str(caught.value)


def test_shared_clip_is_refused(make_benchmark: MakeBenchmark) -> None:
    """The same recipe on other faces is no new clip."""
    with pytest.raises(UserError, match="training draw and test share"):
        benchmarks.run(make_benchmark(seed=read_yaml(SMOKE)["data"]["seed"]))


def test_missing_checkpoint_is_named(make_benchmark: MakeBenchmark, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        benchmarks.run(make_benchmark(), [f"checkpoint={tmp_path / 'none'}"])


def _check_figures(figures: list[Figure], tables: str, cache: Path, clips: int) -> None:
    by_name = {figure.name: figure for figure in figures}
    assert len(by_name) == len(figures)
    numbers = simulated_scores.scored_aus(0.02)
    assert set(by_name) == FIGURES | {f"f1_au{number}" for number in numbers}
    bars = read_yaml(BENCHMARK)["bars"]
    ceiling = by_name["ceiling_uf1"].value
    assert by_name["uf1"].bar == pytest.approx(bars.pop("uf1_of_ceiling") * ceiling)
    assert {name: by_name[name].bar for name in bars} == bars
    assert {f.name for f in figures if not f.above} == {"named_without_au", "structure_alone_uf1"}
    assert math.isnan(by_name["lr_on_flow_uf1"].value)  # there is no training data to fit it on
    for row in ("0.3-0.6", "1.8-3.0", *facs.THREE_CLASSES):
        assert row in tables
    text = (cache / "simulated-predictions.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == clips
    assert all(
        sum(row["probabilities"].values()) == pytest.approx(1) for row in rows if row["text"]
    )


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_run_gives_every_figure(
    make_benchmark: MakeBenchmark,
    make_packet: Callable[[int], Packet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rendered: list[int] = []

    def no_rendering(
        drawn: Iterable[ClipSpec], *_: object
    ) -> Iterator[tuple[Packet | None, np.ndarray]]:
        for i, spec in enumerate(drawn):
            rendered.append(spec.seed)
            motion = np.random.default_rng(spec.seed).normal(0, 0.3, (20, 2)).astype(np.float32)
            packet = None if i == 1 else make_packet(spec.seed)  # one clip shows no face
            yield packet, motion

    monkeypatch.setattr(simulated_clips, "render_many", no_rendering)
    # An untrained model never ends its answer by itself.
    monkeypatch.setattr("deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8)
    path = make_benchmark()
    figures, tables = benchmarks.run(path)
    _check_figures(figures, tables, tmp_path / "cache", CLIPS)
    assert next(f for f in figures if f.name == "clips_without_face").value == 1
    assert len(rendered) == CLIPS
    again, _ = benchmarks.run(path)
    assert len(rendered) == CLIPS + 1  # measured clips are kept, the first one is looked at again
    assert [f.name for f in again] == [f.name for f in figures]
    np.testing.assert_array_equal([f.value for f in again], [f.value for f in figures])

    def other_code(*arguments: Any) -> Iterator[tuple[Packet | None, np.ndarray]]:
        return ((packet, motion + 1) for packet, motion in no_rendering(*arguments))

    monkeypatch.setattr(simulated_clips, "render_many", other_code)
    benchmarks.run(path)
    assert len(rendered) == 2 * CLIPS + 2  # what other code measured is measured again


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_run_with_rendering(
    make_benchmark: MakeBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8)
    figures, tables = benchmarks.run(make_benchmark(clips=4))
    _check_figures(figures, tables, tmp_path / "cache", 4)


# ---------------------------------------------------------------------------- script


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("benchmark: [simulated\n", "not readable as YAML"),
        ("benchmark: real\n", "expected one of simulated"),
        ("benchmark: [simulated]\n", "expected one of simulated"),
        ("- simulated\n", "mapping"),
    ],
)
def test_wrong_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=word) as caught:
        benchmarks.run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_script_answers_a_bad_file_with_status_2(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text("benchmark: [simulated\n", encoding="utf-8")
    command = [sys.executable, str(ROOT / "eval" / "run.py"), str(path), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "benchmark.yaml" in done.stderr


@pytest.mark.parametrize(
    ("value", "flags", "status"), [(0.9, ["--check"], 0), (0.8, [], 0), (0.8, ["--check"], 1)]
)
def test_script_checks_bars(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    flags: list[str],
    status: int,
) -> None:
    found = [Figure("uf1", value, 0.85)], "| a table |"
    monkeypatch.setattr(benchmarks, "run", lambda *_: found)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    monkeypatch.setattr(sys, "argv", ["run.py", "simulated.yaml", *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "eval" / "run.py"), run_name="__main__")
    assert int(ended.value.code or 0) == status
    assert capsys.readouterr().out.splitlines()[0] == "| a table |"
