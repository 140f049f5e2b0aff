"""The apps of a federation with plain or with masked weights, as its recipe says."""

from __future__ import annotations

from pathlib import Path

from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from deft_llm.federated.engine import RuleRun
from deft_llm.federated.flower.clients import Node, make_client_app
from deft_llm.federated.flower.secure import make_secure_app, serve_secure
from deft_llm.federated.flower.serving import serve
from deft_llm.federated.settings import FederatedRecipe


def client_app(node: Node) -> ClientApp:
    """The app of a node."""
    return make_secure_app(node) if node.recipe.secure else make_client_app(node)


def rounds(grid: Grid, recipe: FederatedRecipe, rule: str, folder: Path, sites: int) -> RuleRun:
    """Run the rounds that are left; arguments as for ``serving.serve``.

    Raises:
        UserError: As there.
    """
    run = serve_secure if recipe.secure else serve
    return run(grid, recipe, rule, folder, sites)
