"""What the commands for many clips print while their bar is shown, and counts in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deft_llm.cli.console import COLUMN, Progress


@dataclass(frozen=True)
class Lines:
    """Prints lines above the bar of a command.

    Attributes:
        progress: The bar.
        quiet: Print nothing to stdout, which belongs to the results.
    """

    progress: Progress
    quiet: bool

    def tell(self, lines: Iterable[str]) -> None:
        """Print some lines as they are."""
        if not self.quiet:
            with self.progress.above():
                # At once, even into a pipe: others may read along.
                print(*lines, sep="\n", flush=True)

    def say(self, label: str, text: str, apart: bool = False) -> None:
        """Print a line with a label on its left; ``apart``, below an empty one."""
        self.tell([*([""] if apart else []), f"{label:<{COLUMN}}{text}"])

    def head(self, number: int, total: int, path: Path) -> None:
        """Name one of several, counted from 0, in front of all that is told of it."""
        if total > 1:
            self.say(f"{number + 1}/{total}", str(path), apart=number > 0)

    def complain(self, error: str) -> None:
        """Print an error to stderr."""
        with self.progress.above():
            print(f"deft-llm: {error}", file=sys.stderr, flush=True)


def with_name(path: Path, error: Exception) -> str:
    """An error in words that name the file: those from deep inside do not know which it was."""
    return str(error) if path.name in str(error) else f"{path}: {error}"


def counted(count: int, noun: str) -> str:
    """For example "1 blink" and "2 blinks"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
