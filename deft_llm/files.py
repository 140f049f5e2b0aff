"""Files that are whole or not there: write-then-rename, JSON lines, claims of a folder, digests."""

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
    """A temporary file beside ``path`` that takes its place when the block ends well.

    Whatever ends the block otherwise (an error, Ctrl-C) removes it again, so that a file is never
    half written. The process id in its name keeps two writers of one file apart.

    Args:
        path: The file; its folder must exist.

    Yields:
        The temporary file's path; the block writes it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        yield partial
        # safetensors makes its files private; what is kept is as readable as any other file.
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder, which must not exist yet; the temporary one begins empty."""
    partial = folder.with_name(folder.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial  # left behind after an error, for a look; the next attempt begins anew
    os.replace(partial, folder)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        UserError: If it cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file of lines as they come, whole or not at all."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read a JSON-lines file.

    Raises:
        UserError: If the file is missing, or a line is no JSON object (named by number).
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
    """Note what a folder is made from, so that other settings cannot go on in it unseen.

    Args:
        note: The file; its folder is made if need be.
        settings: What to note.
        exclude: Fields that may change.
        problem: What to say of the folder when it was made from something else.

    Raises:
        UserError: If the folder was made from something else.
    """
    note.parent.mkdir(parents=True, exist_ok=True)
    text = settings.model_dump_json(indent=1, exclude=exclude)
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise UserError(f"{note.parent} {problem}")
    write_text(note, text)


def digest(*parts: str | bytes | memoryview) -> str:
    """SHA-256 of some text or memory, one after the other, as 64 hexadecimal digits.

    Args:
        *parts: Text (UTF-8), bytes, or the ``data`` of a C-contiguous array.
    """
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode() if isinstance(part, str) else part)
    return sha.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
