"""A federation in one process: every site in turn, checked and averaged as a server does it.

Nothing is sent over a network, yet a site gets only what a server would send, and gives only what
a site would send. This is what a laptop and the tests use; Flower's engines run the same clients.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm.federated import checkpoint
from deft_llm.federated.checkpoint import Progress
from deft_llm.federated.checks import Update, accepted
from deft_llm.federated.client import Client, Order, SiteScores
from deft_llm.federated.exchange import bytes_of, size_in_words
from deft_llm.federated.rules import RULES, mean
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site, pooled
from deft_llm.metrics.classification import uar, uf1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RuleRun:
    """A finished rule.

    Attributes:
        rule: Its name.
        scores: Of each site, after the last round.
        log: A row for each round.
        clients: The sites with their last weights.
    """

    rule: str
    scores: tuple[SiteScores, ...]
    log: tuple[dict[str, Any], ...]
    clients: tuple[Client, ...]

    @property
    def pooled(self) -> NDArray[np.int64]:
        """Confusion matrix over the test clips of all sites."""
        counts: NDArray[np.int64] = np.sum([s.counts for s in self.scores], axis=0)
        return counts


def run_rule(recipe: FederatedRecipe, rule: str, sites: Sequence[Site], folder: Path) -> RuleRun:
    """Run the rounds that are left of one rule.

    Args:
        recipe: The federation.
        rule: Name of the rule.
        sites: The sites, checked before.
        folder: Where its rounds are kept.

    Raises:
        UserError: If too few sites send weights that can be averaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # One client with everybody's clips; it is still scored site by site.
    places = [pooled(sites)] if rule == "central" else list(sites)
    clients = [Client(recipe, rule, site, number) for number, site in enumerate(places)]
    progress = checkpoint.load(folder, clients[0].initial())
    if progress.done:
        logger.info("%s: goes on after round %d of %d", rule, progress.done, recipe.rounds)
    while progress.done < recipe.rounds:
        progress = _round(recipe, rule, clients, sites, progress)
        checkpoint.save(folder, progress)
        logger.info("%s", told(rule, recipe.rounds, progress.log[-1]))
    scores = tuple(_evaluated(clients, sites, progress))
    return RuleRun(rule, scores, tuple(progress.log), tuple(clients))


def _round(
    recipe: FederatedRecipe,
    rule: str,
    clients: Sequence[Client],
    sites: Sequence[Site],
    before: Progress,
) -> Progress:
    """One round: training at every site, the mean, scores at every site."""
    order, started = before.order, time.perf_counter()
    memories, updates, late = dict(before.memories), [], {}
    for client in clients:
        begun, name = time.perf_counter(), client.site.name  # by itself: sites take turns here
        update, memory = client.train(order, before.memories.get(name, {}))
        if (seconds := time.perf_counter() - begun) > recipe.round_seconds:
            late[name] = f"{seconds:.0f} s; the limit of a round is {recipe.round_seconds:g} s"
        else:
            updates.append(update)
        # The site keeps what it learned also where the server did not wait for it.
        memories[name] = memory
    # A centralised training has one client, fewer than `at_least` may ask for.
    good, wrong = accepted(
        updates, order.state, sites[0].classes, min(recipe.at_least, len(clients))
    )
    for name, why in {**wrong, **late}.items():
        logger.warning("round %d: site %s is left out: %s", order.number, name, why)
    following = next_order(order, good, sends=RULES[rule].sends)
    after = Progress(following, memories, list(before.log))
    scores = _evaluated(clients, sites, after)
    after.log.append(
        row_of(order, updates, scores, time.perf_counter() - started, {**wrong, **late})
    )
    return after


def next_order(order: Order, good: Sequence[Update], sends: bool = True) -> Order:
    """What the next round begins with."""
    # By name, as the server sorts its answers: sums of floats depend on the order.
    good = sorted(good, key=lambda update: update.site)
    state = mean([u.state for u in good], [u.clips for u in good]) if sends else {}
    return Order(order.number + 1, state, sum(u.clips for u in good), tuple(u.site for u in good))


def _evaluated(
    clients: Sequence[Client], sites: Sequence[Site], progress: Progress
) -> list[SiteScores]:
    """Scores at every site."""
    if clients[0].rule == "central":
        client = clients[0]
        client.begin(progress.order, progress.memories.get(client.site.name, {}))
        return [client.scores(site) for site in sites]
    return [c.evaluate(progress.order, progress.memories.get(c.site.name, {})) for c in clients]


def row_of(
    order: Order,
    updates: Sequence[Update],
    scores: Sequence[SiteScores],
    seconds: float,
    left_out: dict[str, str],
) -> dict[str, Any]:
    """What is logged of a round: losses, scores, bytes and time."""
    counts = np.sum([s.counts for s in scores], axis=0)
    up = sum(bytes_of(u.state) for u in updates)
    return {
        "round": order.number,
        "uf1": uf1(counts),
        "uar": uar(counts),
        "sites": {s.site: round(uf1(s.counts), 6) for s in scores},
        "loss": {u.site: u.loss for u in updates if math.isfinite(u.loss)},
        # Down and up: the same weights to every site, and from every site.
        "bytes": up + len(updates) * bytes_of(order.state),
        "epsilon": max((u.epsilon for u in updates), default=0.0),
        "left_out": left_out,
        "seconds": round(seconds, 2),
    }


def told(rule: str, rounds: int, row: dict[str, Any]) -> str:
    """A finished round in a line."""
    sites = " ".join(f"{name} {value:.3f}" for name, value in row["sites"].items())
    spent = f" · epsilon {row['epsilon']:.2f}" if row["epsilon"] else ""
    return (
        f"{rule} {row['round']}/{rounds} · UF1 {row['uf1']:.3f} ({sites}) · "
        f"{size_in_words(row['bytes'])} · {row['seconds']:.1f} s{spent}"
    )
