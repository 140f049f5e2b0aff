"""Shared parts of the commands: options, labelled lines, progress, resumable stops."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from deft_llm.errors import UserError

ClipPath = Annotated[Path, typer.Argument(help="a video file, or a folder of frames")]
Checkpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        "--model",
        help="folder of a model; embedded: the one that comes along; smollm2: a larger language "
        "model, after `deft-llm models get smollm2`",
    ),
]
ClipPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="CLIP...",
        help="videos, folders of frames, and folders that hold these at any depth",
    ),
]
ClipInterval = Annotated[
    str | None,
    typer.Option(
        metavar="ONSET,APEX,OFFSET", help="frames to measure, counted from 0, of a single clip"
    ),
]
CsvRows = Annotated[
    Path | None, typer.Option("--csv", help="write a row for each clip; - for stdout")
]
JsonRecords = Annotated[
    Path | None, typer.Option("--json", help="write an object for each clip; - for stdout")
]
COLUMN = 10  # width of the labels on the left


def _in_a_folder(path: Path | None) -> Path | None:
    # Before the work that gives the figures, which may take hours.
    if path is not None and not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", callback=_in_a_folder, help="also write the figures here"),
]


def show(label: str, text: object) -> None:
    """Print a line with a label on its left, at once, even into a pipe."""
    print(f"{label:<{COLUMN}}{text}", flush=True)


def log_progress(times: bool = False) -> None:
    """Show the library's log messages on the terminal, with the time of day if requested."""
    form = "%(asctime)s %(message)s" if times else "%(message)s"
    # force: a library may have configured logging already, and basicConfig would then do nothing.
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", force=True)
    # It tells of its list of fonts when it draws for the first time.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


class Progress:
    """A bar on stderr, on a terminal only; lines that are printed or logged stay above it."""

    def __init__(self, steps: int) -> None:
        """Start at 0 of so many steps."""
        from tqdm import tqdm

        self._tqdm = tqdm
        form = "{desc} |{bar:20}| {n_fmt}/{total_fmt} · {elapsed}<{remaining}"
        self._bar = tqdm(total=steps, disable=None, leave=False, bar_format=form)
        self._logging = ExitStack()

    def at(self, step: int, doing: str) -> None:
        """Say which step has begun, counted from 0, and what it does."""
        if not self._bar.disable:
            self._bar.n = step
            self._bar.set_description_str(doing)

    @contextmanager
    def above(self) -> Iterator[None]:
        """Print inside the block: the bar makes room."""
        with self._tqdm.external_write_mode():
            yield

    def __enter__(self) -> Progress:
        from tqdm.contrib.logging import logging_redirect_tqdm

        if not self._bar.disable:
            self._logging.enter_context(logging_redirect_tqdm())
        return self

    def __exit__(self, *_: object) -> None:
        self._logging.close()
        self._bar.close()


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Wrap work that can be resumed: Ctrl-C prints how, and exits with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {how}", err=True)
        # 128 + SIGINT, as shells report it.
        raise typer.Exit(130) from None


@contextmanager
def tidy_end() -> Iterator[None]:
    """SIGTERM ends the block by an exception, so that unfinished files are removed; status 143."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
