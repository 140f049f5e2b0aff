"""Results of many clips as they come: one row of CSV or one object of JSON for each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from deft_llm.errors import UserError

STDOUT = Path("-")


class Results:
    """Writes to a CSV file, a JSON file, or both; "-" is standard output.

    Each clip is written when it is done, so an interruption keeps those before it, and the JSON is
    complete even then: an array with an object a line. Always UTF-8, whatever the terminal's
    encoding.
    """

    def __init__(self, csv: Path | None, json_file: Path | None) -> None:
        """Open the files.

        Raises:
            UserError: If both are standard output, or a file cannot be written.
        """
        if csv == STDOUT and json_file == STDOUT:
            raise UserError("--csv - and --json -: only one of them can go to standard output")
        self.on_stdout = STDOUT in (csv, json_file)
        self._count = 0
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
            from deft_llm.service.batch import csv_line

            lines = (csv_line(list(row)) if not self._count else "") + csv_line(list(row.values()))
            _write(self._csv, lines)
        if self._json is not None:
            text = json.dumps(record, ensure_ascii=False)
            _write(self._json, f"{',' if self._count else '['}\n{text}")
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._files:
            if self._json is not None:
                _write(self._json, "\n]\n" if self._count else "[]\n")


def _write(file: IO[bytes], text: str) -> None:
    # A file's name may hold bytes that are no text; in JSON, too, an escape stands for them.
    file.write(text.encode("utf-8", "backslashreplace"))
    file.flush()


def _open(path: Path | None, stack: ExitStack) -> IO[bytes] | None:
    if path is None:
        return None
    if path == STDOUT:
        if sys.stdout is None:
            raise UserError(f"{path}: standard output is closed; give a file")
        return sys.stdout.buffer
    try:
        return stack.enter_context(path.open("wb"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); give another file"
        ) from None
