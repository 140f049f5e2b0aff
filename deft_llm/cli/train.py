"""``deft-llm train``, also ``train.py``: train any model by its recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from deft_llm import resources
from deft_llm.cli.console import log_progress, stoppable
from deft_llm.errors import UserError


def train(
    recipe: Annotated[str, typer.Argument(help="a YAML file, or one of ours: deft/tiny")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="dotted changes, e.g. data.clips=200")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print what it would cost, and stop")
    ] = False,
    accelerate: Annotated[
        str | None,
        typer.Option(
            help="start several processes: many_gpus, zero2, zero3, or a file of accelerate config"
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="how many, in place of what that file says")
    ] = None,
) -> None:
    """Train what a recipe describes; after a stop, the same command resumes.

    Ctrl-C and SIGTERM save the current step first.
    """
    # A training runs for hours, and its log is read the next day.
    log_progress(times=True)
    # Unknown names fail here, before the slow imports.
    path = resources.recipe(recipe)
    # One process has no number to set.
    if processes and not accelerate:
        raise UserError("--processes needs --accelerate: many_gpus, zero2, zero3, or a file")
    if dry_run:
        from deft_llm.training.tasks import estimate_cost

        print(*estimate_cost(path, overrides or ()), sep="\n")
    elif accelerate:
        _launch(resources.machine(accelerate), processes, [str(path), *(overrides or ())])
    else:
        _run(path, overrides or ())


def _run(path: Path, overrides: Sequence[str]) -> None:
    """Train in this process."""
    from deft_llm.machine import is_first_process
    from deft_llm.stopping import stopping_by_signals
    from deft_llm.training.tasks import run

    speaks = is_first_process()  # for all
    if not speaks:
        logging.getLogger().setLevel(logging.WARNING)
    goes_on = "the same command goes on from the last checkpoint"
    with stoppable(goes_on, told=speaks), stopping_by_signals(), _own_line():
        run(path, overrides)


@contextmanager
def _own_line() -> Iterator[None]:
    """Close progress bars that an error left open, so that what is said of it has its own line."""
    try:
        yield
    finally:
        from tqdm import tqdm

        # tqdm keeps its open bars there; it has no public list of them.
        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()


def _launch(config: Path, processes: int | None, arguments: Sequence[str]) -> None:
    """Train in several processes, which say themselves how they end."""
    from deft_llm.cli.launch import launch
    from deft_llm.stopping import Stopped

    try:
        # The line on how it ended is printed by the first of the processes.
        status = launch(config, processes, arguments)
    except Stopped as stop:
        status = stop.status
    raise typer.Exit(status)
