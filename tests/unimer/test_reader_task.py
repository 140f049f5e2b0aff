"""A question reader trains by its recipe, in a few steps, and its folder is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deft_llm.config import apply_overrides, read_yaml
from deft_llm.errors import UserError
from deft_llm.queries.language_model import load_reader
from deft_llm.resources import recipe
from deft_llm.training.tasks import run
from deft_llm.unimer.question_sets import QuestionSet
from deft_llm.unimer.reader_task import ReaderRecipe, ReaderTask

SMALL = ["data.questions=120", "data.least=1", "validation.questions=20", "batch_size=8"]


def settings(text_folder: Path, *changes: str) -> ReaderRecipe:
    of_model = [f"model.language_model={text_folder}", "model.layers=1", "model.lora_rank=2"]
    values = read_yaml(recipe("queries/smollm2"))
    values = apply_overrides(values, [*SMALL, *of_model, *changes])
    values.pop("task")
    return ReaderRecipe(**values)


def test_a_short_run_leaves_a_reader_that_loads(text_folder: Path, tmp_path: Path) -> None:
    changes = ["schedule.steps=4", "schedule.save_every=2", "schedule.evaluate_every=2"]
    of_model = [f"model.language_model={text_folder}", "model.layers=1", "model.lora_rank=2"]
    run(recipe("queries/smollm2"), [f"output={tmp_path / 'run'}", *SMALL, *changes, *of_model])
    reader = load_reader(tmp_path / "run" / "final")
    assert len(reader.frames) > 20


def test_a_stopped_run_goes_on_to_the_same_reader(
    text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["schedule.steps=4", "schedule.save_every=2", "schedule.evaluate_every=0"]
    of_model = [f"model.language_model={text_folder}", "model.layers=1", "model.lora_rank=2"]
    options = [*SMALL, *changes, *of_model, "validation=null", "save_dtype=float32"]
    run(recipe("queries/smollm2"), [*options, f"output={tmp_path / 'straight'}"])
    stopped = [*options, f"output={tmp_path / 'stopped'}"]
    whole = ReaderTask.batch

    def until_the_fourth(task: ReaderTask, index: int) -> dict[str, torch.Tensor]:
        if index == 3:
            raise KeyboardInterrupt
        return whole(task, index)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ReaderTask, "batch", until_the_fourth)
        run(recipe("queries/smollm2"), stopped)
    assert (tmp_path / "stopped" / "checkpoint-2").is_dir()
    run(recipe("queries/smollm2"), stopped)
    straight, gone_on = (
        load_file(tmp_path / name / "final" / "model.safetensors")
        for name in ("straight", "stopped")
    )
    assert all(torch.equal(x, gone_on[name]) for name, x in straight.items())


def test_training_leaves_the_language_model_as_it_is(text_folder: Path) -> None:
    store = QuestionSet.drawn(settings(text_folder).data)
    torch.manual_seed(0)
    task = ReaderTask(settings(text_folder), store)
    before = {name: x.clone() for name, x in task.model.named_parameters()}
    optimizer = torch.optim.SGD((p for p in task.model.parameters() if p.requires_grad), 1.0)
    for k in range(2):  # the first step gives the second half of each adapter a gradient
        optimizer.zero_grad()
        task.training_step(task.batch(k))["loss"].backward()
        optimizer.step()
    learned = task.reader.state_dict().keys()
    for name, x in task.model.named_parameters():
        assert torch.equal(x, before[name]) == (name not in learned), name


def test_a_batch_holds_questions_of_one_length_and_depends_on_its_number(
    text_folder: Path,
) -> None:
    store = QuestionSet.drawn(settings(text_folder).data)
    task = ReaderTask(settings(text_folder), store)
    batch, again = task.batch(3), task.batch(3)
    assert all(torch.equal(x, again[name]) for name, x in batch.items())
    assert not torch.equal(task.batch(4)["ids"], batch["ids"])
    assert batch["present"].float().mean() > 0.8
    seen = {tuple(row) for k in range(60) for row in task.batch(k)["ids"].tolist()}
    assert len(seen) > 60, "not always the same ones"


def test_a_missing_language_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="deft-llm models get smollm2"):
        run(recipe("queries/smollm2"), [f"output={tmp_path / 'run'}", *SMALL])
