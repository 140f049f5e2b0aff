"""Rounds in one process: what each rule does, faults, and going on after a stop."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.federated import checkpoint, engine
from deft_llm.federated.client import Client, Order, _pull
from deft_llm.federated.engine import RuleRun, run_rule
from deft_llm.federated.exchange import taken
from deft_llm.federated.rules import RULE_NAMES
from deft_llm.federated.sites import Site
from tests.federated.conftest import MakeRecipe, equal


def weights(run: RuleRun) -> list[dict[str, Any]]:
    return [taken(c.learner.model, (*c.names.sent, *c.names.kept)) for c in run.clients]


def saved(run: RuleRun) -> list[dict[str, Any]]:
    return [dict(c.learner.model.state_dict()) for c in run.clients]


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_every_rule_runs(rule: str, sites: list[Site], make_recipe: MakeRecipe) -> None:
    recipe = make_recipe()
    run = run_rule(recipe, rule, sites, recipe.output)
    assert [s.site for s in run.scores] == ["a", "b", "c"]
    assert [s.counts.sum() for s in run.scores] == [len(site.test) for site in sites]
    assert all(0 <= s.membership_auc <= 1 for s in run.scores)
    assert [row["round"] for row in run.log] == [1, 2]
    assert (run.log[0]["bytes"] > 0) == (rule not in ("local", "central"))
    ends = weights(run)
    if rule in ("fedavg", "fedprox"):  # one network for all
        assert all(equal(ends[0], end) for end in ends[1:])
    elif rule != "central":  # a network each
        assert not any(equal(ends[0], end) for end in ends[1:])


def test_a_resumed_run_equals_a_straight_one(
    sites: list[Site], make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(rounds=3)
    straight = run_rule(recipe, "p_fedprox", sites, recipe.output / "straight")
    real, done = checkpoint.save, []

    def stops(*given: Any) -> None:
        real(*given)
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save", stops)
        run_rule(recipe, "p_fedprox", sites, recipe.output / "stopped")
    resumed = run_rule(recipe, "p_fedprox", sites, recipe.output / "stopped")
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        assert equal(one, other)
    # Counters of batches and dropout are saved with the weights.
    for one, other in zip(saved(straight), saved(resumed), strict=True):
        assert equal(one, other)
    assert [r["loss"] for r in straight.log] == [r["loss"] for r in resumed.log]
    # A finished run trains nothing again.
    with monkeypatch.context() as patch:
        patch.setattr(Client, "train", None)
        again = run_rule(recipe, "p_fedprox", sites, recipe.output / "stopped")
    assert equal(saved(again)[0], saved(straight)[0])


def test_batch_norms_stay_at_the_site(sites: list[Site], make_recipe: MakeRecipe) -> None:
    recipe = make_recipe()
    run = run_rule(recipe, "fedbn", sites, recipe.output)
    one, other = run.clients[:2]
    assert one.names.kept
    for name in one.names.sent:
        assert equal(taken(one.learner.model, [name]), taken(other.learner.model, [name]))
    kept = [name for name in one.names.kept if "running" in name]
    assert kept and not equal(taken(one.learner.model, kept), taken(other.learner.model, kept))


def test_the_pull_is_the_gradient_of_half_the_squared_distance(
    sites: list[Site], make_recipe: MakeRecipe
) -> None:
    # The public code takes the distance without the square.
    weight = torch.nn.Parameter(torch.tensor([3.0, -1.0]))
    anchor = torch.tensor([1.0, 1.0])
    (0.7 / 2 * (weight - anchor).square().sum()).backward()
    assert weight.grad is not None
    wanted, weight.grad = weight.grad, torch.zeros(2)
    _pull([weight], [anchor], 0.7)
    torch.testing.assert_close(weight.grad, wanted)
    moved = []
    for mu in (0.0, 50.0):
        local = {"epochs": 12, "batch_size": 4, "learning_rate": 0.01, "clip": 0}
        client = Client(make_recipe(mu=mu, local=local), "fedprox", sites[0], 0)
        start = client.initial()
        update, _ = client.train(Order(1, start), {})
        trained = [n for n in start if "running" not in n]
        moved.append(sum(float(np.square(update.state[n] - start[n]).sum()) for n in trained))
    assert moved[1] < moved[0]


def test_the_first_step_of_a_round_learns(sites: list[Site], make_recipe: MakeRecipe) -> None:
    # In the public code every round begins with an epoch at rate 0, and a warm-up.
    recipe = make_recipe(rounds=5)
    steps = [recipe.local.rate(step, 50) for step in range(50)]
    assert min(steps) > 0 and steps == sorted(steps, reverse=True)


def test_a_site_that_sends_no_numbers_is_left_out(
    sites: list[Site],
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = Client._steps

    def diverges(self: Client, order: Order) -> float:
        loss = real(self, order)
        if self.site.name == "b" and order.number == 1:
            for parameter in self.learner.model.parameters():
                parameter.data.fill_(torch.nan)
        return loss

    monkeypatch.setattr(Client, "_steps", diverges)
    recipe = make_recipe()
    run = run_rule(recipe, "p_fedprox", sites, recipe.output)
    assert "round 1: site b is left out" in caplog.text and "not finite" in caplog.text
    assert list(run.log[0]["left_out"]) == ["b"] and not run.log[1]["left_out"]
    assert all(np.isfinite(x).all() for end in weights(run) for x in end.values())


def test_a_slow_site_is_left_out_and_told(
    sites: list[Site], make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, clock = time.perf_counter, {"late": 0.0}

    def slow(self: Client, order: Order, memory: Any) -> Any:
        found = trained(self, order, memory)
        clock["late"] += 100.0 if self.site.name == "c" else 0.0
        return found

    trained = Client.train
    monkeypatch.setattr(Client, "train", slow)
    monkeypatch.setattr(engine.time, "perf_counter", lambda: real() + clock["late"])
    recipe = make_recipe(rounds=1, round_seconds=60)
    run = run_rule(recipe, "fedavg", sites, recipe.output)
    assert "the limit of a round is 60 s" in run.log[0]["left_out"]["c"]
    monkeypatch.setattr(engine.time, "perf_counter", real)
    with pytest.raises(UserError, match="expected at least 3"):
        monkeypatch.setattr(engine.time, "perf_counter", lambda: real() + clock["late"])
        run_rule(
            make_recipe(rounds=1, round_seconds=60, at_least=3),
            "fedavg",
            sites,
            recipe.output / "again",
        )


def test_a_damaged_round_is_told(sites: list[Site], make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(rounds=1)
    run_rule(recipe, "fedavg", sites, recipe.output)
    (recipe.output / "state" / "mean.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="state: damaged"):
        run_rule(recipe, "fedavg", sites, recipe.output)
