"""The process that Flower starts at a node for each message: it runs the installed client alone.

A SuperNode unpacks and runs the app that the server sends. Here nothing of it is unpacked or
imported: ``deft-llm federate client`` puts this program in the place of Flower's own
``flwr-clientapp``, and it answers every message by the client of this package, with the recipe and
the folder that were given on this machine.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp

from deft_llm.data.sources import ClipSource
from deft_llm.errors import UserError
from deft_llm.federated.flower.clients import Node
from deft_llm.federated.flower.job import Job, current
from deft_llm.federated.flower.parts import client_app
from deft_llm.federated.learners import inputs_of
from deft_llm.federated.sites import Site, make_site

COMMAND = "flwr-clientapp"


def installed_app(*sent: str) -> ClientApp:
    """The client of this package, whatever app the server sent.

    Args:
        *sent: What Flower would load: id, version and hash of the server's app.
    """
    del sent
    job = current()
    recipe = job.read()
    return client_app(Node(recipe, job.rule, lambda context: _site(job), job.kept))


@lru_cache(maxsize=1)
def _site(job: Job) -> tuple[int, Site]:
    return job.number(), open_own(job)


def open_own(job: Job) -> Site:
    """The clips of the job's own site.

    Raises:
        UserError: If they cannot be read.
    """
    recipe = job.read()
    source = ClipSource(folder=Path(job.data)) if job.data else recipe.sites[job.site]
    clips = source.open(inputs_of(recipe), recipe.cache)
    return make_site(job.site, clips, recipe.scheme, recipe.test_share, recipe.split_seed)


def main() -> None:
    """Answer one message; arguments are those of ``flwr-clientapp``."""
    # By name: their packages export functions under the same names.
    run_clientapp = import_module("flwr.supernode.runtime.run_clientapp")
    command = import_module("flwr.supernode.cli.flwr_clientapp")
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    _replace(run_clientapp, "install_from_fab", lambda *given, **named: None)
    _replace(run_clientapp, "get_project_dir", lambda *given, **named: Path())
    _replace(run_clientapp, "install_app_dependencies", _refuse)
    _replace(run_clientapp, "get_load_client_app_fn", lambda *given, **named: installed_app)
    command.flwr_clientapp()


def _replace(module: Any, name: str, function: Callable[..., Any]) -> None:
    # A version of Flower that runs what it is sent by another way must not pass unnoticed.
    if not hasattr(module, name):
        raise UserError(
            f"Flower has no {name} any more: this version could run code of the server; install "
            "the version of constraints.txt"
        )
    setattr(module, name, function)


def _refuse(*given: Any, **named: Any) -> None:
    raise UserError("the server asks to install packages; that is refused")


def write_commands(folder: Path) -> Path:
    """Write a program under each name by which Flower starts one for a message.

    A run can be of other kinds than a client's, of the server's choice; those are refused.

    Returns:
        The folder, which has to come first among those that are searched for programs.
    """
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND

    folder.mkdir(parents=True, exist_ok=True)
    for command in {COMMAND, *TASK_TYPE_TO_COMMAND.values()}:
        name = "main" if command == COMMAND else "refuse"
        path = folder / command
        path.write_text(
            f"#!{sys.executable}\nfrom deft_llm.federated.flower.node import {name}\n\n{name}()\n",
            encoding="utf-8",
        )
        path.chmod(0o755)
    return folder


def refuse() -> None:
    """Run nothing: the server asks for a task that is no client's."""
    sys.exit("the server asks to run something else than a client; that is refused")
