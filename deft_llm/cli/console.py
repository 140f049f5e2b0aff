"""Shared parts of the commands: options, labelled lines, progress, resumable stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deft_llm.media.options import ReadOptions

ClipPath = Annotated[Path, typer.Argument(help="a video file, or a folder of frames")]
Checkpoint = Annotated[
    Path, typer.Option(help="folder of a model; embedded: the one that comes along")
]
Fps = Annotated[
    float | None,
    typer.Option(help="frames per second, in place of the file's times; pictures have none"),
]
Start = Annotated[
    str | None, typer.Option(metavar="MOMENT", help="first frame to read: 120, or 1.5s")
]
Stop = Annotated[
    str | None, typer.Option(metavar="MOMENT", help="frame to stop before: 240, or 3s")
]
Stride = Annotated[int, typer.Option(help="read every so many frames")]
Face = Annotated[
    int | None,
    typer.Option(help="whom to follow, 1 for the leftmost face; default: the largest"),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="also write the figures here")]
COLUMN = 10  # width of the labels on the left


def read_options(
    clip: Path,
    fps: float | None,
    start: str | None,
    stop: str | None,
    stride: int,
    face: int | None,
) -> ReadOptions:
    """How a clip is read, from the command's options; see :class:`ReadOptions`."""
    from deft_llm.media.options import Moment, ReadOptions

    first, last = (None if text is None else Moment.parse(text) for text in (start, stop))
    return ReadOptions.of(clip, fps=fps, start=first, stop=last, stride=stride, face=face)


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
