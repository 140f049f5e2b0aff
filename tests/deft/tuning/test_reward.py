"""The stage of rewards: what it learns and leaves alone, its log, resume, controls, bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm.config import validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning import reward as reward_stage
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.datasets import ExpertTokens
from deft_llm.deft.tuning.dry_run import estimate_cost
from deft_llm.deft.tuning.model import module_of
from deft_llm.deft.tuning.policy import advantages, answer_mask, policy_loss
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.reward_data import RewardDataset
from deft_llm.deft.tuning.stage_settings import RewardStage
from deft_llm.errors import UserError
from deft_llm.unimer import unlabelled
from deft_llm.unimer.unlabelled import clips_in, measure_folder

ROOT = Path(__file__).resolve().parents[3]
STAGE: dict[str, Any] = {
    **{"steps": 4, "batch_size": 2, "samples": 3, "longest": 24, "tokens": 8},
    **{"save_every": 2, "log_every": 1, "learning_rate": 1e-3, "bf16": False},
}


@pytest.fixture(scope="module")
def values(tiny_checkpoint: Path, data: Path) -> dict[str, Any]:
    """The stage alone, from an untrained checkpoint, on a folder of clips."""
    return {
        "templates": str(ROOT / "deft_llm" / "unimer" / "templates"),
        "checkpoint": str(tiny_checkpoint),
        "folders": [str(data)],
        "labels": "none",
        "experts": {"steps": 0},
        "instruct": {"steps": 0},
        "reward": STAGE,
    }


@pytest.fixture(scope="module")
def run(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    output = tmp_path_factory.mktemp("reward") / "run"
    deft.train({**values, "output": str(output)}, "test")
    return output


def rows(output: Path) -> list[dict[str, Any]]:
    lines = (output / "reward.log.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "loss" in row]


def changed(before: Path, after: Path) -> set[str]:
    """Modules whose weights differ."""
    old, new = (load_file(path / "model.safetensors") for path in (before, after))
    return {module_of(name) for name in old if not torch.equal(old[name], new[name])}


def test_language_model_and_projectors_learn_and_the_experts_stay(
    run: Path, tiny_checkpoint: Path
) -> None:
    assert changed(tiny_checkpoint, run / "final") == {"projectors", "language_model"}
    assert Explainer.load(run / "final").model is not None


def test_the_log_has_every_part(run: Path) -> None:
    logged = rows(run)
    assert [row["step"] for row in logged] == [1, 2, 3, 4]
    parts = {"reward_precision", "reward_recall", "reward_length", "reward", "kl", "tokens"}
    assert all(parts | {"constant_groups", "reward_spread"} <= row.keys() for row in logged)
    assert logged[0]["kl"] == pytest.approx(0, abs=1e-5)  # it begins as the model before
    assert logged[-1]["kl"] > 1e-4
    assert "reward_labels" not in logged[0]


def test_a_run_that_lost_its_last_steps_ends_bit_equal(
    run: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    """The samples, too, are drawn again, and the model before is still the first one."""
    output = tmp_path / "run"
    shutil.copytree(run, output)
    shutil.rmtree(output / "final")
    shutil.rmtree(output / "reward" / "checkpoint-4")
    deft.train({**values, "output": str(output)}, "test")
    name = "final/model.safetensors"
    assert (output / name).read_bytes() == (run / name).read_bytes()
    assert rows(output)[2:] == [{**row} for row in rows(run)[2:]]


def test_labels_are_out_of_reach(data: Path) -> None:
    clips = ClipDataset.open(data).without_labels()
    for record in clips.records:
        assert (record.emotion, record.aus, record.evidence, record.spec) == (None, (), (), "")
        assert not record.emotion_known
    assert clips[0].truth is None and clips[0].features is not None


def test_adapters_learn_after_instruction_and_the_rest_of_the_model_stays(
    values: dict[str, Any], text_folder: Path, tmp_path: Path
) -> None:
    """Instruction tuning and rewards in one run, on a published language model, resumed."""
    stage = {"steps": 1, "batch_size": 2, "save_every": 1}
    both = {
        **{key: value for key, value in values.items() if key != "checkpoint"},
        "labels": "coded",
        "text_model": {"name_or_path": str(text_folder), "lora_rank": 2},
        "model": {"expert_dim": 16},
        "instruct": {**stage, "freeze_experts": True},
        "reward": {**STAGE, "steps": 2, "save_every": 1, "gradient_checkpointing": True},
        "output": str(tmp_path / "run"),
    }
    deft.train(both, "test")
    taught = load_file(tmp_path / "run" / "instruct.safetensors")
    adapters = load_file(tmp_path / "run" / "final" / "adapter_model.safetensors")
    assert any("lora_" in name for name in taught)
    moved = {
        module_of(name)
        for name, value in adapters.items()
        for key in [next((k for k in taught if k.replace(".default", "") == name), None)]
        if key is not None and not torch.equal(value, taught[key])
    }
    assert "language_model" in moved
    # The stage of instructions is not run again.
    shutil.rmtree(tmp_path / "run" / "final")
    shutil.rmtree(tmp_path / "run" / "reward" / "checkpoint-2")
    deft.train(both, "test")
    again = load_file(tmp_path / "run" / "final" / "adapter_model.safetensors")
    assert all(torch.equal(again[name], adapters[name]) for name in adapters)


def test_a_diverging_model_ends_with_the_last_good_weights(
    values: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = {**STAGE, "learning_rate": 1.0, "most_kl": 1e-3, "shape": "constant", "warmup": 0}
    with caplog.at_level("WARNING", "deft_llm"):
        deft.train({**values, "reward": wild, "output": str(tmp_path / "run")}, "test")
    assert "nats per token away from the model before" in caplog.text
    # The second step already was too far, so the weights are those of before the first.
    assert changed(tiny_checkpoint, tmp_path / "run" / "final") == set()


def test_a_resumed_model_that_diverges_ends_with_the_same_good_weights(
    run: Path,
    values: dict[str, Any],
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ended with the weights before the stage: all that it had learned was lost."""

    def diverging(steps: int) -> Any:
        left = [steps]

        def loss(*given: Any) -> Any:
            left[0] -= 1
            found, divergence = policy_loss(*given)
            return found, divergence * (1 if left[0] else float("nan"))

        return loss

    resumed, straight = tmp_path / "resumed", tmp_path / "straight"
    shutil.copytree(run, resumed)
    shutil.rmtree(resumed / "final")
    shutil.rmtree(resumed / "reward" / "checkpoint-4")
    for output, step in ((resumed, 1), (straight, 3)):
        monkeypatch.setattr(reward_stage, "policy_loss", diverging(step))
        deft.train({**values, "output": str(output)}, "test")
    name = "final/model.safetensors"
    assert (resumed / name).read_bytes() == (straight / name).read_bytes()
    assert changed(tiny_checkpoint, straight / "final")


def test_groups_without_a_difference_are_told_and_teach_nothing(
    values: dict[str, Any],
    tiny_checkpoint: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reward_stage.Task, "parts", lambda *_: {"precision": 1.0})
    plain = {**STAGE, "steps": 1, "weight_decay": 0.0}
    with caplog.at_level("WARNING", "deft_llm"):
        deft.train({**values, "reward": plain, "output": str(tmp_path / "run")}, "test")
    assert "no group of answers differs in its reward" in caplog.text
    assert rows(tmp_path / "run")[0]["constant_groups"] == 1.0
    assert changed(tiny_checkpoint, tmp_path / "run" / "final") == set()


@pytest.mark.slow
def test_two_processes_learn_together(values: dict[str, Any], tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"task": "deft", **values, "output": str(tmp_path / "run")}))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", "29631", str(ROOT / "train.py"), str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    subprocess.run(command, check=True, env=env, cwd=tmp_path, timeout=300)
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4]


def test_the_other_clip_of_the_control_is_never_the_own_one(data: Path, tmp_path: Path) -> None:
    clips = ClipDataset.open(data).without_labels()
    tokens: Any = ExpertTokens.__new__(ExpertTokens)
    processor: Any = type("P", (), {"prompts": {"class": "?"}, "span": "", "chat": _chat})()
    settings = {"questions": {"class": 1}, "measured_on": "another"}
    stage = validate_settings(RewardStage, settings, "test")
    control = RewardDataset(clips, processor, tokens, stage, seed=0)
    own = np.arange(len(clips))
    assert (control.judged_by != own).all()
    assert sorted(control.judged_by) == own.tolist()
    with pytest.raises(UserError, match="there is one clip, and no other"):
        RewardDataset(clips[:1], processor, tokens, stage, seed=0)
    with pytest.raises(UserError, match="no clip shows a face"):
        RewardDataset(clips[:0], processor, tokens, stage, seed=0)


def _chat(self: Any, turns: list[dict[str, str]], tools: Any = ()) -> str:
    return turns[0]["content"]


def test_advantages_are_normalised_in_their_group() -> None:
    gained = advantages(torch.tensor([[0.2, 0.4, 0.6], [0.5, 0.5, 0.5]]))
    assert gained[0].sum() == pytest.approx(0, abs=1e-6)
    assert gained[0, 2] == pytest.approx(0.2 / 0.22)
    assert gained[1].tolist() == [0, 0, 0]


def test_an_answer_lasts_to_its_first_end_token() -> None:
    mask = answer_mask(torch.tensor([[5, 2, 0, 0], [5, 6, 7, 8], [2, 5, 2, 0]]), (2, 3))
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


def test_the_gradient_raises_what_was_better_than_its_group() -> None:
    logp = torch.zeros(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    loss, divergence = policy_loss(logp, torch.zeros(2, 3), torch.tensor([1.0, -1.0]), mask, 0.1)
    loss.backward()
    assert divergence == 0
    assert logp.grad is not None
    assert logp.grad.sign().tolist() == [[-1, -1, 0], [1, 1, 1]]
    away, _ = policy_loss(logp, torch.ones(2, 3), torch.zeros(2), mask, 1.0)
    assert away > 0


# ------------------------------------------------------------------ one's own clips


def _film(features: Features | None) -> Any:
    def measure(path: Path) -> Any:
        if features is None:
            raise UserError("no face")
        return type("C", (), {"fps": 30.0})(), type("M", (), {"interval": None})()

    return measure


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    for name in ("b/2.mp4", "b/10.mp4", "a.mov", "notes.txt"):
        path = tmp_path / "footage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "footage"


def test_clips_are_found_in_natural_order(footage: Path, tmp_path: Path) -> None:
    names = [path.relative_to(footage).as_posix() for path in clips_in(footage)]
    assert names == ["a.mov", "b/2.mp4", "b/10.mp4"]
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "missing"):
        with pytest.raises(UserError, match="no clips; expected instruction data"):
            clips_in(tmp_path / folder)


def test_ones_own_clips_are_rewarded_without_a_label(
    values: dict[str, Any],
    footage: Path,
    make_features: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unlabelled.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(unlabelled, "measure_video", _film(make_features(0)))
    monkeypatch.setattr(unlabelled, "pack", lambda _: make_features(0))
    one = {**STAGE, "steps": 1}
    own = {**values, "folders": [str(footage)], "reward": one, "output": str(tmp_path / "run")}
    deft.train(own, "test")
    records = ClipDataset.open(tmp_path / "run" / "measured-1").records
    assert [(r.clip, r.subject) for r in records] == [
        ("a.mov", "a.mov"),
        ("b/2.mp4", "b"),
        ("b/10.mp4", "b"),
    ]
    assert (tmp_path / "run" / "final").is_dir()


def test_a_folder_without_any_face_says_so(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlabelled, "measure_video", _film(None))
    with pytest.raises(UserError, match=r"none of 3 clips can be measured, for example .*no face"):
        measure_folder(footage, tmp_path / "out", workers=1)


def test_clips_measured_before_are_those_of_the_folder(
    footage: Path, make_features: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, of clips with the same names, got the features of the first."""
    monkeypatch.setattr(unlabelled, "measure_video", _film(make_features(0)))
    monkeypatch.setattr(unlabelled, "pack", lambda _: make_features(0))
    out = tmp_path / "out"
    measure_folder(footage, out, workers=1)
    first = (out / "clips.jsonl").stat().st_mtime_ns
    measure_folder(footage, out, workers=1)
    assert (out / "clips.jsonl").stat().st_mtime_ns == first, "measured once"
    (footage / "b" / "2.mp4").write_bytes(b"another film")
    with pytest.raises(UserError, match=r"out was begun from .* give another folder"):
        measure_folder(footage, out, workers=1)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruct": {"steps": 1}}, "instruct learns from labels; say instruct.steps=0"),
        ({"reward": {}}, "there is only the reward to learn from"),
        ({"reward": {"steps": 1, "weights": {"labels": 1}}}, "reads the labels"),
        ({"reward": {"steps": 1, "weights": {"precison": 1}}}, "did you mean 'precision'"),
        ({"reward": {"steps": 1, "weights": {"recall": -1}}}, "expected 0 or more"),
        ({"reward": {"steps": 1, "questions": {"clas": 1}}}, "did you mean 'class'"),
        ({"reward": {"steps": 1, "questions": {"class": 0}}}, "nothing is asked"),
        ({"validation": {"share": 0.1, "every": 1}}, "leave validation out"),
        ({"checkpoint": None, "text_model": {"name_or_path": "x"}}, "give a checkpoint"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(
    values: dict[str, Any], change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        validate_settings(DeftRecipe, {**values, "output": str(tmp_path), **change}, "test")


def test_the_dry_run_counts_the_samples(values: dict[str, Any], tmp_path: Path) -> None:
    text = "\n".join(estimate_cost({**values, "output": str(tmp_path)}, "test"))
    assert "reward           4 steps of 6 conversations" in text


def test_a_record_without_labels_keeps_where_its_features_are() -> None:
    record = ClipRecord("c", "s", "fear", True, ("1",), shard="a.safetensors", row=3, fps=200.0)
    bare = record.without_labels()
    assert (bare.shard, bare.row, bare.fps, bare.emotion, bare.aus) == (
        *("a.safetensors", 3, 200.0),
        *(None, ()),
    )
