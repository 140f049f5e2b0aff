"""Atomic files (write, then rename), JSON lines, claims of a folder, digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from deft_llm.errors import UserError

_PARTIAL = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that replaces it when the block succeeds.

    If the block fails (an error, Ctrl-C), the temporary file is removed, so that ``path`` is never
    half written. Its name contains the process id, so two processes can write the same file.

    Args:
        path: The file; its folder must exist.

    Yields:
        The path of the temporary file; the block writes it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        yield partial
        # safetensors makes its files private; give them the usual permissions.
        partial.chmod(0o666 & ~_umask())
        # Atomic, because both are in one folder and so on one file system.
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder, which must not exist yet; the temporary folder starts empty."""
    partial = folder.with_name(folder.name + _PARTIAL)
    # No process id here: the next attempt has to find and delete what a failed one left.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial  # kept after an error, for inspection; the next attempt deletes it
    os.replace(partial, folder)


def _umask() -> int:
    """The file mode mask of the process, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file as they arrive; the file appears only when all are written."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read a JSON-lines file.

    Raises:
        UserError: If the file is missing, or a line is not a JSON object; names the line number.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; build the data first")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(record, dict):
                raise UserError(f"{path}, line {number}: expected a JSON object, got {line[:40]!r}")
            yield record


def claim(note: Path, settings: BaseModel, exclude: set[str], problem: str) -> None:
    """Record the settings of a folder, and fail if it was made with other settings.

    Args:
        note: The file that holds the settings; its folder is created if necessary.
        settings: The settings to record.
        exclude: Fields that may change.
        problem: Error message after the folder's name, if its settings differ.

    Raises:
        UserError: If the folder was made with other settings.
    """
    note.parent.mkdir(parents=True, exist_ok=True)
    text = settings.model_dump_json(indent=1, exclude=exclude)
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise UserError(f"{note.parent} {problem}")
    write_text(note, text)  # atomic: another process never reads half of it


def digest(*parts: str | bytes | memoryview) -> str:
    """SHA-256 of the concatenated parts, as 64 hexadecimal digits.

    Args:
        *parts: Text (hashed as UTF-8), bytes, or the ``data`` of a C-contiguous array.
    """
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode() if isinstance(part, str) else part)
    return sha.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
