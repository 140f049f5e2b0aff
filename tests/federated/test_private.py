"""Differential privacy: gradients of single clips, the budget, and networks without batch norms."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deft_llm.errors import UserError
from deft_llm.federated.client import Client, Order, save
from deft_llm.federated.engine import run_rule
from deft_llm.federated.learners import Chooses
from deft_llm.federated.private import noise_for, per_clip, secret_of
from deft_llm.federated.sites import Site
from deft_llm.recognizers.saved import open_saved
from tests.federated.conftest import MakeRecipe

PRIVACY = {"epsilon": 8.0, "delta": 1e-5}


@pytest.mark.parametrize("recognizer", ["ststnet", "psyau"])
def test_gradients_of_clips_add_up(
    recognizer: str,
    sites: list[Site],
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deft_llm.federated.private.PrivateSteps.of", lambda *given: None)
    client = Client(make_recipe(recognizer=recognizer, privacy=PRIVACY), "fedavg", sites[0], 0)
    learner, model = client.learner, client.learner.model.eval()  # without dropout
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert isinstance(learner, Chooses)
    batch = learner.chosen(torch.arange(3), torch.zeros(3, dtype=torch.bool), 0)
    each, loss = per_clip(learner, batch, 3, np.random.default_rng(0))
    whole = learner.training_step(batch)["loss"]
    whole.backward()
    assert loss == pytest.approx(float(whole.detach()), abs=1e-5)
    for name, parameter in model.named_parameters():
        assert each[name].shape == (3, *parameter.shape)
        assert parameter.grad is not None
        torch.testing.assert_close(each[name].mean(0), parameter.grad, atol=2e-5, rtol=1e-3)


def test_the_budget_is_kept(sites: list[Site], make_recipe: MakeRecipe) -> None:
    pytest.importorskip("opacus", reason="extra privacy")
    recipe = make_recipe(privacy=PRIVACY)
    run = run_rule(recipe, "fedavg", sites[:2], recipe.output)
    spent = [row["epsilon"] for row in run.log]
    assert 0 < spent[0] < spent[1] <= PRIVACY["epsilon"] * 1.01
    assert spent[1] == pytest.approx(PRIVACY["epsilon"], rel=0.05)
    folder = recipe.output / "saved"
    save(run.clients[0], folder)
    assert open_saved(folder).config.group_norms


def test_noise_is_another_in_each_round_and_the_same_again(
    sites: list[Site], make_recipe: MakeRecipe
) -> None:
    pytest.importorskip("opacus", reason="extra privacy")
    client = Client(make_recipe(privacy=PRIVACY), "fedavg", sites[0], 0)
    start = client.initial()
    states = [client.train(Order(number, start), {})[0].state for number in (1, 1, 2)]
    name = next(iter(start))
    assert np.array_equal(states[0][name], states[1][name])
    assert not np.array_equal(states[0][name], states[2][name])


def test_a_site_draws_its_noise_by_a_number_of_its_own(
    sites: list[Site], make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The recipe's seed is everybody's: by it alone, the server could take the noise off again.
    drawn: list[float] = []

    class Steps:
        def gradients(
            self, learner: Any, parameters: Any, optimizer: Any, step: int, rng: Any
        ) -> float:
            drawn.append(float(rng.random()))
            return 0.0

        def spent(self, steps: int) -> float:
            return 0.0

    monkeypatch.setattr("deft_llm.federated.private.PrivateSteps.of", lambda *given: Steps())
    secrets = [
        None,
        None,
        secret_of(tmp_path / "a"),
        secret_of(tmp_path / "a"),
        secret_of(tmp_path),
    ]
    first = []
    for secret in secrets:
        client = Client(make_recipe(privacy=PRIVACY), "fedavg", sites[0], 0, secret)
        drawn.clear()
        client.train(Order(1, client.initial()), {})
        first.append(drawn[0])
    public, again, own, kept, other = first
    assert public == again and own == kept  # a round that is run again gets the same noise
    assert len({public, own, other}) == 3
    assert (tmp_path / "a" / "secret").stat().st_mode & 0o077 == 0
    (tmp_path / "a" / "secret").write_text("gone")
    with pytest.raises(UserError, match=r"secret: damaged; delete it"):
        secret_of(tmp_path / "a")


def test_a_budget_that_cannot_be_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(**settings: float) -> float:
        raise ValueError("The privacy budget is too low.")

    # As Opacus does where its bound on epsilon has a floor.
    stub = SimpleNamespace(get_noise_multiplier=refuses)
    for name in ("opacus", "opacus.accountants"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", stub)
    with pytest.raises(UserError, match=r"epsilon 0\.01 with delta 1e-05 .* 40 steps .*too low"):
        noise_for(0.01, 1e-5, 0.25, 40)


def test_without_opacus_it_is_told(
    sites: list[Site], make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    monkeypatch.setitem(sys.modules, "opacus", None)
    noise_for.cache_clear()
    with pytest.raises(UserError, match=r"needs Opacus.*deft-llm\[privacy\]"):
        run_rule(make_recipe(privacy=PRIVACY), "fedavg", sites, tmp_path / "x")
