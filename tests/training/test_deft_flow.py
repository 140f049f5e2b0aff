"""Going on with flow images: what is asked, what is taught, and that the result is a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm import facs
from deft_llm.config import read_yaml, validate
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.flow_classifier import DeftOnFlow
from deft_llm.deft.processing_deft import IGNORED
from deft_llm.deft.tuning import flow_instruction as deft_flow
from deft_llm.deft.tuning.flow_instruction import DeftFlowRecipe, FlowTalk, codes
from deft_llm.errors import UserError
from deft_llm.simulator.flow.images import AUS

ROOT = Path(__file__).resolve().parents[2]
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
def talk(values: dict[str, Any], tiny_checkpoint: Path) -> FlowTalk:
    rng = np.random.default_rng(0)
    flow = torch.from_numpy(rng.normal(size=(12, 3, 28, 28)).astype(np.float32))
    units = torch.zeros(12, len(AUS), 2)
    units[:, AUS.index(12), 0] = 1  # on the left
    material = (flow, torch.arange(12) % 3, units)
    recipe = validate(DeftFlowRecipe, values, "test")
    return FlowTalk(recipe, Explainer.load(tiny_checkpoint), material, material)


def test_a_batch_is_a_function_of_its_number(talk: FlowTalk) -> None:
    first, again, other = talk.batch(5), talk.batch(5), talk.batch(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["flow"], other["flow"])


def test_answers_tell_the_class_and_the_units_of_the_image_shown(talk: FlowTalk) -> None:
    """An image that is mirrored shows the unit on the other side."""
    decode = talk.processor.tokenizer.decode
    said = set()
    for index in range(12):
        batch = talk.batch(index)
        sides = batch["au_labels"][:, talk.config.aus.index(12)]
        for row, label, side in zip(batch["labels"], batch["classes"], sides, strict=True):
            answer = decode(row[row != IGNORED], skip_special_tokens=True)
            if answer.startswith("AU"):
                where = "left" if side[0] else "right"
                assert answer == f"AU12 lip corner puller on the {where}"
            else:
                assert answer == facs.THREE_CLASSES[label]
            said.add(answer)
        unknown = [n for n in talk.config.aus if n not in AUS]
        assert (batch["au_labels"][:, talk.config.aus.index(unknown[0])] == -1).all()
    assert len(said) == 5


def test_codes_name_sides() -> None:
    units = torch.zeros(len(AUS), 2)
    units[AUS.index(4)] = 1
    units[AUS.index(12), 1] = 1
    assert codes(units) == ("4", "R12")


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
    shares = DeftOnFlow(3, str(final)).predict_proba({"flow_uvs": images})
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)


def test_a_missing_checkpoint_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json; expected the folder") as caught:
        deft_flow.train({**values, "checkpoint": str(tmp_path)}, "test")
    assert "\n" not in str(caught.value)
