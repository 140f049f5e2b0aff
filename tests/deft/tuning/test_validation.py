"""Validation on held-out people: disjoint, logged, of no effect on what is learned, best kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm.config import read_yaml, validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.datasets import Collator, ExpertDataset
from deft_llm.deft.tuning.recipe import DeftRecipe, ValidationSettings
from deft_llm.deft.tuning.result import finished_for_now
from deft_llm.deft.tuning.validation import LOSS, Part, Scores, batches, held_out_clips, parts
from deft_llm.errors import UserError
from deft_llm.files import read_lines

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = ValidationSettings(share=0.3, every=2)


def recipe(output: Path, data: Path, **changes: Any) -> dict[str, Any]:
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values.pop("task")
    own = {"output": str(output), "data": [], "folders": [str(data)]}
    return {**values, **own, "validation": SETTINGS.model_dump(), **changes}


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with validation; its loss is lowest before the end."""
    output = tmp_path_factory.mktemp("validated") / "run"
    stage = {"steps": 4, "batch_size": 4, "save_every": 2, "bf16": False}
    rising = {**stage, "learning_rate": 0.5, "warmup": 0.0}
    deft.train(recipe(output, data, experts=stage, instruct=rising), "smoke.yaml")
    return output


def scores(run: Path, stage: str) -> dict[int, dict[str, float]]:
    return {row["step"]: row for row in read_lines(run / f"{stage}.log.jsonl") if LOSS in row}


def test_every_stage_logs_scores_of_held_out_people(run: Path) -> None:
    for stage in ("experts", "instruct"):
        found = scores(run, stage)
        assert list(found) == [2, 4]
        assert {LOSS, "eval_emotion_uf1"} <= found[2].keys()
        assert all(0 <= row["eval_emotion_uf1"] <= 1 for row in found.values())
    assert 0 <= scores(run, "instruct")[4]["eval_token_accuracy"] <= 1
    assert "eval_token_accuracy" not in scores(run, "experts")[4]


def test_the_model_of_the_lowest_loss_is_kept_beside_the_last(run: Path) -> None:
    losses = {step: row[LOSS] for step, row in scores(run, "instruct").items()}
    score = json.loads((run / "best" / "score.json").read_text())
    assert score[LOSS] == min(losses.values())
    assert losses[score["step"]] == score[LOSS]
    checkpoint = load_file(run / "instruct" / f"checkpoint-{score['step']}" / "model.safetensors")
    best = load_file(run / "best" / "model.safetensors")
    assert all(torch.equal(best[name], checkpoint[name]) for name in best)
    assert Explainer.load(run / "best").model.config.emotions  # loads like any checkpoint
    assert not (run / "final" / "score.json").exists()


def test_the_recorded_loss_is_that_of_the_saved_model(run: Path, data: Path) -> None:
    explainer = Explainer.load(run / "best")
    clips = ClipDataset.open(data)
    held_out = held_out_clips(clips, SETTINGS, seed=0)
    processor = explainer.processor
    collator = Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)
    talks = deft.InstructionDataset([data], clips, processor, explainer.model.config)
    _, part = parts(talks, held_out, "instruct")
    assert part is not None
    total = Scores(len(explainer.model.config.emotions), torch.device("cpu"))
    with torch.no_grad():
        for batch, weight in batches(part, collator, 4, 0, 1):
            total.add(explainer.model(**batch), batch, weight)
    score = json.loads((run / "best" / "score.json").read_text())
    assert total.result()[LOSS] == pytest.approx(score[LOSS], rel=1e-5)


def test_a_run_with_validation_resumes_bit_equal(run: Path, data: Path, tmp_path: Path) -> None:
    """From before the best step, which is then reached a second time."""
    output = tmp_path / "run"
    shutil.copytree(run, output)
    shutil.rmtree(output / "final")
    shutil.rmtree(output / "instruct" / "checkpoint-4")
    values = json.loads((run / "recipe.json").read_text())
    deft.train({**values, "output": str(output)}, "smoke.yaml")
    for name in ("final", "best"):
        same = [(folder / name / "model.safetensors").read_bytes() for folder in (run, output)]
        assert same[0] == same[1]


def test_people_are_on_one_side_alone(data: Path, run: Path) -> None:
    clips = ClipDataset.open(data)
    held_out = held_out_clips(clips, SETTINGS, seed=0)
    people = [{r.subject for r in clips.records if (r.clip in held_out) == x} for x in (0, 1)]
    assert people[0] and people[1] and not people[0] & people[1]
    source = ExpertDataset(clips, Explainer.load(run / "final").model.config)
    learned, validated = parts(source, held_out, "experts")
    assert validated is not None and isinstance(learned, Part)
    shown = source.clip_ids()
    assert {shown[row] for row in validated.rows} == held_out
    assert sorted([*learned.rows, *validated.rows]) == list(range(len(source)))
    assert len(learned.lengths()) == len(learned)


def test_clips_are_changed_to_learn_from_and_not_to_validate_on(data: Path, run: Path) -> None:
    clips = ClipDataset.open(data)
    held_out = held_out_clips(clips, SETTINGS, seed=0)
    source = ExpertDataset(clips, Explainer.load(run / "final").model.config, perturb=True)
    learned, validated = parts(source, held_out, "experts")
    assert validated is not None
    for part, as_before in ((learned, False), (validated, True)):
        once, again = part[0]["features"], part[0]["features"]
        assert np.array_equal(once["regions"], again["regions"]) == as_before
        assert np.array_equal(part[0]["au_labels"], part[0]["au_labels"])
    torch.manual_seed(0)
    first = source[0]["features"]["flow"]
    torch.manual_seed(0)
    assert np.array_equal(first, source[0]["features"]["flow"])


def test_a_share_of_nobody_is_told(data: Path, run: Path) -> None:
    clips = ClipDataset.open(data)
    with pytest.raises(UserError, match=r"hold-out share 0\.01 of 4 subjects"):
        held_out_clips(clips, ValidationSettings(share=0.01, every=1), seed=0)
    source = ExpertDataset(clips, Explainer.load(run / "final").model.config)
    with pytest.raises(UserError, match="of stage experts, 0 are of people that are held out"):
        parts(source, frozenset({"none of these"}), "experts")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_rows_and_take_equally_many_batches(world: int) -> None:
    class Rows(Part):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"row": index}

    def as_they_are(rows: list[dict[str, Any]]) -> Any:
        return rows

    source, collator = cast(Any, None), cast(Any, as_they_are)
    seen: list[int] = []
    counts: list[int] = []
    for rank in range(world):
        found = list(batches(Rows(source, range(7)), collator, 2, rank, world))
        counts.append(len(found))
        seen += [row["row"] for rows, weight in cast(Any, found) if weight for row in rows]
    assert len(set(counts)) == 1
    assert sorted(seen) == list(range(7))


def test_scores_are_counts_over_all_batches() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, 9, generator=rng)
    labels = torch.randint(0, 9, (6, 5), generator=rng)
    labels[:, 1] = -100
    au, known = torch.randn(6, 3, 2, generator=rng), torch.randint(-1, 2, (6, 3, 2), generator=rng)
    emotion, truth = torch.randn(6, 4, generator=rng), torch.tensor([0, 1, 1, -100, 3, 0])

    def score(*groups: slice) -> dict[str, float]:
        total = Scores(4, torch.device("cpu"))
        for group in groups:
            output = SimpleNamespace(
                loss=logits[group].mean(), logits=logits[group], au_logits=au[group],
                emotion_logits=emotion[group],
            )  # fmt: skip
            batch = {"labels": labels[group], "au_labels": known[group].float()}
            total.add(output, {**batch, "emotion_labels": truth[group]}, len(logits[group]))
        total.add(output, {**batch, "emotion_labels": truth[group]}, 0)  # counts nothing
        return total.result()

    whole, split = score(slice(0, 6)), score(slice(0, 4), slice(4, 6))
    assert whole == pytest.approx(split)
    right = (logits[:, :-1].argmax(-1) == labels[:, 1:])[labels[:, 1:] >= 0]
    assert whole["eval_token_accuracy"] == pytest.approx(right.float().mean().item())
    hit = ((au > 0) & (known == 1)).sum()
    wrong = (((au > 0) & (known == 0)) | ((au <= 0) & (known == 1))).sum()
    assert whole["eval_au_f1"] == pytest.approx((2 * hit / (2 * hit + wrong)).item())


def test_a_model_finished_for_now_goes_on_as_it_was(
    data: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    changes = {"checkpoint": str(tiny_checkpoint), "weight_interpolation": 0.5, "text_model": {}}
    values = recipe(tmp_path, data, **changes, model={}, save_dtype="bfloat16")
    settings = validate_settings(DeftRecipe, values, "test")
    model = Explainer.load(tiny_checkpoint).model
    begun = {name: x.clone() for name, x in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    trained = {name: x.clone() for name, x in model.state_dict().items()}
    parameters = list(model.parameters())
    with finished_for_now(model, settings):
        for name, x in model.state_dict().items():
            wanted = (begun[name] + 0.5).to(x.dtype)
            torch.testing.assert_close(x, wanted, rtol=1e-2, atol=1e-2)
            assert x.dtype is torch.bfloat16
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert all(torch.equal(x, trained[name]) for name, x in model.state_dict().items())
