"""The command line: ``deft-llm`` and its commands, one file for each group.

``--help`` has to be fast: a command imports what it needs when it runs, and a group of commands is
imported when one of them is called.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import unwrap
from typing import Annotated

import click
import typer.core
import typer.utils

from deft_llm import __version__
from deft_llm.cli.chat import chat
from deft_llm.cli.demo import demo
from deft_llm.cli.eval import calibrate, evaluate
from deft_llm.cli.explain import explain
from deft_llm.cli.export import export
from deft_llm.cli.flow import flow, flow_score
from deft_llm.cli.gaze import gaze
from deft_llm.cli.recognize import recognize
from deft_llm.cli.scan import scan
from deft_llm.cli.serve import serve
from deft_llm.cli.spot import spot
from deft_llm.cli.train import train

# In the order of --help: from what most people come for to what few need.
COMMANDS: dict[str, Callable[..., None]] = {
    "explain": explain,
    "spot": spot,
    "recognize": recognize,
    "scan": scan,
    "chat": chat,
    "demo": demo,
    "serve": serve,
    "flow": flow,
    "flow-score": flow_score,
    "gaze": gaze,
    "train": train,
    "eval": evaluate,
    "calibrate": calibrate,
    "export": export,
}
# Name of a module beside this one, with its typer app -> what it is for.
GROUPS: dict[str, str] = {
    "corpora": "Datasets: check, show, prepare, simulate.",
    "simulate": "Write simulated data.",
    "federate": "Train at several sites that share weights, not clips.",
    "models": "Optional models: list, download, convert.",
    "instructions": "Instruction data: build, validate, audit.",
}


# Plain text: loading rich takes a third of the time of --help, and its frames break in a log.
typer.core.HAS_RICH = False
_CLICK_DESCRIBES = hasattr(click.Command, "format_arguments")  # click 8.5 and later


class _Root(typer.core.TyperGroup):
    """Lists a group by its name alone, and imports it when one of its commands is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click 8.5 suggests names as well.
        self.suggest_commands = not _CLICK_DESCRIBES
        name, command, rest = super().resolve_command(ctx, args)
        if name in GROUPS:
            # The one that was added below has a help and no commands.
            group = typer.main.get_group(import_module(f"deft_llm.cli.{name}").app)
            for member in group.commands.values():
                _describe_arguments(member)
            command = group
        elif command is not None:
            _describe_arguments(command)
            # People append it to what they typed.
            command.params.append(_VERSION)
        return name, command, rest


def _describe_arguments(command: click.Command) -> None:
    """Give arguments their help again, which typer loses with click 8.5."""
    if command.callback is None or not _CLICK_DESCRIBES:
        return
    # Of the function below all decorators, where the annotations with the help are.
    known = typer.utils.get_params_from_function(unwrap(command.callback))
    for param in command.params:
        if isinstance(param, typer.core.TyperArgument) and param.name in known:
            param.help = known[param.name].default.help
    # typer's list of arguments is enough.
    command.format_arguments = lambda ctx, formatter: None  # type: ignore[method-assign]


def _print_version(ctx: typer.Context, param: typer.CallbackParam, wanted: bool) -> None:
    if wanted:
        print(f"deft-llm {__version__}")
        raise typer.Exit


# Of every command; the root has its own below.
_VERSION = click.Option(
    ["--version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and stop.",
)

# typer's own tracebacks print the values of all variables: frames, tensors, keys.
app = typer.Typer(cls=_Root, no_args_is_help=True, pretty_exceptions_enable=False)
for name, command in COMMANDS.items():
    app.command(name)(command)
# Without its commands, which are imported when one of them is called.
for name, purpose in GROUPS.items():
    app.add_typer(typer.Typer(help=purpose), name=name)


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Micro-expressions in a face video, explained by measured motion.

    Exit status: 0 done; 1 a check that failed, or some of many clips that failed; 2 a wrong input
    (one line); 130 stopped by Ctrl-C.
    """
