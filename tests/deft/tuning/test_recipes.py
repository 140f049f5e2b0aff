"""The files of ``train_configs``: every one is read by what it is for."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors import safe_open

from deft_llm import resources
from deft_llm.config import read_yaml, validate_settings
from deft_llm.deft.tuning import speed
from deft_llm.deft.tuning.cost import expert_operations, skeleton, stage_cost, text_operations
from deft_llm.deft.tuning.dry_run import estimate_cost
from deft_llm.deft.tuning.flow_instruction import DeftFlowRecipe
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.speed import measured_speed
from deft_llm.errors import UserError
from deft_llm.training import tasks

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "train_configs"
ACCELERATE = sorted((CONFIGS / "accelerate").glob("*.yaml"))
RECIPES = sorted((CONFIGS / "deft").glob("*.yaml"))


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.stem)
def test_accelerate_reads_its_configuration(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert config.num_processes >= config.num_machines >= 1
    sharding = getattr(config, "deepspeed_config", None) or {}
    assert bool(sharding) is path.stem.startswith("zero")
    if sharding:
        # In the file itself: a path to another one would hold in a checkout alone.
        assert "deepspeed_config_file" not in sharding
        assert f"zero{sharding['zero_stage']}" == path.stem
        for name in ("gradient_accumulation_steps", "gradient_clipping"):
            assert sharding[name] == "auto"  # the recipe's
    assert resources.machine(path.stem) == path


def test_every_kind_of_machine_has_a_configuration() -> None:
    names = {path.stem for path in ACCELERATE}
    assert names == {"cpu", "one_gpu", "many_gpus", "zero2", "zero3", "multi_node"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid(path: Path) -> None:
    values = read_yaml(path)
    kinds: dict[str, Any] = {"deft": DeftRecipe, "deft_flow": DeftFlowRecipe}
    recipe: Any = validate_settings(kinds[values.pop("task")], values, str(path))
    assert recipe.output.name == f"deft-{path.stem.replace('_', '-')}"
    assert (getattr(recipe, "device", "any") == "cuda") is ("7b" in path.stem)


def test_the_tiny_recipe_leaves_out_what_came_later() -> None:
    values = read_yaml(CONFIGS / "deft" / "tiny.yaml")
    values.pop("task")
    recipe = validate_settings(DeftRecipe, values, "tiny.yaml")
    assert recipe.projectors.steps == 0
    assert not recipe.folders
    assert not recipe.model.get("backbones")
    assert not recipe.model.get("orthogonality_weight")


def estimated(**changes: Any) -> str:
    values = read_yaml(CONFIGS / "deft" / "tiny.yaml")
    values.pop("task")
    return "\n".join(estimate_cost({**values, **changes}, "tiny.yaml"))


def test_the_dry_run_names_tokens_parameters_and_memory() -> None:
    text = estimated()
    assert "tokens per clip  58 (structure 4, texture 4, motion 44, tags 6)" in text
    assert "projectors       left out" in text
    assert text.count("GiB a process") == 2


def test_the_time_of_a_dry_run_is_that_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUs differ by a factor of ten and more in how fast they train small networks."""
    asked = []

    def measured(model: Any, name: str, bf16: bool) -> float:
        asked.append((name, bf16))
        return {"experts": 2e11, "instruct": 5e10}[name]

    monkeypatch.setattr("deft_llm.deft.tuning.dry_run.measured_speed", measured)
    text = estimated()
    assert asked == [("experts", True), ("instruct", True)]
    assert "at the 0.2 TFLOP/s measured here" in text and "at the 0.05 TFLOP/s" in text
    assert "roughly" in text and "at least" not in text


@pytest.mark.parametrize("name", ["experts", "instruct"])
def test_a_speed_is_operations_over_seconds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = read_yaml(CONFIGS / "deft" / "tiny.yaml")
    values.pop("task")
    model = skeleton(validate_settings(DeftRecipe, values, "tiny.yaml"))
    ticks = iter(range(100))
    monkeypatch.setattr(speed.time, "thread_time", lambda: 2.0 * next(ticks))
    forwards = (expert_operations if name == "experts" else text_operations)(model)
    # A pass backwards takes two forwards; every one of our passes takes two seconds here.
    assert measured_speed(model, name, False) == 3 * speed._ROWS * forwards / 2


def test_the_dry_run_of_a_checkpoint_counts_what_it_holds(tiny_checkpoint: Path) -> None:
    values = read_yaml(CONFIGS / "deft" / "own_data.yaml")
    values.pop("task")
    text = "\n".join(estimate_cost({**values, "checkpoint": str(tiny_checkpoint)}, "own_data.yaml"))
    with safe_open(tiny_checkpoint / "model.safetensors", "pt") as weights:
        names = [n for n in weights.keys() if n.startswith("experts.")]  # noqa: SIM118
        size = sum(weights.get_tensor(n).numel() for n in names)
    assert f"parameters       experts {size / 1e3:.2f} k" in text


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, no network, no cache of the hub, and none of the packages for large models."""

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    monkeypatch.setattr("deft_llm.deft.tuning.recipe.find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_estimate_of_a_7b_model_fits_the_gpus_that_its_recipes_name(unconnected: None) -> None:
    """Qwen2.5-7B's published sizes come with the recipes; 7.6 billion parameters."""
    need = {}
    for name in ("lora", "qlora"):
        values = read_yaml(CONFIGS / "deft" / f"qwen2.5-7b-{name}.yaml")
        values.pop("task")
        text = "\n".join(estimate_cost(values, name))
        assert "language_model 7.62 B; 7.66 B in all" in text
        assert "3000 steps of 16 conversations, 15.07 M tokens; trains 84.99 M (1.1%)" in text
        # ZeRO-3 refuses adapters, so no room is reckoned for it.
        assert "ZeRO-2" in text and "ZeRO-3" not in text
        assert "at the 150 TFLOP/s assumed of an A100" in text
        assert "not here         made for a CUDA GPU" in text
        assert ("needs the package bitsandbytes" in text) is (name == "qlora")
        assert "language_model 40.4" in text  # adapters of rank 16 on all linear layers
        need[name] = float(text.rpartition("about ")[2].split()[0])
    assert need["qlora"] < 0.7 * need["lora"]
    assert need["qlora"] < 24
    assert need["lora"] < 40


def test_room_is_reckoned_for_what_can_be_launched(unconnected: None) -> None:
    """DeepSpeed refuses rewards; ZeRO-3 takes whole weights."""
    values = read_yaml(CONFIGS / "deft" / "qwen2.5-7b-lora.yaml")
    values.pop("task")
    values["text_model"] = {"name_or_path": "Qwen/Qwen2.5-7B-Instruct", "dtype": "bfloat16"}
    lines = estimate_cost({**values, "reward": {"steps": 10}, "validation": None}, "whole")
    starts = {line.split()[0]: i for i, line in enumerate(lines) if not line.startswith(" ")}
    instruct = lines[starts["instruct"] : starts["reward"]]
    assert any("ZeRO-2" in line and "ZeRO-3" in line for line in instruct)
    reward = lines[starts["reward"] : starts["not"]]
    assert "about" in reward[1] and not any("ZeRO" in line for line in reward)


def test_zero_spreads_what_its_stage_spreads(unconnected: None) -> None:
    values = read_yaml(CONFIGS / "deft" / "qwen2.5-7b-lora.yaml")
    values.pop("task")
    recipe = validate_settings(DeftRecipe, {**values, "text_model": {
        "name_or_path": "Qwen/Qwen2.5-7B-Instruct", "dtype": "bfloat16"}}, "whole")  # fmt: skip
    cost = stage_cost(recipe, "instruct", skeleton(recipe))
    assert cost.trained["language_model"] == 7_615_616_512  # as the hub says
    # Weights, gradient and two moments in bfloat16: four times 2 bytes.
    assert cost.states == pytest.approx(3 * 2 * 7_615_616_512, rel=0.05)
    # Six operations a weight and token, two more where activations are computed again.
    tokens = 3000 * 16 * (58 + 256)
    matrices = 7_615_616_512 - 152_064 * 3584  # the table of embeddings is looked up
    assert cost.operations == pytest.approx(8 * matrices * tokens, rel=0.05)


def test_a_task_without_an_estimate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("task: flow\n")
    with pytest.raises(UserError, match="task flow has no dry run; those that have: deft"):
        tasks.estimate_cost(path)
