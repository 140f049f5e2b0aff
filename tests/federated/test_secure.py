"""Secure aggregation: the server learns the mean, and no site's weights."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="extra federated")

from flwr.common import ndarrays_to_parameters

from deft_llm.errors import UserError
from deft_llm.federated import checkpoint
from deft_llm.federated.client import Client, Order
from deft_llm.federated.engine import run_rule
from deft_llm.federated.flower.clients import Node
from deft_llm.federated.flower.parts import client_app, rounds
from deft_llm.federated.flower.secure import _Collects, _require_classes
from deft_llm.federated.run import federate
from deft_llm.federated.sites import Site
from tests.federated.conftest import MakeRecipe
from tests.federated.local_grid import LocalGrid


@pytest.mark.slow
def test_masked_weights_give_the_plain_mean(sites: list[Site], make_recipe: MakeRecipe) -> None:
    changes: dict[str, Any] = {
        "sites": {name: name for name in "abc"},
        "secure": True,
        "largest_site": 20,
        "rounds": 2,
    }
    recipe, rule = make_recipe(**changes), "p_fedprox"

    def site_of(context: Any) -> tuple[int, Site]:
        number = int(context.node_config["partition-id"])
        return number, sites[number]

    grid = LocalGrid(client_app(Node(recipe, rule, site_of)), 3)
    run = rounds(grid, recipe, rule, recipe.output / "masked", 3)
    assert [s.site for s in run.scores] == ["a", "b", "c"]
    run_rule(make_recipe(**{**changes, "secure": False}), rule, sites, recipe.output / "plain")
    masked, plain = (
        checkpoint.load(recipe.output / name, {}).order.state for name in ("masked", "plain")
    )
    for name, values in plain.items():
        np.testing.assert_allclose(masked[name], values, atol=1e-4)
    # What a site trained is nowhere on the wire.
    client = Client(recipe, rule, sites[0], 0)
    update, _ = client.train(Order(1, client.initial()), {})
    largest = max(update.state.values(), key=lambda x: x.size)
    assert not any(largest.tobytes() in data for data in grid.wire)


def test_a_site_refuses_a_federation_of_other_classes(sites: list[Site]) -> None:
    # The server could not: what is masked is in the mean before its classes could be read.
    changed = replace(sites[2], train=replace(sites[2].train, classes=("x", "y", "z")))
    grid: Any = SimpleNamespace(get_node_ids=lambda: [100])
    asked = _Collects(grid, Order(1, {}), sites[0].classes)
    ((_, order),) = asked.configure_fit(1, ndarrays_to_parameters([]), None)
    assert json.loads(order.config["classes"]) == list(sites[0].classes)
    _require_classes(sites[2], sites[0].classes)
    with pytest.raises(UserError, match="site c: its classes are x, y, z; expected negative"):
        _require_classes(changed, sites[0].classes)


def test_two_sites_are_refused_with_the_reason(make_recipe: MakeRecipe) -> None:
    with pytest.raises(UserError, match="each can subtract its own weights from the mean"):
        make_recipe(secure=True)


def test_one_process_hides_nothing(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(secure=True, sites={name: name for name in "abc"})
    with pytest.raises(UserError, match="one process sees all weights anyway"):
        federate(recipe)
