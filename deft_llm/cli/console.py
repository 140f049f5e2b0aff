"""What the commands share: options, labelled lines, progress, a stop that can be resumed."""

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
    """Let the library's progress through to the terminal, with the time of day if asked for."""
    form = "%(asctime)s %(message)s" if times else "%(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", force=True)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Around work that goes on later: Ctrl-C says how, and ends with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {how}", err=True)
        raise typer.Exit(130) from None
