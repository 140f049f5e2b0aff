"""The federation on Flower's messages: the same weights, a whitelist on the wire, and faults."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="extra federated")

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto

from deft_llm.errors import UserError
from deft_llm.federated import checkpoint
from deft_llm.federated.client import Client
from deft_llm.federated.engine import run_rule
from deft_llm.federated.flower.clients import Node
from deft_llm.federated.flower.messages import ALLOWED, read_scores, require_allowed
from deft_llm.federated.flower.parts import client_app
from deft_llm.federated.flower.serving import serve, wait_for
from deft_llm.federated.rules import RULES
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site
from tests.federated.conftest import MakeRecipe, equal
from tests.federated.local_grid import LocalGrid, context_of

SENT = [name for name, rule in RULES.items() if rule.sends]
MakeGrid = Callable[..., LocalGrid]


@pytest.fixture
def make_grid(sites: list[Site]) -> MakeGrid:
    """``make_grid(recipe, rule)``: a node for each site."""

    def make(recipe: FederatedRecipe, rule: str) -> LocalGrid:
        def site_of(context: Any) -> tuple[int, Site]:
            number = int(context.node_config["partition-id"])
            return number, sites[number]

        return LocalGrid(client_app(Node(recipe, rule, site_of)), len(sites))

    return make


def mean_of(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder, {}).order.state


@pytest.mark.parametrize("rule", SENT)
def test_flower_gives_the_weights_of_one_process(
    rule: str, sites: list[Site], make_recipe: MakeRecipe, make_grid: MakeGrid
) -> None:
    recipe = make_recipe()
    here = run_rule(recipe, rule, sites, recipe.output / "here")
    there = serve(make_grid(recipe, rule), recipe, rule, recipe.output / "there", 3)
    assert equal(mean_of(recipe.output / "here"), mean_of(recipe.output / "there"))
    for one, other in zip(here.scores, there.scores, strict=True):
        assert one.site == other.site
        np.testing.assert_array_equal(one.counts, other.counts)
        assert one.membership_auc == pytest.approx(other.membership_auc)


def test_the_wire_carries_nothing_but_the_list(
    sites: list[Site], make_recipe: MakeRecipe, make_grid: MakeGrid
) -> None:
    recipe = make_recipe()
    grid = make_grid(recipe, "p_fedprox")
    serve(grid, recipe, "p_fedprox", recipe.output, 3)
    weights = set(Client(recipe, "p_fedprox", sites[0], 0).names.sent)
    # Two rounds, three sites, training and scores, both ways.
    assert len(grid.wire) == 2 * 3 * 2 * 2
    people = {p.partition("/")[2] for site in sites for p in site.people}
    for data in grid.wire:
        content = recorddict_from_proto(RecordDictProto.FromString(data))
        fits = [kind for kind, records in ALLOWED.items() if set(content) == set(records)]
        assert len(fits) == 1
        require_allowed(content, fits[0])
        for record in content.array_records.values():
            assert set(record) == weights
        assert not any(f"{person}".encode() in data for person in people)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"clips": ArrayRecord({"x": Array(np.ones(1, np.float32))})}, "record 'clips' may not"),
        ({"metrics": MetricRecord({"num-examples": 1, "age": 3})}, "metrics 'age' may not"),
        ({"config": ConfigRecord({"site": "a", "subject": "s01"})}, "config 'subject' may not"),
        ({"arrays": ArrayRecord({"x": Array(np.ones(1, np.uint8))})}, "array 'x' not of float32"),
    ],
)
def test_what_is_not_on_the_list_is_refused(content: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        require_allowed(RecordDict(content), "update")


@pytest.mark.parametrize("lacking", ["config", "counts"])
def test_scores_that_lack_something_are_told_and_end_nothing(lacking: str) -> None:
    # As updates are: the round goes on with the scores of the others.
    metrics = MetricRecord({"num-examples": 1, "membership-auc": 0.5})
    content: dict[str, Any] = {
        "metrics": metrics,
        "config": ConfigRecord({"site": "a", "classes": ["x"]}),
    }
    if lacking == "config":
        del content["config"]
    with pytest.raises(UserError, match=f"message scores: no '{lacking}'; use the same version"):
        read_scores(RecordDict(content), ["x"])


def test_a_server_that_was_killed_goes_on(
    sites: list[Site],
    make_recipe: MakeRecipe,
    make_grid: MakeGrid,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = make_recipe(rounds=3)
    serve(make_grid(recipe, "p_fedprox"), recipe, "p_fedprox", recipe.output / "straight", 3)
    grid, real, done = make_grid(recipe, "p_fedprox"), checkpoint.save, []

    def dies(*given: Any) -> None:
        real(*given)
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save", dies)
        serve(grid, recipe, "p_fedprox", recipe.output / "killed", 3)
    # The nodes live on with what they keep.
    serve(grid, recipe, "p_fedprox", recipe.output / "killed", 3)
    assert equal(mean_of(recipe.output / "straight"), mean_of(recipe.output / "killed"))


def test_a_node_that_is_gone_and_comes_back(
    make_recipe: MakeRecipe, make_grid: MakeGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(rounds=3)
    grid, rounds = make_grid(recipe, "p_fedprox"), []
    real = grid.send_and_receive

    def gone(messages: Any, *, timeout: float | None = None) -> Any:
        rounds.append(1)
        grid.absent = {102} if len(rounds) in (3, 4) else set()  # the second round
        return real(messages, timeout=timeout)

    monkeypatch.setattr(grid, "send_and_receive", gone)
    run = serve(grid, recipe, "p_fedprox", recipe.output, 3)
    left_out = [row["left_out"] for row in run.log]
    assert not left_out[0] and not left_out[2]
    assert left_out[1] == {"c": "no answer within 3600 s, the limit of a round"}
    assert [len(row["sites"]) for row in run.log] == [3, 2, 3]


def test_a_node_that_fails_or_sends_nan_or_other_classes(
    sites: list[Site], make_recipe: MakeRecipe, make_grid: MakeGrid
) -> None:
    recipe = make_recipe(rounds=1)
    grid = make_grid(recipe, "fedavg")

    def nan(content: RecordDict) -> RecordDict:
        for record in content.array_records.values():
            for name, array in list(record.items()):
                record[name] = Array(np.full_like(array.numpy(), np.nan))
        return content

    def other(content: RecordDict) -> RecordDict:
        if "arrays" in content:
            config: Any = content["config"]
            config["classes"] = ["happiness", "disgust", "fear"]
        return content

    grid.changes = {100: nan, 101: other}
    left_out = serve(grid, recipe, "fedavg", recipe.output, 3).log[0]["left_out"]
    assert "not finite" in left_out["a"]
    assert "its classes are happiness, disgust, fear" in left_out["b"]


def test_two_nodes_of_one_name_are_both_left_out(
    make_recipe: MakeRecipe, make_grid: MakeGrid
) -> None:
    recipe = make_recipe(rounds=1)
    grid = make_grid(recipe, "fedavg")

    def as_a(content: RecordDict) -> RecordDict:
        config: Any = content["config"]
        config["site"] = "a"
        return content

    grid.changes = {101: as_a}
    (row,) = serve(grid, recipe, "fedavg", recipe.output, 3).log
    assert set(row["left_out"]) == {"a", "a, scores"}
    assert all("2 nodes answered under this name" in why for why in row["left_out"].values())
    assert list(row["sites"]) == ["c"]
    assert checkpoint.load(recipe.output, {}).order.included == ("c",)


@pytest.mark.parametrize("names", [["x", "y", "z"], ["positive", "negative"]])
def test_scores_of_other_classes_are_not_added(
    names: list[str], make_recipe: MakeRecipe, make_grid: MakeGrid
) -> None:
    recipe = make_recipe(rounds=1)
    grid = make_grid(recipe, "fedavg")

    def other(content: RecordDict) -> RecordDict:
        config: Any = content["config"]
        config["classes"] = names
        if "arrays" not in content:
            metrics: Any = content["metrics"]
            metrics["counts"] = [1] * (len(names) * (len(names) + 1))
        return content

    grid.changes = {101: other}
    (row,) = serve(grid, recipe, "fedavg", recipe.output, 3).log
    assert set(row["left_out"]) == {"b", "b, scores"}
    assert all("its classes are" in why for why in row["left_out"].values())
    assert list(row["sites"]) == ["a", "c"]


def test_the_log_is_that_of_one_process(
    sites: list[Site],
    make_recipe: MakeRecipe,
    make_grid: MakeGrid,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Client._steps

    def diverges(self: Client, order: Any) -> float:
        loss = real(self, order)
        if self.site.name == "b":
            for parameter in self.learner.model.parameters():
                parameter.data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(Client, "_steps", diverges)
    recipe = make_recipe(rounds=1)
    here = run_rule(recipe, "fedavg", sites, recipe.output / "here")
    there = serve(make_grid(recipe, "fedavg"), recipe, "fedavg", recipe.output / "there", 3)
    one, other = ({**run.log[0], "seconds": 0} for run in (here, there))
    assert set(one["left_out"]) == {"b"} and set(one["loss"]) == {"a", "b", "c"}
    assert one == other


def test_no_more_sites_are_asked_for_than_there_are(
    sites: list[Site], make_recipe: MakeRecipe, make_grid: MakeGrid
) -> None:
    recipe = make_recipe(rounds=1, at_least=5)
    here = run_rule(recipe, "fedavg", sites, recipe.output / "here")
    there = serve(make_grid(recipe, "fedavg"), recipe, "fedavg", recipe.output / "there", 3)
    assert len(here.scores) == len(there.scores) == 3


def test_a_federation_never_takes_the_clients_of_another(
    sites: list[Site], make_recipe: MakeRecipe
) -> None:
    recipe, context = make_recipe(), context_of(0)
    # Other clips under the same name, by the same recipe.
    other = replace(sites[0], train=sites[1].train, test=sites[1].test)
    node = Node(recipe, "fedavg", lambda context: (0, sites[0]))
    second = Node(recipe, "fedavg", lambda context: (0, other))
    assert node.client(context).site is sites[0]
    assert second.client(context).site is other
    # Ray sends the node with every message, and its clips as copies.
    sent = copy.copy(node)
    object.__setattr__(sent, "site_of", lambda context: (0, copy.copy(sites[0])))
    assert sent.client(context) is node.client(context)


def test_a_client_of_another_rule_is_told(make_recipe: MakeRecipe, make_grid: MakeGrid) -> None:
    recipe = make_recipe(rounds=1)
    with pytest.raises(UserError, match="0 sites sent weights"):
        serve(make_grid(recipe, "fedbn"), recipe, "fedavg", recipe.output, 3)


def test_sites_that_do_not_come_are_told(make_recipe: MakeRecipe, make_grid: MakeGrid) -> None:
    grid = make_grid(make_recipe(), "fedavg")
    with pytest.raises(UserError, match=r"3 of 4 sites came within 0 s \(round_seconds\)"):
        wait_for(grid, 4, 0.0)
