"""The recipes for a large language model, run whole: with a tiny one of the same family.

QLoRA needs the extra ``quantization``; bitsandbytes' layers run on a CPU as well.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning.export import export
from deft_llm.deft.tuning.stages import STAGES
from deft_llm.files import read_lines
from deft_llm.training import tasks

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs the extra quantization"
)


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("qwen2.5-7b-lora", []),
        ("qwen2.5-7b-lora", ["text_model.use_dora=true", "instruct.packing=1024"]),
        pytest.param("qwen2.5-7b-qlora", [], marks=needs_bitsandbytes),
        pytest.param("qwen2.5-7b-qlora", ["text_model.quantize=8"], marks=needs_bitsandbytes),
    ],
)
def test_a_large_recipe_trains_validates_resumes_and_merges(
    recipe: str, changes: list[str], data: Path, text_folder: Path, tmp_path: Path
) -> None:
    """Only the sizes, the steps and the machine differ from the recipe as it is."""
    short = ["steps=2", "batch_size=2", "save_every=1", "log_every=1"]
    overrides = [
        f"output={tmp_path / 'run'}",
        f"folders=[{data}]",
        f"text_model.name_or_path={text_folder}",
        "device=any",
        "validation.share=0.25",
        "validation.every=1",
        *(f"{stage}.{setting}" for stage in STAGES for setting in short),
        *changes,
    ]
    path = ROOT / "train_configs" / "deft" / f"{recipe}.yaml"
    tasks.run(path, overrides)
    run = tmp_path / "run"
    straight = load_file(run / "final" / "adapter_model.safetensors")
    assert any("lora_B" in name and x.abs().sum() > 0 for name, x in straight.items())
    assert json.loads((run / "best" / "score.json").read_text())["step"] in (1, 2)
    for stage in STAGES:
        rows = list(read_lines(run / f"{stage}.log.jsonl"))
        assert [row["step"] for row in rows if "eval_loss" in row] == [1, 2]
    for gone in (run / "final", run / "instruct" / "checkpoint-2"):
        shutil.rmtree(gone)
    tasks.run(path, overrides)
    resumed = load_file(run / "final" / "adapter_model.safetensors")
    differing = [n for n, x in resumed.items() if not torch.equal(x, straight[n])]
    assert not differing
    merged = export(run, tmp_path / "merged", merge=True)
    assert Explainer.load(merged).model.config.text_config.model_type == "qwen2"
