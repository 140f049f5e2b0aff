"""The recognizer of docs/adding_a_recognizer.md, from its page into everything that reads one.

One file and one line in the registry: with these it is trained by a recipe, stands in a benchmark's
table and is the backbone of DEFT-LLM's motion expert, with the weights that it was trained to.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from sys import modules

import pytest
import torch
from safetensors.torch import load_file

from deft_llm.data.features import Features
from deft_llm.data.inputs import INPUTS
from deft_llm.deft.backbones import ExpertBackbone, resolve_backbones
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftFeatureExtractor
from deft_llm.evaluation.benchmark import run as run_benchmark
from deft_llm.recognizers.base import RECOGNIZERS
from deft_llm.training import tasks
from tests.evaluation.recognition.conftest import SUBJECTS, write_benchmark
from tests.recognizers.conftest import write_folder

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding_a_recognizer.md"


def example() -> str:
    """The page's one complete file."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return code


@pytest.fixture
def tiny_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file, saved and imported, and the line in the registry."""
    (file := tmp_path / "tiny_flow.py").write_text(example(), encoding="utf-8")
    found = spec_from_file_location("tiny_flow", file)
    assert found is not None and found.loader is not None
    module = module_from_spec(found)
    monkeypatch.setitem(modules, "tiny_flow", module)
    found.loader.exec_module(module)
    monkeypatch.setitem(RECOGNIZERS, "tiny_flow", "tiny_flow:TinyFlowNet")
    yield


def test_the_page_lists_every_input() -> None:
    rows = PAGE.read_text(encoding="utf-8").partition("The inputs that exist:")[2]
    table = rows.partition("They are made in")[0]
    firsts = [row.split("|")[1] for row in table.strip().splitlines()]
    assert sorted(re.findall(r"`(\w+)`", "|".join(firsts))) == sorted(INPUTS)


def test_the_page_shows_sixty_lines() -> None:
    assert len(example().splitlines()) <= 60


@pytest.mark.usefixtures("tiny_flow")
def test_one_file_and_one_line_are_enough(
    tmp_path: Path,
    make_features: Callable[[int], Features],
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = tmp_path / "run" / "final"
    changes = {
        "recognizer": "tiny_flow",
        "data": write_folder(tmp_path / "train", make_features, "s"),
        "test": write_folder(tmp_path / "test", make_features, "t"),
        "output": tmp_path / "run",
        "batch_size": 4,
        "schedule.steps": 2,
    }
    recipe = ROOT / "train_configs" / "recognizers" / "htnet.yaml"
    tasks.run(recipe, [f"{key}={value}" for key, value in changes.items()])
    assert (trained / "model.safetensors").is_file()
    assert 0 <= json.loads((trained / "scores.json").read_text())["uf1"] <= 1

    file = write_benchmark(tmp_path)
    monkeypatch.setenv("DEFT_DATA", str(tmp_path / "data"))
    schedule = "{epochs: 2, batch_size: 8, processes: 1}"
    entry = [f"entries.tiny.{key}" for key in ("recognizer=tiny_flow", f"schedule={schedule}")]
    run_benchmark(file, [*entry, "models=[lr,tiny]", "seeds=1", "bars={}", "figures=[]"])
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as table:
        assert {row["model"] for row in csv.DictReader(table)} == {"lr", "tiny"}
    assert len(list((tmp_path / "out" / "rows").glob("tiny-*/*.jsonl"))) == len(SUBJECTS)

    config = DeftConfig.from_pretrained(tiny_checkpoint)
    config.backbones = {"motion": {"name": "tiny_flow", "weights": str(trained)}}
    resolve_backbones(config)
    model = DeftForConditionalGeneration(config).eval()
    (backbone,) = (m for m in model.modules() if isinstance(m, ExpertBackbone))
    backbone.load()
    for name, values in load_file(trained / "model.safetensors").items():
        assert torch.equal(backbone.net.state_dict()[name], values), name
    shown = [DeftFeatureExtractor()([make_features(seed)]) for seed in (0, 1)]
    one, other = (model.get_clip_features(**clip)["motion"] for clip in shown)
    assert one.shape == (1, config.token_counts()["motion"], config.expert_dim)
    assert not torch.equal(one, other)
