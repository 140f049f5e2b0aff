"""Flower's client app around a site: reads an order, lets the client work, writes its reply.

What stays at the site (batch norms, its own weights under P-FedProx) lives in the context's state,
which Flower keeps at the node over all rounds and never sends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from deft_llm.federated.client import Client
from deft_llm.federated.flower.messages import (
    arrays_of,
    read_order,
    scores_content,
    state_of,
    update_content,
)
from deft_llm.federated.rules import Arrays
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site

SiteOf = Callable[[Context], tuple[int, Site]]
MEMORY = "memory"


def make_client_app(recipe: FederatedRecipe, rule: str, site_of: SiteOf) -> ClientApp:
    """The app of a node.

    Args:
        recipe: The federation.
        rule: Name of the rule.
        site_of: Context -> number of the node's site, and its clips.
    """
    app = ClientApp()

    @lru_cache(maxsize=8)
    def client_of(number: int, site: Site) -> Client:
        return Client(recipe, rule, site, number)

    def client(context: Context) -> Client:
        return client_of(*site_of(context))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        update, memory = client(context).train(read_order(message.content), memory_of(context))
        context.state[MEMORY] = arrays_of(memory)
        return Message(update_content(update), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        here = client(context)
        scores = here.evaluate(read_order(message.content), memory_of(context))
        return Message(scores_content(scores, here.site.classes), reply_to=message)

    return app


def memory_of(context: Context) -> Arrays:
    """What the node keeps from the rounds before."""
    kept: Any = context.state.get(MEMORY)
    if kept is None:
        return {}
    return {name: np.asarray(x, np.float32) for name, x in state_of(kept).items()}
