"""``deft-llm federate``: train at several sites that share weights, not clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from deft_llm import resources
from deft_llm.cli.console import log_progress, show, stoppable
from deft_llm.errors import UserError

if TYPE_CHECKING:
    from deft_llm.federated.settings import FederatedRecipe

_RUN = "run"


class _RunsRecipes(typer.core.TyperGroup):
    """Takes a recipe in place of a command: ``federate FILE`` is ``federate run FILE``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # A misspelt command is therefore told as an unknown recipe.
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
        stoppable("the same command goes on after the last finished round"),
        stopping_by_signals(),
        naming_disk_errors(settings.output),
    ):
        table = compared(settings)
    print(f"\n{table}")
    show("written", settings.output)


RuleOption = Annotated[str, typer.Option("--rule", help="the rule: fedavg, p_fedprox, fedbn …")]
RecipeFile = Annotated[str, typer.Argument(help="the recipe, the same on all machines")]
Changes = Annotated[list[str] | None, typer.Argument(help="dotted changes, the same everywhere")]


@app.command()
def server(
    recipe: RecipeFile,
    overrides: Changes = None,
    certificates: Annotated[
        Path, typer.Option(help="folder that federate certificates wrote")
    ] = Path("certificates"),
    address: Annotated[str, typer.Option(help="host:port to listen on")] = "127.0.0.1:9321",
    rule: RuleOption = "p_fedprox",
) -> None:
    """Serve the rounds of one rule to clients, over TLS; needs no clips.

    Waits for all sites of the recipe, then runs its rounds. A server that was killed and is started
    again goes on after the last finished round.
    """
    log_progress(times=True)
    from deft_llm.evaluation.federated.tables import write_tables
    from deft_llm.federated.flower.deployment import run_server
    from deft_llm.federated.flower.job import Job
    from deft_llm.stopping import stopping_by_signals

    path = resources.recipe(recipe)
    settings = _settings(path, overrides, rule)
    # Flower runs the app in another folder: paths must not depend on this one.
    job = Job(str(path.resolve()), tuple(overrides or ()), rule, str(settings.output.resolve()))
    with (
        stoppable("the same command goes on after the last finished round"),
        stopping_by_signals(),
    ):
        done = run_server(job, address, certificates)
    print(f"\n{write_tables(settings, [done])}")
    show("written", settings.output)


@app.command()
def client(
    recipe: RecipeFile,
    site: Annotated[str, typer.Option(help="name of this site in the recipe")],
    overrides: Changes = None,
    data: Annotated[
        Path | None, typer.Option(help="folder of this site's clips, if not the recipe's")
    ] = None,
    address: Annotated[str, typer.Option("--server", help="host:port of it")] = "127.0.0.1:9321",
    authority: Annotated[
        Path, typer.Option("--certificates", help="ca.crt of the server, or its folder")
    ] = Path("certificates"),
    output: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder for what stays at this site")
    ] = None,
    rule: RuleOption = "p_fedprox",
) -> None:
    """Take part in a federation with the clips of one folder, which never leave this machine.

    Runs the installed package alone, whatever the server sends. Joins again by the same command.
    """
    log_progress(times=True)
    from deft_llm.federated.flower.certificates import AUTHORITY
    from deft_llm.federated.flower.deployment import run_client
    from deft_llm.federated.flower.job import Job
    from deft_llm.stopping import stopping_by_signals

    path = resources.recipe(recipe)
    settings = _settings(path, overrides, rule)
    # One for each site: several may run on one machine.
    folder = output or settings.output / f"site-{site}"
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        recipe=str(path.resolve()),
        overrides=tuple(overrides or ()),
        rule=rule,
        folder=str(folder.resolve()),
        site=site,
        data="" if data is None else str(data.resolve()),
    )
    with stoppable("the same command joins again"), stopping_by_signals():
        run_client(job, address, authority / AUTHORITY if authority.is_dir() else authority)
    show("written", folder)


@app.command()
def certificates(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(help="names and addresses by which clients reach the server"),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="folder to write")] = Path(
        "certificates"
    ),
    days: Annotated[int, typer.Option(min=1, help="how long they are valid")] = 365,
) -> None:
    """Make the certificates of a server; clients are given ca.crt alone."""
    from deft_llm.federated.flower import needed
    from deft_llm.federated.flower.certificates import make_certificates

    # Before the folder is made.
    needed("cryptography")
    for path in make_certificates(out, hosts or [], days):
        show("written", path)
    show("", f"give each client {out / 'ca.crt'}; server.key stays on this machine")


def _settings(path: Path, overrides: list[str] | None, rule: str) -> FederatedRecipe:
    """The recipe of a deployed federation.

    Raises:
        UserError: If it is wrong, or the rule exchanges nothing.
    """
    from deft_llm.federated.rules import RULES
    from deft_llm.federated.run import recipe_of

    # Rules that send nothing, such as training apart, have nothing to do with a server.
    if rule not in RULES or not RULES[rule].sends:
        known = ", ".join(name for name, found in RULES.items() if found.sends)
        raise UserError(f"rule {rule!r}: expected one that exchanges weights: {known}")
    settings = recipe_of(path, overrides or ())
    # Simulated sites differ by what is simulated for them, in one process.
    if not settings.sites:
        raise UserError(f"{path}: simulated sites have no machines; name them under sites")
    return settings
