"""Results of many clips as they come: one row of CSV or one object of JSON for each."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from deft_llm.cli.console import refuse_input
from deft_llm.errors import UserError
from deft_llm.files import csv_line

STDOUT = Path("-")


class Results:
    """Writes to a CSV file, a JSON file, or both; "-" is standard output.

    Each clip is written when it is done, so an interruption keeps those before it, and the JSON is
    complete even then: an array with an object a line. The results of an earlier run are replaced
    by the first clip; work that fails before it leaves them. Always UTF-8, whatever the terminal's
    encoding.
    """

    def __init__(
        self,
        csv: Path | None,
        json_file: Path | None,
        inputs: Sequence[Path] = (),
        columns: Sequence[str] = (),
    ) -> None:
        """Open the files.

        Args:
            csv: The CSV file.
            json_file: The JSON file.
            inputs: What the command reads, which no result may replace.
            columns: Header of a CSV without any row; those of the first row otherwise.

        Raises:
            UserError: If both are standard output or one file, or one is an input or cannot be
                written.
        """
        if csv == STDOUT and json_file == STDOUT:
            raise UserError("--csv - and --json -: only one of them can go to standard output")
        if csv is not None and json_file is not None and csv.resolve() == json_file.resolve():
            raise UserError(f"--csv and --json: both are {csv}; give two files")
        refuse_input("--csv", csv, inputs)
        refuse_input("--json", json_file, inputs)
        self.on_stdout = STDOUT in (csv, json_file)
        self._columns, self._count = columns, 0
        with ExitStack() as opened:
            self._csv, self._json = _open(csv, opened), _open(json_file, opened)
            self._files = opened.pop_all()

    def __enter__(self) -> Results:
        return self

    @property
    def wanted(self) -> bool:
        """Whether anything is written."""
        return self._csv is not None or self._json is not None

    def add(self, row: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write one clip.

        Args:
            row: Column -> value, the same columns for every clip.
            record: The clip's object.
        """
        if self._csv is not None:
            # The header comes with the first row: its columns depend on what was asked.
            lines = (csv_line(list(row)) if not self._count else "") + csv_line(list(row.values()))
            self._csv.write(lines)
        if self._json is not None:
            text = json.dumps(record, ensure_ascii=False)
            self._json.write(f"{',' if self._count else '['}\n{text}")
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closed also if the end of the array cannot be written.
        with self._files:
            begun = self._count > 0
            if self._json is not None and (begun or error is None or not self._json.earlier):
                self._json.write("\n]\n" if begun else "[]\n")
            if self._csv is not None and self._columns and not begun and error is None:
                self._csv.write(csv_line(self._columns))


@dataclass
class _Target:
    """A file that replaces its content at the first write.

    Attributes:
        file: Open for appending, which does not empty it; a pipe will do as well.
        earlier: Whether it holds the results of an earlier run.
    """

    file: IO[bytes]
    earlier: bool = False

    def write(self, text: str) -> None:
        """Write some text, and let others read it at once."""
        # As late as this: what fails before the first clip loses nothing.
        if self.earlier:
            self.file.truncate(0)
            self.earlier = False
        # A file's name may hold bytes that are no text; in JSON, too, an escape stands for them.
        self.file.write(text.encode("utf-8", "backslashreplace"))
        self.file.flush()


def _open(path: Path | None, stack: ExitStack) -> _Target | None:
    if path is None:
        return None
    if path == STDOUT:
        if sys.stdout is None:
            raise UserError(f"{path}: standard output is closed; give a file")
        return _Target(sys.stdout.buffer)
    try:
        file = stack.enter_context(path.open("ab"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); give another file"
        ) from None
    state = os.fstat(file.fileno())
    return _Target(file, stat.S_ISREG(state.st_mode) and state.st_size > 0)
