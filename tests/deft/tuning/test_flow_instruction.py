"""Going on with flow images: questions, targets, and that the result is a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm import facs
from deft_llm.config import read_yaml, validate_settings
from deft_llm.data.disturbed_flow import LabelledFlow
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.flow_classifier import DeftFlowClassifier
from deft_llm.deft.processing_deft import IGNORE_INDEX
from deft_llm.deft.tuning import flow_instruction as deft_flow
from deft_llm.deft.tuning.flow_instruction import DeftFlowRecipe, FlowInstructionTask, codes
from deft_llm.errors import UserError
from deft_llm.simulator.flow.images import AUS

ROOT = Path(__file__).resolve().parents[3]
RECIPE = read_yaml(ROOT / "train_configs" / "deft" / "megc_flow.yaml")


@pytest.fixture
def values(tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        **{name: value for name, value in RECIPE.items() if name != "task"},
        "output": str(tmp_path / "run"),
        "checkpoint": str(tiny_checkpoint),
        "templates": str(ROOT / "deft_llm" / "unimer" / "templates"),
        "draws": [{"images": 12, "per_identity": 6, "seed": 1}],
        "held_out": 6,
        "batch_size": 4,
        "schedule": {"steps": 2, "save_every": 1},
    }


@pytest.fixture
def task(values: dict[str, Any], tiny_checkpoint: Path) -> FlowInstructionTask:
    rng = np.random.default_rng(0)
    flow = torch.from_numpy(rng.normal(size=(12, 3, 28, 28)).astype(np.float32))
    aus = torch.zeros(12, len(AUS), 2)
    aus[:, AUS.index(12), 0] = 1  # on the left
    images = LabelledFlow(flow, torch.arange(12) % 3, aus)
    recipe = validate_settings(DeftFlowRecipe, values, "test")
    return FlowInstructionTask(recipe, Explainer.load(tiny_checkpoint), images, images)


def test_a_batch_is_a_function_of_its_number(task: FlowInstructionTask) -> None:
    first, again, other = task.batch(5), task.batch(5), task.batch(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["flow"], other["flow"])


def test_answers_name_the_class_and_the_aus_of_the_image_shown(task: FlowInstructionTask) -> None:
    """An image that is mirrored shows the action unit on the other side."""
    decode = task.processor.tokenizer.decode
    answers = set()
    for index in range(12):
        batch = task.batch(index)
        sides = batch["au_labels"][:, task.config.aus.index(12)]
        for row, label, side in zip(batch["labels"], batch["classes"], sides, strict=True):
            answer = decode(row[row != IGNORE_INDEX], skip_special_tokens=True)
            if answer.startswith("AU"):
                where = "left" if side[0] else "right"
                assert answer == f"AU12 lip corner puller on the {where}"
            else:
                assert answer == facs.THREE_CLASSES[label]
            answers.add(answer)
        unknown = [n for n in task.config.aus if n not in AUS]
        assert (batch["au_labels"][:, task.config.aus.index(unknown[0])] == -1).all()
    assert len(answers) == 5


def test_codes_name_sides() -> None:
    aus = torch.zeros(len(AUS), 2)
    aus[AUS.index(4)] = 1
    aus[AUS.index(12), 1] = 1
    assert codes(aus) == ("4", "R12")


def test_motion_learns_and_the_blank_experts_do_not(
    values: dict[str, Any], tiny_checkpoint: Path
) -> None:
    deft_flow.train(values, "test")
    final = Path(values["output"]) / "final"
    before = load_file(tiny_checkpoint / "model.safetensors")
    after = load_file(final / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("experts.motion.queries") for name in changed)
    assert any(name.startswith("language_model.") for name in changed)
    images = np.random.default_rng(1).normal(size=(2, 3, 28, 28)).astype(np.float32)
    probabilities = DeftFlowClassifier(3, str(final)).predict_proba({"flow_uvs": images})
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)


def test_a_missing_checkpoint_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json; expected the folder") as caught:
        deft_flow.train({**values, "checkpoint": str(tmp_path)}, "test")
    assert "\n" not in str(caught.value)
