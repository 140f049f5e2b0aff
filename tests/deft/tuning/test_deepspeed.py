"""Processes on the CPU, with DeepSpeed and without: what is sharded trains, resumes and stops.

DeepSpeed is the extra ``deepspeed``; its operators are compiled at first use, which takes minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
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


def train(path: Path, machine: str, processes: int = 2) -> str:
    """Run train.py, far from the repository, in the processes of one of our configurations.

    Returns:
        What it logged.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = ["--accelerate", machine, "--processes", str(processes)]
    command = [sys.executable, str(ROOT / "train.py"), str(path), *start]
    done = subprocess.run(
        command, cwd=path.parent, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.parametrize("machine", ["many_gpus", pytest.param("zero2", marks=needs_deepspeed)])
def test_adapters_resume_bit_for_bit(
    machine: str, data: Path, text_folder: Path, tmp_path: Path
) -> None:
    """From the middle of the second epoch, which has an order of its own."""
    few = {**STAGE, "steps": 1}
    path = recipe(tmp_path, data, text_folder, experts=few, projectors=few)
    train(path, machine)
    run = tmp_path / "run"
    rows = [json.loads(row) for row in (run / "instruct.log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row.get("step") == 6] == [1.2]
    sharded = list((run / "instruct" / "checkpoint-6").glob("global_step6/*_optim_states.pt"))
    assert len(sharded) == (2 if machine == "zero2" else 0)  # one a process
    straight = (run / "final" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "instruct" / "checkpoint-8")
    assert "stage instruct goes on from" in train(path, machine)
    assert (run / "final" / "adapter_model.safetensors").read_bytes() == straight


@needs_deepspeed
@pytest.mark.parametrize("processes", [1, 2])
def test_the_whole_language_model_trains_under_zero3(
    processes: int, data: Path, text_folder: Path, tmp_path: Path
) -> None:
    """With validation, whose best model is gathered as the last one is."""
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
        validation={"share": 0.25, "every": 1},
    )
    train(path, "zero3", processes)
    weights = load_file(tmp_path / "run" / "final" / "model.safetensors")
    original = load_file(text_folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    trained = weights[f"language_model.{name}"]
    assert trained.shape == original[name].shape  # gathered, not a shard of it
    assert 0 < (trained - original[name]).abs().max() < 0.1
    best = load_file(tmp_path / "run" / "best" / "model.safetensors")
    assert best.keys() == weights.keys()
    assert best[f"language_model.{name}"].equal(trained)  # of the one step that was taken


@needs_deepspeed
def test_adapters_under_zero3_are_refused_before_any_work(
    data: Path, text_folder: Path, tmp_path: Path
) -> None:
    path = recipe(tmp_path, data, text_folder)
    with pytest.raises(AssertionError, match="ZeRO-3 does not carry adapters") as caught:
        train(path, "zero3", 1)
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_stop_reaches_all_processes(data: Path, text_folder: Path, tmp_path: Path) -> None:
    """They save the same step, the command ends as shells expect it, and leaves no traceback."""
    long = {**STAGE, "steps": 500, "save_every": 500}
    path = recipe(tmp_path, data, text_folder, experts=long)
    command = [sys.executable, str(ROOT / "train.py"), str(path), "--accelerate", "many_gpus"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, "--processes", "2"], env=environment, text=True, stderr=subprocess.PIPE
    ) as process:
        log = tmp_path / "run" / "experts.log.jsonl"
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said[-3000:]
    assert "Traceback" not in said
    assert "stopped; the same command goes on" in said
    (saved,) = (tmp_path / "run" / "experts").glob("checkpoint-*")
    assert len(list(saved.glob("rng_state_*.pth"))) == 2
    assert not (tmp_path / "run" / "run.lock").exists()
