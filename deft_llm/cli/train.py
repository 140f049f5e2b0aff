"""``deft-llm train``, also ``train.py``: train any model by its recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from deft_llm import resources
from deft_llm.cli.console import log_progress, resumable


def train(
    recipe: Annotated[str, typer.Argument(help="a YAML file, or one of ours: deft/tiny")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="dotted changes, e.g. data.clips=200")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print what it would cost, and stop")
    ] = False,
) -> None:
    """Train what a recipe describes; after a stop, the same command resumes.

    On several GPUs or machines: accelerate launch -m deft_llm train RECIPE.
    """
    log_progress(times=True)
    # An unknown recipe fails here, before the slow imports.
    path = resources.recipe(recipe)
    from deft_llm.training.tasks import estimate_cost, run

    if dry_run:
        print(*estimate_cost(path, overrides or ()), sep="\n")
        return
    with resumable("the same command goes on from the last checkpoint"):
        run(path, overrides or ())
