"""The folder of a clip's report: a safe name, and one for each clip.

A report notes which clip it is of: ``SOURCE`` in ``explanation.json``, a hash of the clip's path,
so that a report can be given away. A clip that is explained again gets its own folder again; a clip
of the same name from elsewhere gets the name with a number behind it: ``clip``, ``clip-2`` ...
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from deft_llm.files import digest
from deft_llm.viz.report import JSON

SOURCE = "source"
LONGEST = 80  # characters of a name; at most 240 bytes, of 255 that file systems allow
# Separators, what Windows forbids, control characters, and bytes that are no text.
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A name as that of a folder on any system; "clip" if nothing is left of it."""
    # NFC: macOS writes an umlaut as two characters, and other systems would show another name.
    safe = _UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    # Dots alone are a folder or its parent; in front they hide it, and Windows drops them behind.
    safe = safe.strip(". ")[:LONGEST].encode()[:240].decode(errors="ignore").rstrip(". ")
    return f"{safe}_" if _RESERVED.fullmatch(safe) else safe or "clip"


def source_mark(clip: Path) -> str:
    """What a report notes of its clip: a hash of the full path."""
    return digest(str(clip.resolve()).encode("utf-8", "surrogateescape"))[:16]


@contextmanager
def report_folder(parent: Path, name: str, mark: str) -> Iterator[Path]:
    """Take the folder for a report: the clip's own, or a new one.

    A new folder is removed if the block writes nothing into it.

    Args:
        parent: Where it goes; created if missing.
        name: See ``safe_name``.
        mark: See ``source_mark``.

    Yields:
        The folder.

    Raises:
        OSError: If the folder cannot be made.
    """
    # Not of a folder that holds no report either: nothing in it is ours.
    folder = take_folder(parent, name, lambda there: _mark_of(there) == mark)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds the report
            folder.rmdir()


def take_folder(parent: Path, name: str, ours: Callable[[Path], bool]) -> Path:
    """The first of NAME, NAME-2 … that is new, or ours.

    Args:
        parent: Where it goes; created if missing.
        name: See ``safe_name``.
        ours: Whether what already has the name, a folder or a file, may be used.

    Raises:
        OSError: If the folder cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            # Making it is what takes it: of two processes, one fails here.
            folder.mkdir()
        except FileExistsError:
            if not ours(folder):
                continue
        return folder
    raise AssertionError("unreachable")


def _mark_of(folder: Path) -> str | None:
    """The mark of the report in a folder; None if there is none."""
    try:
        record = json.loads((folder / JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    mark = record.get(SOURCE) if isinstance(record, dict) else None
    return mark if isinstance(mark, str) else None
