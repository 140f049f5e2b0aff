"""Adapters of DEFT-LLM in a federation: nothing but adapters is trained or sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.federated.client import Client, Order, save
from deft_llm.federated.engine import run_rule
from deft_llm.federated.exchange import bytes_of
from deft_llm.federated.learners import first_weights
from deft_llm.federated.sites import Site
from tests.federated.conftest import MakeRecipe, equal


def options(checkpoint: Path) -> dict[str, object]:
    return {"recognizer": "deft_lora", "options": {"checkpoint": str(checkpoint), "rank": 2}}


def test_adapters_alone_are_exchanged(
    sites: list[Site], make_recipe: MakeRecipe, tiny_checkpoint: Path
) -> None:
    recipe = make_recipe(rounds=1, **options(tiny_checkpoint))
    client = Client(recipe, "fedavg", sites[0], 0)
    model = client.learner.model
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    assert client.names.sent and all("lora_" in name for name in client.names.sent)
    assert equal(client.initial(), first_weights(recipe, "fedavg"))
    update, _ = client.train(Order(1, client.initial()), {})
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, before[name]), name
    assert any(np.abs(x - before[n].numpy()).max() > 0 for n, x in update.state.items())
    whole = sum(4 * p.numel() for p in model.parameters())
    assert bytes_of(update.state) < whole / 10  # of a model of 28 thousand parameters


def test_a_round_of_adapters(
    sites: list[Site], make_recipe: MakeRecipe, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(rounds=1, **options(tiny_checkpoint))
    run = run_rule(recipe, "p_fedprox", sites[:2], recipe.output)
    assert [s.site for s in run.scores] == ["a", "b"]
    save(run.clients[0], tmp_path / "saved")
    assert (tmp_path / "saved" / "adapter_config.json").is_file()


def test_privacy_of_adapters_is_refused(
    sites: list[Site], make_recipe: MakeRecipe, tiny_checkpoint: Path
) -> None:
    recipe = make_recipe(privacy={"epsilon": 8}, **options(tiny_checkpoint))
    with pytest.raises(UserError, match="deft_lora has no gradients of single clips"):
        Client(recipe, "fedavg", sites[0], 0)
