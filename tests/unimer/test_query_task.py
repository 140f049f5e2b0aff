"""A question parser trains by its recipe, in a few steps, and its folder is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deft_llm.config import apply_overrides, read_yaml
from deft_llm.errors import UserError
from deft_llm.queries.network import load_parser
from deft_llm.resources import recipe
from deft_llm.training.tasks import run
from deft_llm.unimer.query_task import ParserRecipe, ParserTask, train
from deft_llm.unimer.question_sets import QuestionData, QuestionSet


def test_a_smoke_run_leaves_a_network_that_loads(tmp_path: Path) -> None:
    run(recipe("queries/smoke"), [f"output={tmp_path / 'run'}"])
    network = load_parser(tmp_path / "run" / "final")
    assert network.config.frames and network.config.vector == network.config.width


def test_the_same_seed_draws_the_same_questions() -> None:
    data = QuestionData(questions=60, seed=3)
    one, two = QuestionSet.drawn(data), QuestionSet.drawn(data)
    assert one == two and one != QuestionSet.drawn(data.model_copy(update={"seed": 4}))
    assert {frame.split()[0] for frame in one.frames} & {"decline", "unknown"}


def test_training_moves_the_projection_and_leaves_the_words(tmp_path: Path) -> None:
    values = apply_overrides(read_yaml(recipe("queries/smoke")), [f"output={tmp_path}"])
    values.pop("task")
    settings = ParserRecipe(**values)
    torch.manual_seed(0)
    task = ParserTask(settings, QuestionSet.drawn(settings.data))
    kept = {name: value.clone() for name, value in task.parser.state_dict().items()}
    optimizer = torch.optim.SGD(task.model.parameters(), 1.0)
    task.training_step(task.batch(0))["loss"].backward()
    optimizer.step()
    now = task.parser.state_dict()
    assert torch.equal(now["table"], kept["table"])
    assert not torch.equal(now["project.weight"], kept["project.weight"])


def test_folding_keeps_the_scores() -> None:
    values = read_yaml(recipe("queries/smoke"))
    values.pop("task")
    settings = ParserRecipe(**values)
    torch.manual_seed(0)
    task = ParserTask(settings, QuestionSet.drawn(settings.data))
    task.model.eval()
    batch = task.batch(0)
    with torch.inference_mode():
        whole = task.model(batch["words"], batch["named"])
        folded = task.parser.folded()(batch["words"], batch["named"])
    torch.testing.assert_close(whole, folded, atol=0.05, rtol=0)


def test_a_missing_language_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "nothing"))
    values = apply_overrides(read_yaml(recipe("queries/smoke")), ["words_from=smollm2"])
    values |= {"output": str(tmp_path / "run")}
    values.pop("task")
    with pytest.raises(UserError, match="deft-llm models get smollm2"):
        train(values, "smoke.yaml")
