"""Who may write a folder: the settings that it was made with, and one process at a time."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ValidationError

from deft_llm.errors import UserError
from deft_llm.files import write_text

logger = logging.getLogger(__name__)
#: In a folder that a process writes, meanwhile; names the process.
LOCK = "run.lock"
_NAMED = 3  # differing settings that a message names; the others are counted


class FolderHeldError(UserError):
    """Another process holds a folder."""


def claim(note: Path, settings: BaseModel, exclude: set[str], problem: str, remedy: str) -> None:
    """Record the settings of a folder, and fail if it was made with other settings.

    Args:
        note: The file that holds the settings; its folder is created if necessary.
        settings: The settings to record.
        exclude: Fields that may change.
        problem: What is wrong with the folder if its settings differ.
        remedy: What to do about it.

    Raises:
        UserError: If the folder was made with other settings; names those that differ.
    """
    if changes := changed_settings(note, settings, exclude):
        raise UserError(f"{note.parent} {problem}: {changes}; {remedy}")
    record(note, settings, exclude)


def begin_again(note: Path, settings: BaseModel, exclude: set[str]) -> None:
    """Let corrected settings take the place of those of a run that has made nothing yet.

    Args:
        note: As in :func:`claim`, like the others.
        settings: The settings to record.
        exclude: Fields that may change.
    """
    if changes := changed_settings(note, settings, exclude):
        logger.info("%s: starts again, nothing was trained yet (%s)", note.parent, changes)
        record(note, settings, exclude)


def record(note: Path, settings: BaseModel, exclude: set[str]) -> None:
    """Record the settings of a folder in place of those that it was made with, if any."""
    note.parent.mkdir(parents=True, exist_ok=True)
    text = settings.model_dump_json(indent=1, exclude=exclude)
    if not note.is_file() or note.read_text(encoding="utf-8") != text:
        write_text(note, text)  # atomic: another process never reads half of it


def changed_settings(note: Path, settings: BaseModel, exclude: set[str]) -> str:
    """The settings that differ from the recorded ones, in words; "" if none does.

    A setting that did not exist yet when they were recorded counts as having its default.
    """
    if not note.is_file():
        return ""
    now = settings.model_dump(mode="json", exclude=exclude)
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        return f"its {note.name} is damaged"
    with suppress(ValidationError):  # settings of another version are compared as they stand
        kept = settings.model_dump(mode="json", include=exclude)
        known = type(settings).model_validate({**kept, **before})
        before = known.model_dump(mode="json", exclude=exclude)
    old, new = _flat(before), _flat(now)
    changed = [key for key in dict.fromkeys([*new, *old]) if old.get(key) != new.get(key)]
    words = [f"{key} was {_shown(old, key)}, is {_shown(new, key)} now" for key in changed[:_NAMED]]
    if len(changed) > _NAMED:
        words.append(f"and {len(changed) - _NAMED} more")
    return ", ".join(words)


def _flat(values: Any, above: str = "") -> dict[str, Any]:
    """Nested settings by dotted keys, as overrides name them."""
    if isinstance(values, list) and values:
        values = {str(i): value for i, value in enumerate(values)}
    if not isinstance(values, dict) or not values:
        return {above: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{above}.{key}" if above else key)
    return found


def _shown(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "not given"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder until the block ends.

    The operating system holds the lock and frees it when the process dies, however it dies. Where
    there are no such locks (Windows, some network file systems), nobody is kept out.

    Args:
        folder: The folder, created if missing. A file in it names the process meanwhile.

    Raises:
        FolderHeldError: If another process holds the folder; names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with _held(path) as file:
        if left := _read(file):
            logger.info("%s: %s died here; this run takes its place", folder, left)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            # Removed while it is still held: afterwards it could be another process's.
            path.unlink(missing_ok=True)


def _held(path: Path) -> IO[str]:
    """The lock file, opened and locked; closing it frees the lock."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file)
        except BlockingIOError:
            holder = _read(file) or "another process"
            file.close()
            raise FolderHeldError(
                f"{path.parent}: {holder} is writing this folder; wait for it, stop it, or give "
                "another folder"
            ) from None
        # Whoever held it may have removed the file after it was opened here: then look again.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()


def _lock(file: IO[str]) -> None:
    """Lock an open file.

    Raises:
        BlockingIOError: If another process has locked it.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        logger.info("%s: this file system has no locks (%s)", file.name, error.strerror)
