"""The files of ``train_configs``: every one is read by what it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from safetensors import safe_open

from deft_llm import resources
from deft_llm.config import read_yaml, validate_settings
from deft_llm.deft.tuning.cost import estimate_cost
from deft_llm.deft.tuning.flow_instruction import DeftFlowRecipe
from deft_llm.deft.tuning.recipe import DeftRecipe
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


def test_the_dry_run_of_a_checkpoint_counts_what_it_holds(tiny_checkpoint: Path) -> None:
    values = read_yaml(CONFIGS / "deft" / "small.yaml")
    values.pop("task")
    text = "\n".join(estimate_cost({**values, "checkpoint": str(tiny_checkpoint)}, "small.yaml"))
    with safe_open(tiny_checkpoint / "model.safetensors", "pt") as weights:
        names = [n for n in weights.keys() if n.startswith("experts.")]  # noqa: SIM118
        size = sum(weights.get_tensor(n).numel() for n in names)
    assert f"parameters       experts {size / 1e3:.2f} k" in text


def test_the_estimate_of_a_7b_model_fits_the_gpus_that_its_recipes_name(tmp_path: Path) -> None:
    """Qwen2.5-7B's published sizes, in the file form of the hub; 7.6 billion parameters."""
    pytest.importorskip("bitsandbytes")  # the 4-bit recipe is refused without it
    sizes = {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    need = {}
    for name in ("lora", "qlora"):
        values = read_yaml(CONFIGS / "deft" / f"qwen2.5-7b-{name}.yaml")
        values.pop("task")
        values["text_model"]["name_or_path"] = str(tmp_path)
        text = "\n".join(estimate_cost({**values, "device": "any"}, name))
        assert "language_model 7.62 B" in text
        assert "language_model 40.4" in text  # adapters of rank 16 on all linear layers
        need[name] = float(text.rpartition("about ")[2].split()[0])
    assert need["qlora"] < 0.7 * need["lora"]
    assert need["qlora"] < 24
    assert need["lora"] < 40


def test_a_task_without_an_estimate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("task: flow\n")
    with pytest.raises(UserError, match="task flow has no dry run; those that have: deft"):
        tasks.estimate_cost(path)
