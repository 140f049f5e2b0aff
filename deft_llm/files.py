"""Atomic files (write, then rename), lines of JSON and CSV, errors of the disk, digests."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deft_llm.errors import UserError

_PARTIAL = ".partial"
_BLANKS = re.compile(r"[ \t\r\n]*")
_PARTS, _PART = 64, 2**20  # of a large file: how many parts sampled_digest reads, bytes of each
# The mask can be read only by setting it. Once, and to what keeps others out: for that moment it
# holds for the files of all threads.
_MASK = os.umask(0o077)
os.umask(_MASK)
_USUAL_MODE = 0o666 & ~_MASK  # of a file that a program makes
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run such a cell as a formula
# Errors that are the disk's, not the program's.
_DISK = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EIO,
    }
)


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
        partial.chmod(_USUAL_MODE)
        # Atomic, because both are in one folder and so on one file system.
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """The same for a folder; the temporary folder starts empty.

    Args:
        folder: The folder.
        overwrite: Put it in the place of one that exists; otherwise there must be none.

    Yields:
        The path of the temporary folder; the block fills it.
    """
    partial = folder.with_name(folder.name + _PARTIAL)
    # No process id here: the next attempt has to find and delete what a failed one left.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial  # kept after an error, for inspection; the next attempt deletes it
    for path in partial.rglob("*"):
        if path.is_file():  # as in `replacing`
            path.chmod(_USUAL_MODE)
    if overwrite and folder.exists():
        # A folder cannot be replaced in one go: the old one is moved away first.
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
        os.replace(partial, folder)
        shutil.rmtree(old)
    else:
        os.replace(partial, folder)


def text_of(name: str | Path) -> str:
    r"""A file's name as text for a page, a table or a picture.

    A name may hold bytes that are no text, which Python keeps as lone surrogates; no encoder takes
    them, so an escape such as ``\udce9`` stands for them.
    """
    return str(name).encode("utf-8", "backslashreplace").decode()


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


def write_private(path: Path, data: bytes) -> None:
    """Write a file atomically that nobody but its owner could read at any time.

    Raises:
        UserError: If the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        # Made with these permissions: if they were set afterwards, others could open it before.
        made = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file as they arrive; the file appears only when all are written."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of ``numbered_lines``."""
    return (row for _, row in numbered_lines(path))


def numbered_lines(
    path: Path, problems: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a JSON-lines file, or one JSON array of objects.

    A byte order mark, either kind of line end, and empty lines at the end are accepted.

    Args:
        path: The file.
        problems: Filled with what is wrong with lines that cannot be read; these are passed over
            then, and so are empty ones.

    Yields:
        The number of the line, from 1, and its object.

    Raises:
        UserError: If the file is missing, or a line is not a JSON object in UTF-8; names the line
            number.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; build the data first")
    begun, empty = False, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not line.strip():
                empty = empty or number
                continue
            if line.lstrip().startswith(b"[") and not begun:
                yield from _array(_decoded(line + file.read(), path, number), path, number)
                return
            if begun and empty and problems is None:
                raise UserError(f"{path}, line {empty}: empty; expected a JSON object")
            begun, empty = True, 0
            try:
                row = _row(line, path, number)
            except UserError as error:
                if problems is None:
                    raise
                problems.append(str(error))
                continue
            yield number, row


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(_decoded(line, path, number))
    except (ValueError, RecursionError) as error:
        raise _not_json(error, path, number) from error
    return _object(row, path, number)


def _not_json(error: Exception, path: Path, number: int) -> UserError:
    reason = str(error)
    if isinstance(error, json.JSONDecodeError):
        reason = f"{error.msg} at character {error.colno}"
    elif isinstance(error, RecursionError):
        reason = "nested too deeply"
    return UserError(f"{path}, line {number}: not JSON ({reason})")


def _decoded(data: bytes, path: Path, number: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        number += data.count(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {number}: not UTF-8 (byte 0x{data[error.start]:02x}); save the file as "
            "UTF-8"
        ) from None


def _object(row: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        got = json.dumps(row)[:40]
        raise UserError(f"{path}, line {number}: expected a JSON object, got {got!r}")
    return row


def _array(text: str, path: Path, number: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON array, each with the line on which it begins."""
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    while True:
        try:
            # Blanks, and the comma before every object but the first.
            start = _BLANKS.match(text, place).end()  # type: ignore[union-attr]
            if text[start : start + 1] == "]" and not text[start + 1 :].strip():
                return
            row, place = decoder.raw_decode(text, start)
            end = _BLANKS.match(text, place).end()  # type: ignore[union-attr]
            if text[end : end + 1] == ",":
                place = end + 1
            elif text[end : end + 1] != "]":
                raise ValueError("expected a comma or the end of the array")
        except (ValueError, RecursionError) as error:
            raise _not_json(error, path, number + text.count("\n", 0, place)) from error
        line = number + text.count("\n", 0, start)
        yield line, _object(row, path, line)


def csv_line(values: Sequence[Any]) -> str:
    """One line of CSV; text that a spreadsheet would take for a formula gets an apostrophe."""
    line = io.StringIO()
    # The writer quotes a cell for the letters of its own line end alone, and a bare carriage return
    # would end the row for readers that take either.
    csv.writer(line, lineterminator="\r\n").writerow(
        f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in values
    )
    return line.getvalue().removesuffix("\r\n") + "\n"


def check_folder(option: str, folder: Path) -> None:
    """Check that a folder can be made, before the work that fills it.

    Args:
        option: What gave the folder, for the message.
        folder: The folder; those above it may be missing, too.

    Raises:
        UserError: If it, or one above it, is a file, or cannot be written into.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"{option} {folder}: {there} is a file; give a folder")
    if not os.access(there, os.W_OK):
        raise UserError(f"{option} {folder}: {there} cannot be written into; give another folder")


@contextmanager
def naming_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a full, read-only or failing disk raises inside the block into one line.

    Args:
        folder: Where the block writes, for errors that name no file.

    Raises:
        UserError: In place of those errors; others pass.
    """
    try:
        yield
    except Exception as error:
        reason = _disk_problem(error)
        if reason is None:
            raise
        where = getattr(error, "filename", None) or folder
        raise UserError(
            f"{where}: {reason}; make room, or give a folder that can be written, and call the "
            "same command again"
        ) from error


def _disk_problem(error: Exception) -> str | None:
    """What the disk answered, if that is what the error is about."""
    code = error.errno if isinstance(error, OSError) else None
    # safetensors puts the number into the text.
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        code = int(found[1])
    if code in _DISK:
        return os.strerror(code)
    # torch.save says neither number nor reason.
    if isinstance(error, RuntimeError) and "inline_container" in str(error):
        return "torch.save failed; the disk may be full"
    return None


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


def sampled_digest(path: Path) -> str:
    """A digest of a file's size and of its bytes; of a large one, of parts spread over it.

    It recognizes a truncated file always, and reads 64 MiB at most.
    """
    size = path.stat().st_size
    sha = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _PARTS * _PART:
            sha.update(file.read())
            return sha.hexdigest()
        for i in range(_PARTS):
            # The first part starts at the beginning, the last one ends at the end.
            file.seek((size - _PART) * i // (_PARTS - 1))
            sha.update(file.read(_PART))
    return sha.hexdigest()
