"""Training that goes on from a checkpoint: all of it, interpolated with it, or by adapters."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deft_llm.config import validate_settings
from deft_llm.deft.inference.loading import require_whole
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.export import export
from deft_llm.deft.tuning.model import build_model, module_of
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
HALF = {"weight_interpolation": 0.5}


@pytest.fixture(scope="module")
def going_on(data: Path, tiny_checkpoint: Path) -> dict[str, Any]:
    """Settings of a run that goes on from a checkpoint, whole."""
    stage = {"steps": 2, "batch_size": 4, "save_every": 2}
    return {
        "templates": str(ROOT / "deft_llm" / "unimer" / "templates"),
        "folders": [str(data)],
        "checkpoint": str(tiny_checkpoint),
        "experts": stage,
        "projectors": {"steps": 0},
        "instruct": {**stage, "freeze_experts": True},
    }


def test_a_checkpoint_goes_on_learning(
    going_on: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    begun = load_file(tiny_checkpoint / "model.safetensors")
    values = {**going_on, "output": str(tmp_path / "run")}
    fresh, processor = build_model(validate_settings(DeftRecipe, values, "test"))
    assert all(torch.equal(x, begun[name]) for name, x in fresh.named_parameters() if name in begun)
    deft.train(values, "test")
    trained = load_file(tmp_path / "run" / "final" / "model.safetensors")
    assert trained.keys() == begun.keys()
    assert {module_of(n) for n in trained if not torch.equal(trained[n], begun[n])} == {
        "experts",
        "heads",
        "projectors",
        "language_model",
    }
    kept = DeftProcessor.from_pretrained(tmp_path / "run" / "final")
    assert kept.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    card = (export(tmp_path / "run", tmp_path / "out") / "README.md").read_text()
    place = "/".join(tiny_checkpoint.parts[-2:])
    assert f"that of the checkpoint `{place}`" in card
    assert str(tiny_checkpoint.parent.parent) not in card


def test_what_was_learnt_is_interpolated_with_what_was_known(
    going_on: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    saved = {}
    for share in (1.0, 0.25):
        output = tmp_path / str(share)
        deft.train({**going_on, "weight_interpolation": share, "output": str(output)}, "test")
        saved[share] = load_file(output / "final" / "model.safetensors")
    begun = load_file(tiny_checkpoint / "model.safetensors")
    for name, first in begun.items():
        wanted = 0.25 * saved[1.0][name] + 0.75 * first
        torch.testing.assert_close(saved[0.25][name], wanted, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_learns_by_adapters_alone(
    going_on: dict[str, Any],
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its relative paths are found again from another folder."""
    shutil.copytree(tiny_checkpoint, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    settings = {**going_on, "checkpoint": "base", "text_model": {"lora_rank": 2}, "output": "run"}
    deft.train(settings, "test")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    state = load_file(tmp_path / "run" / "final" / "adapter_model.safetensors")
    assert not any(
        "language_model" in name and "lora" not in name for name in state if "embed" not in name
    )
    export(tmp_path / "run", tmp_path / "merged", merge=True)
    begun = load_file(tiny_checkpoint / "model.safetensors")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    changed = {n for n in merged if not torch.equal(merged[n], begun[n])}
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name for name in changed if module_of(name) == "language_model")


def test_the_folder_of_a_run_leads_to_its_model(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "run" / "final")
    with pytest.raises(UserError, match=r"no config\.json; .* did you mean .*run/final"):
        require_whole(tmp_path / "run")
    require_whole(tmp_path / "run" / "final")
    (tmp_path / "recognizer").mkdir()
    with pytest.raises(UserError, match=r"a recipe of task deft$"):
        require_whole(tmp_path / "recognizer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_model": {"config": {"model_type": "qwen3"}}}, "leave out name_or_path and config"),
        ({"model": {"map_size": 28}}, "leave out map_size"),
        ({"checkpoint": "/nowhere"}, "checkpoint /nowhere: no config.json"),
        ({"checkpoint": None}, "no language model: give"),
        (
            {**HALF, "text_model": {"lora_rank": 2}},
            "adapters are not interpolated: say weight_interpolation=1",
        ),
        ({**HALF, "checkpoint": None}, "weight_interpolation needs a checkpoint"),
    ],
)
def test_a_checkpoint_brings_its_own_model(
    going_on: dict[str, Any], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        deft.train({**going_on, "output": str(tmp_path / "run"), **changes}, "test")
    assert not (tmp_path / "run" / "final").exists()
