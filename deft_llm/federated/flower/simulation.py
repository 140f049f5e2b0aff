"""The federation on Flower's simulation engine: every site an actor of Ray."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deft_llm.errors import UserError
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site


def simulate(recipe: FederatedRecipe, rule: str, sites: Sequence[Site], folder: Path) -> RuleRun:
    """Run one rule with Flower and Ray installed; arguments as for ``engine.run_rule``.

    Raises:
        UserError: As ``engine.run_rule``.
    """
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from deft_llm.federated.flower.clients import Node
    from deft_llm.federated.flower.parts import client_app, rounds
    from deft_llm.federated.flower.serving import finished

    # Flower tells each round at length, twice; ours are the lines of the recipe's rounds.
    logging.getLogger("flwr").setLevel(logging.WARNING)
    everyone = tuple(sites)

    def site_of(context: Context) -> tuple[int, Site]:
        number = int(context.node_config["partition-id"])
        return number, everyone[number]

    server, problems = ServerApp(), []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            rounds(grid, recipe, rule, folder, len(everyone))
        except UserError as error:  # Flower would print it with a traceback
            problems.append(error)

    resources: dict[str, Any] = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(
        server_app=server,
        client_app=client_app(Node(recipe, rule, site_of)),
        num_supernodes=len(everyone),
        backend_config=resources,
    )
    if problems:
        raise problems[0]
    return finished(rule, folder)
