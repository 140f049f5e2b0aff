"""Shared parts of the commands: options, labelled lines, checks of outputs, progress, stops."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import click
import typer

from deft_llm.errors import UserError


class _NamedPath(click.Path):
    """A path that is not empty: ``Path("")`` is the current folder, and all in it would be read."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            raise UserError("an empty name; expected a video or a folder (. for this one)")
        return super().convert(value, param, ctx)


NAMED_PATH = _NamedPath(path_type=Path)
ClipPath = Annotated[
    Path, typer.Argument(help="a video file, or a folder of frames", click_type=NAMED_PATH)
]
Checkpoint = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        "--model",
        help="folder of a model; embedded: the one that comes along; smollm2: questions read by a "
        "larger language model, after `deft-llm models get smollm2`",
    ),
]
ClipPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="CLIP...",
        click_type=NAMED_PATH,
        help="videos, folders of frames, and folders that hold these at any depth",
    ),
]
ClipInterval = Annotated[
    str | None,
    typer.Option(
        metavar="ONSET,APEX,OFFSET",
        help="frames to measure, of a single clip; 0 is the first that is read (see --start)",
    ),
]
CsvRows = Annotated[
    Path | None, typer.Option("--csv", help="write a row for each clip; - for stdout")
]
JsonRecords = Annotated[
    Path | None, typer.Option("--json", help="write an object for each clip; - for stdout")
]
COLUMN = 10  # width of the labels on the left


def check_output(path: Path | None) -> Path | None:
    """Check that a file can be written, before the work that fills it, which may take hours.

    Returns:
        The path, so that it can be the callback of an option.

    Raises:
        UserError: If it is standard output, a folder, or in a folder that does not exist or that
            cannot be written into.
    """
    if path is None:
        return None
    if str(path) == "-":
        raise UserError("-: standard output is for the text of this command; give a file")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    # The folder, not the file: files are written beside their place and then renamed.
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: {path.parent} cannot be written into; give another folder")
    return path


def refuse_input(option: str, out: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse an output that would take the place of a file that the command reads.

    Args:
        option: What gave the output, for the message.
        out: The output; None or standard output is no file.
        inputs: What is read. Two names of one file, such as a link, are the same.

    Raises:
        UserError: If the output is one of the inputs.
    """
    if out is None:
        return
    for path in inputs:
        # Also where neither exists: the output would be made, and then read as the input.
        same = out.absolute() == path.absolute()
        with suppress(OSError):  # one of them does not exist
            same = same or out.samefile(path)
        if same:
            raise UserError(f"{option} {out}: would replace the input {path}; give another")


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", callback=check_output, help="also write the figures here"),
]


def show(label: str, text: object) -> None:
    """Print a line with a label on its left, at once, even into a pipe."""
    # A pipe is buffered by blocks, and who reads along would wait for a whole one.
    print(f"{label:<{COLUMN}}{text}", flush=True)


def log_progress(times: bool = False) -> None:
    """Show the library's log messages on the terminal, with the time of day if requested."""
    form = "%(asctime)s %(message)s" if times else "%(message)s"
    # force: a library may have configured logging already, and basicConfig would then do nothing.
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", force=True)
    # It tells of its list of fonts when it draws for the first time.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    # It writes its lines itself; passed on, each would stand there twice.
    logging.getLogger("huggingface_hub").propagate = False
    # Of each file of every checkpoint, by a name that it has only while it is written.
    logging.getLogger("accelerate").setLevel(logging.WARNING)


class Progress:
    """A bar on stderr, on a terminal only; lines that are printed or logged stay above it."""

    def __init__(self, steps: int) -> None:
        """Start at 0 of so many steps."""
        from tqdm import tqdm

        self._tqdm = tqdm
        # Twenty cells: description, numbers and times fit beside them in 80 columns.
        form = "{desc} |{bar:20}| {n_fmt}/{total_fmt} · {elapsed}<{remaining}"
        # disable=None shows the bar on a terminal alone.
        self._bar = tqdm(total=steps, disable=None, leave=False, bar_format=form)
        # Only on a terminal is there something to put into it.
        self._logging = ExitStack()

    def at(self, step: int, doing: str) -> None:
        """Say which step has begun, counted from 0, and what it does."""
        if not self._bar.disable:
            # Set, not counted up: a clip that fails leaves some of its steps out.
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


@dataclass
class Tally:
    """What became of the many clips, scans or videos of a command.

    Attributes:
        total: How many were given.
        noun: What they are, in the plural.
        done: How many were read without an error.
        failed: How many were not.
    """

    total: int
    noun: str
    done: int = 0
    failed: int = 0

    def kept(self) -> str:
        """What is kept when the command is stopped now."""
        if not self.done:
            return f"none of the {self.noun} is done"
        return f"{self.done} of {self.total} {self.noun} are done, and kept"

    def end(self) -> typer.Exit:
        """The end of the command: status 0 if none failed, 2 if all did, else 1."""
        return typer.Exit(0 if not self.failed else 2 if self.failed == self.total else 1)


@contextmanager
def stoppable(kept: str | Callable[[], str], told: bool = True) -> Iterator[None]:
    """Let Ctrl-C, or a signal that ``stopping`` handles, end the block with one line on stderr.

    Put it around progress bars and files, so that they are closed when the line is printed.

    Args:
        kept: What is kept, or how to go on; a function is called at the stop.
        told: False prints nothing, in all processes of a training but one.

    Raises:
        typer.Exit: With 128 + the signal's number, as shells report it: 130 for Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        # ``stopping.Stopped`` knows by which signal; torch need not be loaded to ask it.
        status = getattr(stop, "status", 130)
        if not told:
            raise typer.Exit(status) from None
        raise stopped(kept if isinstance(kept, str) else kept(), status) from None


def stopped(kept: str, status: int = 130) -> typer.Exit:
    """The end of a command that was stopped, which it tells in one line on stderr.

    Args:
        kept: What is kept, or how to go on.
        status: 128 + the signal's number; 130 for Ctrl-C.
    """
    typer.echo(f"deft-llm: stopped; {kept}", err=True)
    return typer.Exit(status)


@contextmanager
def tidy_end() -> Iterator[None]:
    """SIGTERM ends the block by an exception, so that unfinished files are removed; status 143."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    # By itself SIGTERM ends Python without its ``finally`` blocks.
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
