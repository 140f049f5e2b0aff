"""Two processes on the CPU, with DeepSpeed and without: what is sharded trains, and resumes.

DeepSpeed is the extra ``deepspeed``; its operators are compiled at first use, which takes minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow
needs_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="needs the extra deepspeed"
)
STAGE = {"steps": 8, "batch_size": 2, "save_every": 2, "log_every": 1, "bf16": False}


def recipe(folder: Path, data: Path, text_folder: Path, **changes: Any) -> Path:
    """All three stages on a tiny Qwen2.5, in float32: DeepSpeed wants a GPU for less."""
    values = {
        "task": "deft",
        "output": str(folder / "run"),
        "templates": str(ROOT / "deft_llm" / "unimer" / "templates"),
        "folders": [str(data)],
        "text_model": {"name_or_path": str(text_folder), "lora_rank": 2, "lora_dropout": 0.1},
        "model": {"expert_dim": 32},
        "experts": STAGE,
        "projectors": STAGE,
        "instruct": {**STAGE, "freeze_experts": True, "gradient_checkpointing": True},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def train(path: Path, sharding: str) -> str:
    """Run train.py as two processes; what it logged."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if sharding:
        named = ROOT / "train_configs" / "deepspeed" / f"{sharding}.json"
        environment["ACCELERATE_USE_DEEPSPEED"] = "true"
        environment["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(named)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launch, str(ROOT / "train.py"), str(path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.parametrize("sharding", ["", pytest.param("zero2", marks=needs_deepspeed)])
def test_adapters_resume_bit_for_bit(
    sharding: str, data: Path, text_folder: Path, tmp_path: Path
) -> None:
    """From the middle of the second epoch, which has an order of its own."""
    few = {**STAGE, "steps": 1}
    path = recipe(tmp_path, data, text_folder, experts=few, projectors=few)
    train(path, sharding)
    run = tmp_path / "run"
    rows = [json.loads(row) for row in (run / "instruct.log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row.get("step") == 6] == [1.2]
    sharded = list((run / "instruct" / "checkpoint-6").glob("global_step6/*_optim_states.pt"))
    assert len(sharded) == (2 if sharding else 0)  # one a process
    straight = (run / "final" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "instruct" / "checkpoint-8")
    assert "stage instruct goes on from" in train(path, sharding)
    assert (run / "final" / "adapter_model.safetensors").read_bytes() == straight


@needs_deepspeed
def test_the_whole_language_model_trains_under_zero3(
    data: Path, text_folder: Path, tmp_path: Path
) -> None:
    """Without adapters: PEFT asks for a CUDA device when new tokens' rows are sharded."""
    stage = {**STAGE, "steps": 1}
    text = {"name_or_path": str(text_folder)}
    path = recipe(
        tmp_path,
        data,
        text_folder,
        text_model=text,
        experts=stage,
        projectors=stage,
        instruct=stage,
    )
    train(path, "zero3")
    weights = load_file(tmp_path / "run" / "final" / "model.safetensors")
    original = load_file(text_folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    trained = weights[f"language_model.{name}"]
    assert trained.shape == original[name].shape  # gathered, not a shard of it
    assert 0 < (trained - original[name]).abs().max() < 0.1
