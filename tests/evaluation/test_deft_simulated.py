"""DEFT-LLM's own benchmark on an untrained model and packets of noise: every figure, every refusal.

Rendering is replaced by random packets; a small version of the pinned file is run.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from deft_llm.data.simulated_test import TestClip, even_specs, head_at_hand
from deft_llm.unimer.build import SimulatedData

from deft_llm.config import read_yaml
from deft_llm.data import simulated_test as simulated_clips
from deft_llm.data.features import Packet
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.inference.calibration import Calibration
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.explanation import calibrate
from deft_llm.evaluation.explanation.disentanglement import (
    alignment,
    answers,
    encoded,
    exchange,
    identity_probe,
)
from deft_llm.evaluation.explanation.simulated_scores import scored_aus
from deft_llm.metrics.figures import Figure
from deft_llm.simulator.scene.clip_spec import ClipSpec

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
ROOT = Path(__file__).resolve().parents[2]
PINNED = ROOT / "eval" / "benchmarks" / "deft_simulated.yaml"
FIGURES = {
    *("three_uf1", "three_ceiling", "three_ece", "seven_uf1", "seven_ceiling", "seven_ece"),
    *("named_without_au", "au_macro_f1", "claim_precision", "claim_recall"),
    *("claim_recall_of_rule", "hallucinated_aus", "aus_not_coded"),
    *("parsed", "heads_three_uf1", "heads_seven_uf1", "heads_au_macro_f1"),
    *(f"drop_without_{name}" for name in EXPERTS),
    *("exchange_follows_both", "exchange_follows_motion", "exchange_pairs"),
    *("cka_structure_texture", "cka_structure_motion", "cka_texture_motion"),
    *(f"identity_{name}" for name in (*EXPERTS, "chance", "faces")),
}
SMALL: dict[str, Any] = {
    "clips": 24,
    "identities": 6,
    "first_identity": 900000,
    "seed": 9000000,
    "workers": 1,
}
PROBE: dict[str, Any] = {
    "clips": 40,
    "identities": 2,
    "first_identity": 920000,
    "seed": 9200000,
    "workers": 1,
}


@pytest.fixture
def small(
    tmp_path: Path,
    tiny_checkpoint: Path,
    make_packet: Callable[[int], Packet],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The pinned file with a few clips of noise; a packet's onset frame tells the face."""

    def no_rendering(
        drawn: Iterable[ClipSpec], *_: object
    ) -> Iterator[tuple[Packet | None, np.ndarray]]:
        for spec in drawn:
            motion = np.random.default_rng(spec.seed).normal(0, 0.3, (20, 2)).astype(np.float32)
            packet = make_packet(spec.seed)
            face = np.random.default_rng(spec.identity).integers(0, 255, (64, 64, 3))
            yield {**packet, "onset": face.astype(np.uint8)}, motion

    monkeypatch.setattr(simulated_clips, "render_many", no_rendering)
    monkeypatch.setattr(
        "deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8
    )  # it never ends by itself
    recipe = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    recipe["templates"] = str(ROOT / "deft_llm" / "unimer" / "templates")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    entry = {"checkpoint": str(tiny_checkpoint), "recipes": [str(tmp_path / "recipe.yaml")]}
    values = {
        **read_yaml(PINNED),
        "models": {
            "tiny": {**entry, "tests": ["own"]},
            "missing": {**entry, "checkpoint": str(tmp_path / "none"), "tests": ["own"]},
        },
        "data": {"own": SMALL},
        "probe": {"own": PROBE},
        "cache": str(tmp_path / "cache"),
    }
    path = tmp_path / "deft_simulated.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    named = {figure.name: figure for figure in figures}
    assert len(named) == len(figures)
    return named


def test_run_gives_every_figure_and_counts_what_it_left_out(small: Path, tmp_path: Path) -> None:
    figures, tables = benchmarks.run(small)
    named = by_name(figures)
    assert set(named) == {f"tiny_own_{name}" for name in FIGURES} | {"left_out"}
    assert named["left_out"].value == 1 and not named["left_out"].reached
    bars = read_yaml(PINNED)["bars"]
    ceiling = named["tiny_own_seven_ceiling"].value
    assert named["tiny_own_seven_uf1"].bar == pytest.approx(bars["seven_of_ceiling"] * ceiling)
    assert named["tiny_own_hallucinated_aus"].bar == bars["hallucinated_aus"]
    seen = named["tiny_own_identity_structure"].value
    assert named["tiny_own_identity_motion"].bar == pytest.approx(bars["identity_share"] * seen)
    assert {f.name for f in figures if f.bar is not None and not f.above} == {
        "left_out",
        *(f"tiny_own_{n}" for n in ("three_ece", "seven_ece", "named_without_au")),
        *(f"tiny_own_{n}" for n in ("hallucinated_aus", "identity_texture", "identity_motion")),
    }
    assert named["tiny_own_identity_chance"].value == pytest.approx(0.5)
    assert math.isnan(named["tiny_own_hallucinated_aus"].value)  # an untrained model names no AU
    assert "tiny on own" in tables and "| raw |" in tables
    rows = (tmp_path / "cache" / "deft-tiny-own.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == SMALL["clips"]
    assert all("text" in json.loads(row) for row in rows)


def test_figures_under_the_grammar_are_called_so(small: Path) -> None:
    named = by_name(benchmarks.run(small, ["grammar=true"])[0])
    for name in ("claim_precision", "claim_recall", "au_macro_f1", "hallucinated_aus", "parsed"):
        assert f"tiny_own_grammar_{name}" in named and f"tiny_own_{name}" not in named
    assert "tiny_own_three_uf1" in named  # label likelihoods know no grammar


@pytest.mark.parametrize("part", ["data", "probe"])
def test_faces_of_training_are_refused(small: Path, part: str) -> None:
    first = SimulatedData(**read_yaml(small.with_name("recipe.yaml"))["data"]).first_identity
    with pytest.raises(UserError, match="share own00"):
        benchmarks.run(small, [f"{part}.own.first_identity={first}"])


def test_a_head_that_is_not_at_hand_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DEFT_ICT", raising=False)
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert head_at_hand("own") and not head_at_hand("ict")
    assert "set DEFT_ICT" in caplog.text


def test_the_pinned_file_keeps_its_sets_apart() -> None:
    values = read_yaml(PINNED)
    sets = [SimulatedData(**s) for part in ("data", "probe") for s in values[part].values()]
    faces = [range(s.first_identity, s.first_identity + s.identities) for s in sets]
    seeds = [range(s.seed, s.seed + s.clips) for s in sets]
    for ranges in (faces, seeds):
        for i, a in enumerate(ranges):
            assert all(a.stop <= b.start or b.stop <= a.start for b in ranges[i + 1 :])
    for data in values["data"].values():
        assert data["clips"] >= 600 and data["identities"] >= 60
    for data in values["probe"].values():
        assert data["identities"] == 50 and data["clips"] / 50 >= 20
    assert scored_aus(0.02)


# ---------------------------------------------------------------------- parts of it


def speaker(*parts: str) -> Any:
    """A model whose answer hangs on these experts alone."""
    weights = torch.randn(12, 5, generator=torch.Generator().manual_seed(3))

    def likelihoods(tokens: dict[str, torch.Tensor], label_set: str) -> torch.Tensor:
        assert label_set == "coarse"
        return torch.stack([tokens[part].flatten(1) @ weights for part in parts]).sum(0)

    return SimpleNamespace(likelihoods=likelihoods)


@pytest.mark.parametrize(
    ("parts", "both", "motion"),
    [
        (("motion",), 1.0, 1.0),
        (("texture",), 1.0, 0.0),
        (("structure",), 0.0, 0.0),
        (("motion", "texture"), 1.0, None),
    ],
)
def test_the_answer_follows_what_it_hangs_on(
    parts: tuple[str, ...], both: float, motion: float | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = {name: torch.randn(80, 3, 4, generator=generator) for name in EXPERTS}
    own = answers(speaker(*parts), tokens)
    found = exchange(speaker(*parts), tokens, seed=0)
    assert len(own.unique()) == 5 and 40 < found.pairs < 80
    assert found.follows_both == both
    if motion is None:
        assert 0.2 < found.follows_motion < 0.95
    else:
        assert found.follows_motion == motion
    still = {name: values[:1].expand_as(values) for name, values in tokens.items()}
    assert math.isnan(exchange(speaker(*parts), still, seed=0).follows_both)
    with pytest.raises(UserError, match="1 clip"):
        exchange(speaker(*parts), {n: values[:1] for n, values in tokens.items()}, seed=0)


@pytest.fixture
def explainer(tiny_checkpoint: Path) -> Explainer:
    return Explainer.load(tiny_checkpoint)


@pytest.fixture
def clips(make_packet: Callable[[int], Packet]) -> list[TestClip]:
    """20 clips of each of three faces, one without a face; the face is in the onset frame."""
    found = []
    for spec in even_specs(SimulatedData(**{**SMALL, "clips": 60, "identities": 3})):
        packet = make_packet(spec.seed)
        face = np.random.default_rng(spec.identity).integers(0, 240, (64, 64, 3))
        onset = (face + np.random.default_rng(spec.seed).integers(0, 15, face.shape)).astype("u1")
        found.append(TestClip(spec, np.zeros((20, 2), np.float32), {**packet, "onset": onset}))
    found[7] = TestClip(found[7].spec, found[7].motion, None)
    return found


def test_identity_is_found_where_it_was_put(explainer: Explainer, clips: list[TestClip]) -> None:
    found = identity_probe(explainer, clips)
    assert found.faces == 2  # the third lost a clip and has 19
    assert found.chance == pytest.approx(0.5)
    assert found.accuracy["structure"] == 1.0
    assert found.accuracy["motion"] < 0.8
    with pytest.raises(UserError, match="0 faces with 20 clips"):
        identity_probe(explainer, clips[:30])


def test_alignment_is_of_every_pair(explainer: Explainer, clips: list[TestClip]) -> None:
    tokens = encoded(explainer, clips)
    assert {len(values) for values in tokens.values()} == {len(clips) - 1}  # one shows no face
    same = {**tokens, "texture": tokens["motion"] * 2}
    assert alignment(same)["texture", "motion"] == pytest.approx(1.0)
    assert abs(alignment(tokens)["structure", "motion"]) < 0.3


# --------------------------------------------------------------------- calibration


@pytest.fixture
def plan(small: Path, tmp_path: Path, tiny_checkpoint: Path) -> Path:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for file in tiny_checkpoint.iterdir():
        (checkpoint / file.name).symlink_to(file)
    values: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "recipes": [str(tmp_path / "recipe.yaml")],
        "data": [{**SMALL, "clips": 40, "first_identity": 800000, "seed": 8000000}],
        "apart_from": [str(small), str(ROOT / "eval" / "benchmarks" / "simulated.yaml")],
        "cache": str(tmp_path / "cache"),
    }
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_calibration_is_fitted_and_used(plan: Path, tmp_path: Path) -> None:
    figures, written = calibrate.calibrate(plan)
    named = by_name(figures)
    fitted = Calibration.load(tmp_path / "checkpoint")
    assert written.parent == tmp_path / "checkpoint"
    for name in ("coarse", "three", "seven"):
        assert fitted.temperatures[name] == named[f"temperature_{name}"].value
    assert fitted.fitted_on["clips"] == 40 and fitted.fitted_on["subjects"] <= 6
    assert Explainer.load(tmp_path / "checkpoint").calibration == fitted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("data.0.first_identity=900000", "deft_simulated.yaml and validation share own9"),
        ("data.0.first_identity=920000", "deft_simulated.yaml and validation share own92"),
        ("data=[]", "no validation clips"),
    ],
)
def test_tested_faces_are_no_validation_faces(
    plan: Path, tmp_path: Path, change: str, word: str
) -> None:
    values = read_yaml(plan)
    key, _, value = change.partition("=")
    if key == "data":
        values["data"] = []
    else:
        values["data"][0]["first_identity"] = int(value)
    plan.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match=word):
        calibrate.calibrate(plan)
    assert not (tmp_path / "checkpoint" / "calibration.json").exists()


def test_the_pinned_plan_is_apart_from_the_benchmarks() -> None:
    values = read_yaml(ROOT / "eval" / "benchmarks" / "calibration.yaml")
    own = [SimulatedData(**s) for s in values["data"]]
    for name in values["apart_from"]:
        for tested in calibrate._tested(ROOT / name):
            for data in own:
                first, last = data.first_identity, data.first_identity + data.identities
                assert last <= tested.first_identity or (
                    first >= tested.first_identity + tested.identities
                )
