"""A new language model behind the experts of a checkpoint, by adapters that stand on their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deft_llm import resources
from deft_llm.config import validate_settings
from deft_llm.deft.inference import adapted
from deft_llm.deft.inference.adapted import model_path
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.loading import load_model
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.export import export
from deft_llm.deft.tuning.model import build_model
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.downloads import SMOLLM2
from deft_llm.errors import UserError
from deft_llm.queries.language_model import QuestionReader, ReaderConfig
from deft_llm.weights import save_network

ROOT = Path(__file__).resolve().parents[3]
NEEDED = ("adapter_config.json", "adapter_model.safetensors", "config.json")


@pytest.fixture(scope="module")
def values(data: Path, tiny_checkpoint: Path, text_folder: Path) -> dict[str, Any]:
    """Settings of a run with a published language model behind a checkpoint's experts."""
    stage = {"steps": 2, "batch_size": 4, "save_every": 2}
    return {
        "templates": str(ROOT / "deft_llm" / "unimer" / "templates"),
        "folders": [str(data)],
        "experts_from": str(tiny_checkpoint),
        "text_model": {"name_or_path": str(text_folder), "lora_rank": 2, "dtype": "float32"},
        "experts": {"steps": 0},
        "projectors": stage,
        "instruct": {**stage, "freeze_experts": True},
        "save_dtype": "bfloat16",
    }


@pytest.fixture(scope="module")
def run(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("adapted") / "run"
    deft.train({**values, "output": str(folder)}, "test")
    return folder


def test_a_new_model_begins_with_the_experts_of_a_checkpoint(
    values: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    recipe = validate_settings(DeftRecipe, {**values, "output": str(tmp_path)}, "test")
    model, _ = build_model(recipe)
    begun = load_file(tiny_checkpoint / "model.safetensors")
    own = dict(model.named_parameters())
    copied = [name for name in own if name.startswith(("experts.", "heads."))]
    assert copied and all(torch.equal(own[name], begun[name]) for name in copied)
    assert model.config.text_config.model_type == "qwen2"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"checkpoint": "embedded", "text_model": {}}, "a checkpoint has its own experts"),
        ({"model": {"expert_dim": 64}}, "leave out expert_dim"),
        ({"experts_from": "nowhere"}, "nowhere: no config.json"),
    ],
)
def test_experts_come_from_one_place(
    values: dict[str, Any], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        deft.train({**values, **changes, "output": str(tmp_path / "run")}, "test")


def test_saved_adapters_have_the_type_of_the_recipe(run: Path) -> None:
    tensors = load_file(run / "final" / "adapter_model.safetensors")
    assert {x.dtype for x in tensors.values()} == {torch.bfloat16}


def test_adapters_in_the_package_make_the_model_that_a_merge_makes(
    run: Path, text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    for name in NEEDED:
        shutil.copy(run / "final" / name, adapters)
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resources, "adapters", lambda name: adapters)
    monkeypatch.setattr(resources, "reader", lambda name: tmp_path / "none")
    with pytest.raises(UserError, match="`deft-llm models get smollm2` downloads it"):
        model_path(SMOLLM2)
    shutil.copytree(text_folder, tmp_path / "cache" / SMOLLM2)
    mine = Explainer.load(SMOLLM2)
    wanted = Explainer.load(export(run, tmp_path / "merged", merge=True)).model.state_dict()
    for name, x in mine.model.state_dict().items():  # kept as float16
        torch.testing.assert_close(x, wanted[name], rtol=2e-3, atol=2e-4)
    asked = [{"role": "user", "content": "<clip>Which emotion?"}]
    assert mine.processor.span in mine.processor.chat(asked).replace("<clip>", mine.processor.span)
    # The second time it is only read.
    monkeypatch.setattr(adapted.registry, "resolve", lambda *_: pytest.fail("made again"))
    assert model_path(SMOLLM2).name.startswith(f"{SMOLLM2}-")


def test_a_damaged_language_model_is_told(
    run: Path, text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path))
    monkeypatch.setattr(resources, "adapters", lambda name: run / "final")
    shutil.copytree(text_folder, tmp_path / SMOLLM2)
    weights = tmp_path / SMOLLM2 / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"deft-llm models.*damaged|damaged") as caught:
        Explainer.load(SMOLLM2)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".partial"] == [SMOLLM2]


def test_a_model_without_adapters_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path))
    (tmp_path / SMOLLM2).mkdir()
    (tmp_path / SMOLLM2 / "model.safetensors").touch()
    monkeypatch.setattr(resources, "adapters", lambda name: tmp_path / "none")
    monkeypatch.setattr(resources, "reader", lambda name: tmp_path / "none")
    with pytest.raises(UserError, match="has no adapters for it"):
        model_path(SMOLLM2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smolm2", "; did you mean 'smollm2'?"),
        ("imbedded", "; did you mean 'embedded'?"),
        ("x", ""),
    ],
)
def test_a_model_that_is_not_there_names_those_to_choose_from(name: str, hint: str) -> None:
    with pytest.raises(UserError) as told:
        model_path(name)
    assert str(told.value) == (
        f"checkpoint {name}: no such folder; expected embedded, smollm2 or the folder that "
        f"train.py writes as final/{hint}"
    )


def test_a_language_model_reads_the_questions_and_the_embedded_one_judges(
    tiny_checkpoint: Path, text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resources, "adapters", lambda name: tmp_path / "none")
    monkeypatch.setattr(resources, "reader", lambda name: tmp_path / "reader")
    monkeypatch.setattr(resources, "checkpoint", lambda folder="embedded": tiny_checkpoint)
    shutil.copytree(text_folder, tmp_path / "cache" / SMOLLM2)
    assert adapted.adapted_models() == []
    frames = ("moved?", "blink?")
    reader = QuestionReader(ReaderConfig(layers=1, lora_rank=2, frames=frames))
    (tmp_path / "reader").mkdir()
    save_network(reader, tmp_path / "reader")
    assert adapted.adapted_models() == [SMOLLM2]
    explainer = Explainer.load(SMOLLM2)
    assert explainer.reader is not None and explainer.reader.frames == frames
    assert Explainer.load("embedded").reader is None
    wanted = load_model(tiny_checkpoint)[0].state_dict()
    assert all(torch.equal(x, wanted[name]) for name, x in explainer.model.state_dict().items())
