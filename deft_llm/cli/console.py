"""Shared parts of the commands: options, labelled lines, progress, resumable stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

ClipPath = Annotated[Path, typer.Argument(help="a video file, or a folder of frames")]
Checkpoint = Annotated[
    Path, typer.Option(help="folder of a model; embedded: the one that comes along")
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="also write the figures here")]
COLUMN = 10  # width of the labels on the left


def show(label: str, text: object) -> None:
    """Print a line with a label on its left."""
    print(f"{label:<{COLUMN}}{text}")


def log_progress(times: bool = False) -> None:
    """Show the library's log messages on the terminal, with the time of day if requested."""
    form = "%(asctime)s %(message)s" if times else "%(message)s"
    # force: a library may have configured logging already, and basicConfig would then do nothing.
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", force=True)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Wrap work that can be resumed: Ctrl-C prints how, and exits with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {how}", err=True)
        # 128 + SIGINT, as shells report it.
        raise typer.Exit(130) from None
