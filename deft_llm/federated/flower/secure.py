"""Secure aggregation by Flower's SecAgg+: the server learns the mean and no site's weights.

Each site masks its weights by numbers that it shares with the others and that cancel in the sum.
Flower has the protocol in its older API alone; scores travel as in every other rule. Weights are
cut to -8..8 and quantised, so the mean differs by some 1e-5. With two sites it would hide nothing:
each can subtract its own weights from the mean.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flwr.compat.common.recorddict_compat as compat
import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid

from deft_llm import facs
from deft_llm.errors import UserError
from deft_llm.federated.checks import Update, other_classes, repeated
from deft_llm.federated.client import Order
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.exchange import listed, named
from deft_llm.federated.flower.clients import Node
from deft_llm.federated.flower.serving import finished, wait_for, write_scores
from deft_llm.federated.flower.strategy import CheckedFedAvg
from deft_llm.federated.learners import first_weights
from deft_llm.federated.rules import Arrays
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site

logger = logging.getLogger(__name__)
_RANGE = 8.0  # weights are cut to -8..8
_SHARES, _THRESHOLD = 1.0, 0.67  # every site holds a share; two thirds undo a mask


def make_secure_app(node: Node) -> ClientApp:
    """The app of a node whose weights are masked."""
    app = ClientApp()

    @app.train(mods=[secaggplus_mod])
    def train(message: Message, context: Context) -> Message:
        asked = compat.recorddict_to_fitins(message.content, keep_input=True)
        client = node.client(context)
        _require_classes(client.site, json.loads(str(asked.config["classes"])))
        state = named(parameters_to_ndarrays(asked.parameters), client.names.sent)
        included = json.loads(str(asked.config["included"]))
        number, clips = int(asked.config["round"]), int(asked.config["clips"])
        update = node.train(Order(number, state, clips, tuple(included)), context)
        _require_range(update, node.recipe.largest_site)
        answer = FitRes(
            Status(Code.OK, ""),
            ndarrays_to_parameters(listed(update.state)),
            update.clips,
            {"site": update.site, "loss": update.loss, "epsilon": update.epsilon},
        )
        return Message(compat.fitres_to_recorddict(answer, keep_input=False), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return node.scored(message, context)

    return app


def _require_classes(site: Site, classes: Sequence[str]) -> None:
    """Reject a federation of other classes, at the site: a masked update cannot be left out.

    Raises:
        UserError: If they differ.
    """
    if said := other_classes(site.classes, classes):
        raise UserError(f"site {site.name}: {said}")


def _require_range(update: Update, most: int) -> None:
    """Reject what the protocol would cut, at the site: the server cannot see it.

    Raises:
        UserError: If a weight is not finite or too large, or the site has too many clips.
    """
    if update.clips > most:
        raise UserError(f"site {update.site}: {update.clips} clips; raise largest_site ({most})")
    for name, values in update.state.items():
        if not np.isfinite(values).all() or np.abs(values).max(initial=0) > _RANGE:
            raise UserError(
                f"site {update.site}: {name} is not within -{_RANGE:g}..{_RANGE:g}, which secure "
                "aggregation cuts to; take rule fedbn or p_fedprox, which keep running statistics"
            )


class _Collects(FedAvg):
    """Older API: gives every node the same order, and keeps the mean that comes out."""

    def __init__(self, grid: Grid, order: Order, classes: Sequence[str]) -> None:
        super().__init__()
        self.grid, self.order, self.classes = grid, order, classes
        self.mean: list[np.ndarray] = []
        self.updates: list[Update] = []

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        """An order for every node."""
        order = self.order
        asked = FitIns(
            parameters,
            {
                "round": order.number,
                "clips": order.clips,
                # The older API sends no lists.
                "included": json.dumps(list(order.included)),
                "classes": json.dumps(list(self.classes)),
            },
        )
        nodes = self.grid.get_node_ids()
        return [(SimpleNamespace(node_id=node, cid=str(node)), asked) for node in nodes]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        """Keep the mean: all results hold it by now."""
        for _, result in results:
            self.mean = parameters_to_ndarrays(result.parameters)
            said = result.metrics
            self.updates.append(
                Update(
                    str(said["site"]),
                    {},
                    result.num_examples,
                    float(said["loss"]),
                    epsilon=float(said["epsilon"]),
                )
            )
        return None, {}


def secure_mean(
    grid: Grid, recipe: FederatedRecipe, order: Order, context: Context
) -> tuple[Arrays, list[Update]]:
    """One round of training whose mean alone is seen.

    Returns:
        The mean, and what else the sites said.

    Raises:
        UserError: If too few sites went through the protocol, or two under one name.
    """
    collects = _Collects(grid, order, facs.SCHEMES[recipe.scheme])
    legacy = LegacyContext(context, ServerConfig(num_rounds=1), collects)
    parameters = ndarrays_to_parameters(listed(order.state))
    record: ArrayRecord = compat.parameters_to_arrayrecord(parameters, keep_input=True)
    legacy.state.array_records[MAIN_PARAMS_RECORD] = record
    legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord(
        {Key.CURRENT_ROUND: order.number, Key.START_TIME: 0.0}
    )
    workflow = SecAggPlusWorkflow(
        num_shares=_SHARES,
        reconstruction_threshold=_THRESHOLD,
        # Most clips of a site: the masked numbers are the weights times the clips.
        max_weight=float(recipe.largest_site),
        clipping_range=_RANGE,
        timeout=recipe.round_seconds,
    )
    workflow(grid, legacy)
    if not collects.mean:
        raise UserError(
            f"round {order.number}: too few sites went through secure aggregation; the same "
            "command goes on after the last finished round"
        )
    for site, why in repeated(update.site for update in collects.updates).items():
        # In the mean already, from which nothing can be taken out.
        raise UserError(f"round {order.number}: site {site}: {why}")
    state = {
        name: found.astype(np.float32).reshape(order.state[name].shape)
        for name, found in named(collects.mean, order.state).items()
    }
    # What a site sent is as long as the mean, which is all that is known of it.
    updates = [replace(update, state=state) for update in collects.updates]
    return state, sorted(updates, key=lambda update: update.site)


def serve_secure(
    grid: Grid, recipe: FederatedRecipe, rule: str, folder: Path, sites: int
) -> RuleRun:
    """As ``serving.serve``, with masked weights.

    Raises:
        UserError: As there, or as :func:`secure_mean`.
    """
    classes, first = facs.SCHEMES[recipe.scheme], first_weights(recipe, rule)
    strategy = CheckedFedAvg(recipe, rule, folder, sites, first, classes)
    if strategy.progress.done >= recipe.rounds:
        return finished(rule, folder)
    wait_for(grid, sites, recipe.round_seconds)
    context = Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})
    while strategy.progress.done < recipe.rounds:
        began = time.perf_counter()
        state, updates = secure_mean(grid, recipe, strategy.order, context)
        strategy.begin(began)
        strategy.take(state, updates, updates)
        config, arrays = ConfigRecord(), strategy.arrays()
        asked = strategy.configure_evaluate(0, arrays, config, grid)
        replies = grid.send_and_receive(asked, timeout=recipe.round_seconds)
        strategy.aggregate_evaluate(0, replies)
    write_scores(folder, strategy.scores)
    return RuleRun(rule, tuple(strategy.scores), tuple(strategy.progress.log), ())
