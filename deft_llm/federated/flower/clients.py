"""Flower's client app around a site: reads an order, lets the client work, writes its reply.

What stays at the site (batch norms, its own weights under P-FedProx) lives in the context's state,
which Flower keeps at the node over all rounds and never sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from safetensors.numpy import load_file, save_file

from deft_llm.federated.checks import Update
from deft_llm.federated.client import Client, Order, save
from deft_llm.federated.flower.messages import (
    arrays_of,
    read_order,
    scores_content,
    state_of,
    update_content,
)
from deft_llm.federated.private import secret_of
from deft_llm.federated.rules import Arrays
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site
from deft_llm.files import replacing
from deft_llm.training.run_folder import FINAL

SiteOf = Callable[[Context], tuple[int, Site]]
MEMORY = "memory"


@dataclass(frozen=True)
class Node:
    """A site as one of Flower's nodes.

    Attributes:
        recipe: The federation.
        rule: Name of the rule.
        site_of: Context -> number of the node's site, and its clips.
        folder: Where the site keeps its memory beyond a run, and its network after the last round;
            None keeps neither.
        token: Tells the nodes of one federation from those of another in the same process; it goes
            with the node to processes of its own.
    """

    recipe: FederatedRecipe
    rule: str
    site_of: SiteOf
    folder: Path | None = None
    token: str = field(default_factory=lambda: uuid4().hex, init=False)

    def client(self, context: Context) -> Client:
        """The site's client; its network and inputs are made once in a process."""
        number, site = self.site_of(context)
        secret = None
        if self.recipe.privacy is not None and self.folder is not None:
            secret = secret_of(self.folder)
        return _client(_Key(self.token, number, self.recipe, self.rule, site, secret))

    def train(self, order: Order, context: Context) -> Update:
        """One round; what stays at the site goes into the context."""
        update, memory = self.client(context).train(order, self._memory(context, order))
        context.state[MEMORY] = arrays_of(memory)
        if self.folder is not None:
            _keep(self.folder, order.number, memory)
        return update

    def scored(self, message: Message, context: Context) -> Message:
        """The reply to a request for scores."""
        here, order = self.client(context), read_order(message.content)
        scores = here.evaluate(order, self._memory(context, order))
        # The order behind the last round: nothing is trained after it.
        if self.folder is not None and order.number > self.recipe.rounds:
            save(here, self.folder / FINAL)
        return Message(scores_content(scores, here.site.classes), reply_to=message)

    def _memory(self, context: Context, order: Order) -> Arrays:
        """What the site keeps from the rounds before an order.

        A server that was killed begins a new run, whose context is empty: then what is on disk
        counts.
        """
        kept: Any = context.state.get(MEMORY)
        if kept is not None:
            return {name: np.asarray(x, np.float32) for name, x in state_of(kept).items()}
        if self.folder is None:
            return {}
        # Not the newest: a server that was killed asks for its last round again.
        before = [path for number, path in _kept(self.folder) if number < order.number]
        return load_file(before[-1]) if before else {}


def make_client_app(node: Node) -> ClientApp:
    """The app of a node."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        update = node.train(read_order(message.content), context)
        return Message(update_content(update), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return node.scored(message, context)

    return app


@dataclass(frozen=True)
class _Key:
    """What makes a client; two are the same if they are of one federation and one number.

    The clips cannot tell: Ray hands over another copy of them with every message.
    """

    token: str
    number: int
    recipe: FederatedRecipe = field(compare=False)
    rule: str = field(compare=False)
    site: Site = field(compare=False)
    secret: int | None = field(compare=False)


@lru_cache(maxsize=8)
def _client(key: _Key) -> Client:
    return Client(key.recipe, key.rule, key.site, key.number, key.secret)


def _keep(folder: Path, number: int, memory: Arrays) -> None:
    """Write what stays at a site after a round; the two last rounds are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    # Five digits, so that names sort as numbers do.
    with replacing(folder / f"memory-{number:05d}.safetensors") as partial:
        save_file(memory, partial)
    # Two, for a round that is asked for again begins where the one before it ended.
    for _, path in _kept(folder)[:-2]:
        path.unlink()


def _kept(folder: Path) -> list[tuple[int, Path]]:
    found = sorted(folder.glob("memory-*.safetensors"))
    return [(int(path.stem.partition("-")[2]), path) for path in found]
