"""Three stages from a built folder: who learns when, the log, adapters, resume, export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from transformers import AutoModelForImageTextToText, set_seed

from deft_llm.config import read_yaml, validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import Features
from deft_llm.deft.processing_deft import DeftFeatureExtractor, DeftProcessor
from deft_llm.deft.tuning import stages as deft_stages
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.cost import skeleton, stage_cost
from deft_llm.deft.tuning.datasets import Collator, ExpertTokens, InstructionDataset
from deft_llm.deft.tuning.export import export
from deft_llm.deft.tuning.model import build_model, module_of, train_only
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
SMOKE = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")


@pytest.fixture(scope="module")
def values(data: Path, text_folder: Path) -> dict[str, Any]:
    """Qwen2.5 under LoRA, frozen experts in the last stage, all three stages."""
    values = {name: value for name, value in SMOKE.items() if name not in ("task", "data")}
    stage = {"steps": 4, "batch_size": 4, "save_every": 2, "log_every": 1}
    return {
        **values,
        "templates": str(ROOT / "deft_llm" / "unimer" / "templates"),
        "folders": [str(data)],
        "report_to": ["tensorboard"],
        "text_model": {"name_or_path": str(text_folder), "lora_rank": 2, "lora_dropout": 0.1},
        "experts": stage,
        "projectors": stage,
        "instruct": {
            **stage,
            "freeze_experts": True,
            "gradient_checkpointing": True,
            "learning_rates": {"projectors": 1e-4},
        },
    }


@pytest.fixture(scope="module")
def run(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    output = tmp_path_factory.mktemp("stages") / "run"
    deft.train({**values, "output": str(output)}, "test")
    return output


def built(values: dict[str, Any], output: Path, **changes: Any) -> tuple[Any, Any, DeftRecipe]:
    """The model as a run with these settings begins with it."""
    recipe = validate_settings(DeftRecipe, {**values, **changes, "output": str(output)}, "test")
    set_seed(recipe.seed)
    model, processor = build_model(recipe, *recipe.folders)
    return model, processor, recipe


def test_each_stage_leaves_what_it_taught(run: Path, values: dict[str, Any]) -> None:
    fresh = built(values, run)[0].state_dict()
    trained = {"experts": {"experts", "heads"}, "projectors": {"projectors"}}
    for stage, modules in trained.items():
        state = load_file(run / f"{stage}.safetensors")
        assert {module_of(name) for name in state} == modules
        for module in modules:
            names = [name for name in state if module_of(name) == module]
            assert any(not torch.equal(state[name], fresh[name]) for name in names), module
        checkpoint = load_file(run / stage / "checkpoint-4" / "model.safetensors")
        assert checkpoint.keys() == state.keys()  # no copy of the language model in each
    adapter = load_file(run / "final" / "adapter_model.safetensors")
    before = load_file(run / "experts.safetensors") | load_file(run / "projectors.safetensors")
    for name, value in before.items():
        same = torch.equal(adapter[f"base_model.model.{name}"], value)
        if module_of(name) != "projectors":
            assert same, name
        elif value.dim() == 2:
            assert not same, name
    assert any("lora_B" in name and value.abs().sum() > 0 for name, value in adapter.items())


def test_every_stage_logs_json_lines(run: Path) -> None:
    for stage in ("experts", "projectors", "instruct"):
        rows = [json.loads(row) for row in (run / f"{stage}.log.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]


@pytest.mark.parametrize("what", ["cut short", "of another model", "of another size"])
def test_a_stage_that_does_not_fit_is_one_line(
    what: str, run: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    """Weights that the model does not know would be left out, and the next stage start untaught."""
    output = tmp_path / "run"
    shutil.copytree(run, output)
    shutil.rmtree(output / "final")
    stage = output / "projectors.safetensors"
    state = load_file(stage)
    name, value = next(iter(state.items()))
    if what == "cut short":
        stage.write_bytes(stage.read_bytes()[:-1])
    elif what == "of another model":
        save_file({f"{name}.other": value}, stage)
    else:
        save_file({name: value[:-1].contiguous()}, stage)
    with pytest.raises(
        UserError, match=r"projectors\.safetensors: does not fit the model"
    ) as error:
        deft.train({**values, "output": str(output)}, "test")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stage", ["projectors", "instruct"])
def test_a_run_that_lost_its_last_steps_ends_bit_equal(
    stage: str,
    run: Path,
    values: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a process leaves it that is killed between the checkpoints of a stage."""
    output = tmp_path / "run"
    shutil.copytree(run, output)
    for gone in ("final", f"{stage}/checkpoint-4", *(["instruct"] if stage != "instruct" else [])):
        shutil.rmtree(output / gone)
    (output / f"{stage}.safetensors").unlink(missing_ok=True)
    with caplog.at_level("INFO", "deft_llm"):
        deft.train({**values, "output": str(output)}, "test")
    assert f"stage {stage} goes on from" in caplog.text
    assert "checkpoint-2" in caplog.text
    for name in ("adapter_model.safetensors", "adapter_config.json", "tokenizer.json"):
        assert (output / "final" / name).read_bytes() == (run / "final" / name).read_bytes()
    log = f"{stage}.log.jsonl"
    steps = [[json.loads(x).get("step") for x in (p / log).open()] for p in (output, run)]
    assert steps[0] == steps[1]


def ask(processor: DeftProcessor, features: Features) -> dict[str, Tensor]:
    return dict(
        processor([processor.chat([{"role": "user", "content": "<clip>Why?"}])], [features])
    )


@torch.no_grad()
def test_an_exported_merge_answers_as_the_adapters_do(
    run: Path, values: dict[str, Any], make_features: Any, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    row = {"name": "uf1_of_ceiling", "value": 0.5, "bar": 0.85, "above": True, "reached": False}
    figures.write_text(json.dumps([row]))
    merged = export(run, tmp_path / "merged", merge=True, figures=figures)
    base, processor, _ = built(values, run)
    inputs = ask(processor, make_features(0))
    expected = PeftModel.from_pretrained(base, run / "final").eval()(**inputs)
    found = AutoModelForImageTextToText.from_pretrained(merged).eval()(**inputs)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.emotion_logits, expected.emotion_logits)
    assert not list(merged.glob("adapter*"))
    card = (merged / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "| uf1_of_ceiling | 0.500 | 0.85 | missed |" in card
    assert "| instruct | 4 |" in card
    assert "lora_rank: 2" in card
    assert str(run.parent) not in card
    kept = export(run, tmp_path / "kept")
    assert (kept / "adapter_model.safetensors").is_file()
    assert "library_name: peft" in (kept / "README.md").read_text()


def test_export_refuses_what_is_not_whole(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe\.json"):
        export(tmp_path, tmp_path / "out")
    (tmp_path / "recipe.json").write_bytes((run / "recipe.json").read_bytes())
    with pytest.raises(UserError, match="no weights; the run is not finished"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="exists already"):
        export(run, tmp_path)
    assert not (tmp_path / "out").exists()


def test_each_module_learns_at_its_own_rate(values: dict[str, Any], tmp_path: Path) -> None:
    rates = {"projectors": 1e-4, "language_model": 3e-4}
    stage = {"steps": 2, "learning_rate": 1e-3, "learning_rates": rates}
    model, processor, recipe = built(values, tmp_path, instruct=stage)
    model = with_adapters(model, recipe.text_model, processor.tokenizer)
    trainer = deft_stages.DeftTrainer(
        rates=rates,
        modules=None,
        model=model,
        args=deft_stages.arguments(recipe, recipe.instruct, tmp_path),
    )
    rate = {
        p: group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]
    }
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(rate) == len(trained)
    for name, parameter in trained.items():
        assert rate[parameter] == rates.get(module_of(name), 1e-3), name


def test_checkpointing_changes_no_gradient(
    values: dict[str, Any], make_features: Any, tmp_path: Path
) -> None:
    model, processor, _ = built(values, tmp_path, model={"expert_dropout": 0.0, "dropout": 0.0})
    model.config.text_config.attention_dropout = 0.0
    model.experts.motion.withheld = 0.0
    inputs = ask(processor, make_features(0))
    train_only(model, ("projectors",))
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        model.train()(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
        found.append([p.grad.clone() for p in model.projectors.parameters()])
    assert model.language_model.is_gradient_checkpointing
    for plain, again in zip(*found, strict=True):
        assert plain.abs().sum() > 0
        torch.testing.assert_close(again, plain, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_weights_stay_and_adapters_learn(
    values: dict[str, Any], make_features: Any, tmp_path: Path, bits: int
) -> None:
    pytest.importorskip("bitsandbytes")
    text = {**values["text_model"], "quantize": bits}
    model, processor, recipe = built(values, tmp_path, text_model=text)
    model = with_adapters(model, recipe.text_model, processor.tokenizer)
    layer = model.base_model.model.language_model.model.layers[0].mlp.up_proj
    packed = layer.base_layer.weight
    assert packed.dtype == {4: torch.uint8, 8: torch.int8}[bits]
    before = packed.data.clone()
    inputs = ask(processor, make_features(0))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(6):
        loss = model.train()(**inputs, labels=inputs["input_ids"]).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert torch.equal(packed.data, before)
    assert layer.lora_B["default"].weight.abs().sum() > 0


# ------------------------------------------------------------------------------- the cost


@pytest.mark.parametrize(
    ("frozen", "kind"),
    [(True, {}), (False, {}), (True, {"use_dora": True, "lora_targets": ["q_proj", "up_proj"]})],
)
def test_the_estimate_counts_what_the_run_trains(
    values: dict[str, Any], tmp_path: Path, frozen: bool, kind: dict[str, Any]
) -> None:
    stage = {**values["instruct"], "freeze_experts": frozen}
    text = {**values["text_model"], **kind}
    model, processor, recipe = built(values, tmp_path, instruct=stage, text_model=text)
    bare = skeleton(recipe)
    for name, modules in (("experts", ("experts", "heads")), ("projectors", ("projectors",))):
        train_only(model, modules)
        assert stage_cost(recipe, name, bare).trained == counted(model)
    model = with_adapters(model, recipe.text_model, processor.tokenizer, frozen)
    cost = stage_cost(recipe, "instruct", bare)
    assert cost.trained == counted(model)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    # Copies that PEFT keeps of the modules it saves, and the rows of the new tokens, are left out.
    assert 0.5 * weights < cost.weights < weights


def counted(model: Any) -> dict[str, int]:
    """Trainable parameters by module."""
    counts = dict.fromkeys(("experts", "heads", "projectors", "language_model"), 0)
    for name, parameter in model.named_parameters():
        counts[module_of(name)] += parameter.numel() if parameter.requires_grad else 0
    return counts


def test_services_are_sent_what_the_log_says(run: Path) -> None:
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    for stage in ("experts", "projectors", "instruct"):
        sent = events.Scalars(f"{stage}/loss")
        lines = (run / f"{stage}.log.jsonl").read_text(encoding="utf-8").splitlines()
        logged = {row["step"]: row["loss"] for row in map(json.loads, lines) if "loss" in row}
        assert [point.step for point in sent] == list(logged) == [1, 2, 3, 4]
        np.testing.assert_allclose([p.value for p in sent], list(logged.values()), rtol=1e-5)


def test_a_run_has_one_folder_of_events_however_often_it_is_resumed(
    run: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(run, output)
    shutil.rmtree(output / "final")
    shutil.rmtree(output / "instruct" / "checkpoint-4")
    deft.train({**values, "output": str(output)}, "test")
    folders = {path.parent for path in output.rglob("events.out.tfevents.*")}
    assert folders == {output / "tensorboard"}
    points = EventAccumulator(str(output / "tensorboard")).Reload().Scalars("instruct/loss")
    assert [point.step for point in points] == [1, 2, 3, 4]


# ------------------------------------------------------------------------------ bad input


def test_a_folder_that_leaks_into_held_out_data_stops_the_run(
    data: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"share subject \w+ and \d+ more"):
        deft.train({**values, "output": str(tmp_path), "held_out": [str(data)]}, "test")


def test_a_folder_named_twice_is_refused(
    data: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="name each folder once"):
        deft.train({**values, "output": str(tmp_path), "folders": [str(data)] * 2}, "test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "cuda"}, "finds none on this machine"),
        ({"report_to": ["wandb"]}, "needs the package wandb, which is not installed"),
        ({"report_to": ["wanbd"]}, "report_to"),
        ({"folders": []}, "nothing to learn from"),
        ({"text_model": {"quantize": 4}}, "give name_or_path and a lora_rank"),
        ({"text_model": {"name_or_path": "/nowhere"}}, "'/nowhere': no causal language model"),
        ({"model": {"backbones": {"motion": {"name": "fmanett"}}}}, "did you mean 'fmanet'"),
        ({"model": {"map_size": 28}}, r"measured with map_size 56, .* set model\.map_size=56"),
    ],
)
def test_a_wrong_recipe_gets_one_line(
    values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("deft_llm.deft.tuning.recipe.find_spec", lambda name: None)
    with pytest.raises(UserError, match=words) as caught:
        deft.train({**values, "report_to": [], "output": str(tmp_path), **changes}, "test")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_the_experts_tokens_is_refused(tiny_checkpoint: Path) -> None:
    processor = DeftProcessor.from_pretrained(tiny_checkpoint)
    known = processor.tokenizer.get_vocab()

    class Bare:
        def get_vocab(self) -> dict[str, int]:
            return {token: i for token, i in known.items() if token != "<texture_token>"}

    with pytest.raises(UserError, match="no token <texture_token>"):
        DeftProcessor(DeftFeatureExtractor(), Bare(), span=processor.span)


@pytest.mark.parametrize("marks", [0, 2])
def test_a_conversation_about_more_or_less_than_its_clip_is_refused(
    data: Path, values: dict[str, Any], tmp_path: Path, marks: int
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in data.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    first, *rest = (folder / "train.jsonl").read_text().splitlines()
    first = first.replace("<clip>", "<clip>" * marks)
    (folder / "train.jsonl").write_text("\n".join([first, *rest]) + "\n")
    few = {"experts": {"steps": 0}, "projectors": {"steps": 0}}
    words = rf"train\.jsonl, line 1, conversations\[0\]\.value: <clip> is there {marks} times"
    with pytest.raises(UserError, match=words):
        deft.train(
            {**values, "output": str(tmp_path / "run"), "folders": [str(folder)], **few}, "t"
        )


def test_muon_takes_the_matrices_between_hidden_values(
    values: dict[str, Any], tmp_path: Path
) -> None:
    stage = {"steps": 2, "learning_rates": {"projectors": 1e-4}, "optimizer": "muon"}
    model, _, recipe = built(values, tmp_path, text_model=SMOKE["text_model"], instruct=stage)
    train_only(model, ("experts", "heads", "projectors", "language_model"))
    trainer = deft_stages.DeftTrainer(
        rates={"projectors": 1e-4},
        muon=True,
        modules=None,
        model=model,
        args=deft_stages.arguments(recipe, recipe.instruct, tmp_path),
    )
    optimizer = trainer.create_optimizer()
    muon, adamw = ([p for g in part.param_groups for p in g["params"]] for part in optimizer.parts)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {id(p) for p in muon} | {id(p) for p in adamw} == set(names)
    assert not {id(p) for p in muon} & {id(p) for p in adamw}
    assert all(p.ndim == 2 for p in muon)
    assert {"language_model.model.layers.0.mlp.up_proj.weight", "projectors.texture.1.weight"} <= {
        names[id(p)] for p in muon
    }
    others = {names[id(p)] for p in adamw}
    assert "language_model.model.embed_tokens.weight" in others
    assert {name for name in names.values() if name.startswith("heads.")} <= others
    for group in optimizer.param_groups:  # as a scheduler does
        group["lr"] = 0.0
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_frozen_experts_say_the_same_in_training(
    values: dict[str, Any], make_features: Any, tmp_path: Path
) -> None:
    model, processor, _ = built(values, tmp_path, model={"expert_dropout": 0.5, "dropout": 0.5})
    clip = processor.feature_extractor([make_features(i) for i in range(16)])
    whole = model.eval().get_clip_features(**clip)["motion"]
    blank = model.experts.blank["motion"]
    train_only(model, ("projectors", "language_model"))
    learning = model.train().get_clip_features(**clip)["motion"]
    same = (learning == whole).all(dim=(1, 2))
    dropped = (learning == blank).all(dim=(1, 2))
    assert (same | dropped).all()
    assert same.any()
    assert dropped.any()
    train_only(model, ("experts",))
    noisy = model.train().get_clip_features(**clip)["motion"]
    assert not ((noisy == whole).all(dim=(1, 2)) | (noisy == blank).all(dim=(1, 2))).all()


def test_tokens_encoded_once_teach_what_the_clips_teach(
    data: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    """With the same draw of dropped experts; under adapters, which wrap the experts."""
    model, processor, recipe = built(values, tmp_path, model={"expert_dropout": 0.5})
    clips = ClipDataset.open(data)
    conversations = InstructionDataset([data], clips, processor, model.config)
    collator = Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)
    tokens = ExpertTokens(model, processor.feature_extractor, clips)
    model = with_adapters(model, recipe.text_model, processor.tokenizer, freeze_experts=True)
    losses = []
    rows = [0, 1, len(clips), len(clips) + 1]  # the last two are mirrored
    for conversations.tokens in (None, tokens):
        batch = collator([conversations[i] for i in rows])
        assert ("structure" in batch) is (conversations.tokens is None)
        for seed in range(3):
            torch.manual_seed(seed)
            losses.append(model.train()(**batch).loss)
    assert len({round(loss.item(), 3) for loss in losses[:3]}) > 1  # experts were dropped
    torch.testing.assert_close(losses[:3], losses[3:], atol=1e-4, rtol=1e-5)
