"""The command line: ``deft-llm`` and its commands, one file for each group.

A command imports what it needs when it runs, so that ``--help`` is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from deft_llm import __version__
from deft_llm.cli import corpora, instructions, simulate
from deft_llm.cli.chat import chat
from deft_llm.cli.demo import demo
from deft_llm.cli.eval import calibrate, evaluate
from deft_llm.cli.explain import explain
from deft_llm.cli.export import export
from deft_llm.cli.flow import flow, flow_score
from deft_llm.cli.serve import serve
from deft_llm.cli.train import train

COMMANDS: dict[str, Callable[..., None]] = {
    "explain": explain,
    "chat": chat,
    "demo": demo,
    "serve": serve,
    "flow": flow,
    "flow-score": flow_score,
    "train": train,
    "eval": evaluate,
    "calibrate": calibrate,
    "export": export,
}
GROUPS = {"corpora": corpora.app, "simulate": simulate.app, "instructions": instructions.app}

app = typer.Typer(add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False)
for name, command in COMMANDS.items():
    app.command(name)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"deft-llm {__version__}")
        raise typer.Exit


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

    Exit status: 0 done, 1 a check that failed, 2 a wrong input (one line), 130 stopped by Ctrl-C.
    """
