"""Flower's FedAvg, unmodified in how it averages: what is added checks, keeps and tells.

Updates are checked before FedAvg sees them (``checks.py``), sorted by site so that floating-point
sums do not depend on who answered first, and every finished round is written, because a server
that was killed goes on from nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from deft_llm.errors import UserError
from deft_llm.federated import checkpoint
from deft_llm.federated.checkpoint import Progress
from deft_llm.federated.checks import Update, accepted, repeated
from deft_llm.federated.client import Order, SiteScores
from deft_llm.federated.engine import row_of, told
from deft_llm.federated.flower.messages import (
    arrays_of,
    order_config,
    read_scores,
    read_update,
    state_of,
)
from deft_llm.federated.rules import Arrays
from deft_llm.federated.settings import FederatedRecipe

logger = logging.getLogger(__name__)


class CheckedFedAvg(FedAvg):
    """FedAvg whose rounds are checked, logged and kept.

    Args:
        recipe: The federation.
        rule: Name of the rule, for the log.
        folder: Where finished rounds are kept.
        sites: Number of nodes to wait for.
        first: Weights that the first round begins with.
        classes: Names of the classes.
    """

    def __init__(
        self,
        recipe: FederatedRecipe,
        rule: str,
        folder: Path,
        sites: int,
        first: Arrays,
        classes: tuple[str, ...],
    ) -> None:
        # As in one process: if all sites are fewer than asked for, all of them are enough.
        self.at_least = least = min(sites, recipe.at_least)
        super().__init__(min_train_nodes=least, min_evaluate_nodes=least, min_available_nodes=least)
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe, self.rule, self.folder, self.classes = recipe, rule, folder, classes
        self.progress = checkpoint.load(folder, first)
        self.scores: list[SiteScores] = []
        self._updates: list[Update] = []
        self._left_out: dict[str, str] = {}
        self._order = self.progress.order
        self._began = 0.0
        self._asked: tuple[int, ...] = ()
        self._names: dict[int, str] = {}

    @property
    def order(self) -> Order:
        """What the next round begins with."""
        return self.progress.order

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As of FedAvg, with what an order says."""
        self.begin(time.perf_counter())
        config.update(order_config(self._order))
        # Our number of the round: after a restart Flower counts from 1 again.
        messages = list(super().configure_train(self._order.number, arrays, config, grid))
        self._asked = tuple(m.metadata.dst_node_id for m in messages)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check the updates, and average those that pass.

        Raises:
            UserError: If too few pass.
        """
        updates, by_site, replies = [], {}, list(replies)
        self._note_silent(replies)
        for reply in replies:
            try:
                update = read_update(_content(reply))
            except UserError as error:
                self._left_out[self._name(reply.metadata.src_node_id)] = str(error)
                continue
            updates.append(update)
            by_site[update.site] = reply
            self._names[reply.metadata.src_node_id] = update.site
        updates.sort(key=lambda update: update.site)
        good, wrong = accepted(updates, self._order.state, self.classes, self.at_least)
        self._left_out |= wrong
        for site, why in self._left_out.items():
            logger.warning("round %d: %s is left out: %s", self._order.number, site, why)
        kept = [by_site[update.site] for update in good]  # names of good ones occur once
        arrays, metrics = super().aggregate_train(server_round, kept)
        assert arrays is not None
        self.take(state_of(arrays), good, updates)
        return arrays, metrics

    def begin(self, time: float) -> None:
        """Note that a round has begun."""
        self._began, self._left_out, self._order = time, {}, self.order

    def take(self, state: Arrays, good: list[Update], received: list[Update]) -> None:
        """Go on from the mean of the good ones of the updates that were received."""
        # All of them are logged: what was refused was sent as well, and its privacy is spent.
        self._updates = received
        clips, included = sum(u.clips for u in good), tuple(u.site for u in good)
        following = Order(self._order.number + 1, state, clips, included)
        # No memories here: they stay with the sites.
        self.progress = Progress(following, {}, list(self.progress.log))

    def arrays(self) -> ArrayRecord:
        """The mean that the next round begins with."""
        return arrays_of(self.order.state)

    def _note_silent(self, replies: list[Message]) -> None:
        answered = {reply.metadata.src_node_id for reply in replies}
        limit = f"no answer within {self.recipe.round_seconds:g} s, the limit of a round"
        self._left_out |= {self._name(n): limit for n in self._asked if n not in answered}

    def _name(self, node: int) -> str:
        """The site at a node, if it has answered before."""
        return self._names.get(node, f"node {node}")

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As of FedAvg, with what the next order says."""
        config.update(order_config(self.order))
        return super().configure_evaluate(self._order.number, arrays, config, grid)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Read the scores, and write the finished round."""
        found, wrong = [], {}
        for reply in replies:
            try:
                found.append(read_scores(_content(reply), self.classes))
            except UserError as error:
                wrong[self._name(reply.metadata.src_node_id)] = str(error)
        wrong |= (twice := repeated(scores.site for scores in found))
        self._left_out |= {f"{site}, scores": why for site, why in wrong.items()}
        found = [scores for scores in found if scores.site not in twice]
        if not found:
            raise UserError(f"round {self._order.number}: no site sent scores")
        self.scores = sorted(found, key=lambda scores: scores.site)
        seconds = time.perf_counter() - self._began
        row = row_of(self._order, self._updates, self.scores, seconds, self._left_out)
        # Not before the scores: a server that is killed in between has the whole round again.
        self.progress.log.append(row)
        checkpoint.save(self.folder, self.progress)
        logger.info("%s", told(self.rule, self.recipe.rounds, row))
        return None


def _content(reply: Message) -> RecordDict:
    """The content of a reply.

    Raises:
        UserError: If the node says that it failed.
    """
    if reply.has_error():
        raise UserError(f"failed: {reply.error.reason}")
    return reply.content
