"""``deft-llm federate``: train at several sites that share weights, not clips."""

from __future__ import annotations

from typing import Annotated

import click
import typer

from deft_llm import resources
from deft_llm.cli.console import log_progress, resumable, show

_RUN = "run"


class _RunsRecipes(typer.core.TyperGroup):
    """Takes a recipe in place of a command: ``federate FILE`` is ``federate run FILE``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = [_RUN, *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_RunsRecipes,
    help="Train at several sites that share weights, not clips.",
    no_args_is_help=True,
)


@app.command(_RUN)
def run(
    recipe: Annotated[str, typer.Argument(help="a YAML file, or one of ours: federated/psyau")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="dotted changes, e.g. rounds=5 rules=[fedavg]")
    ] = None,
) -> None:
    """Run a whole federation; after a stop, the same command goes on after the last round.

    Prints a line for each round (scores of the sites, bytes, time), and at the end one table, rule
    by site, which is also written to the folder of the run with the curves.
    """
    log_progress(times=True)
    path = resources.recipe(recipe)
    from deft_llm.evaluation.federated.tables import compared
    from deft_llm.federated.run import recipe_of
    from deft_llm.files import naming_disk_errors
    from deft_llm.stopping import stopping_by_signals

    settings = recipe_of(path, overrides or ())
    with (
        resumable("the same command goes on after the last finished round"),
        stopping_by_signals(),
        naming_disk_errors(settings.output),
    ):
        table = compared(settings)
    print(f"\n{table}")
    show("written", settings.output)
