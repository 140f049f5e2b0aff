"""The files of a run in place of those of an earlier one, so that no folder shows two of them.

A record in the folder has the digest of each file that a run wrote there. What it lacks, and what
was changed since, is somebody else's and stays.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from deft_llm.files import file_digest, write_text

_RECORD = ".files.json"


@contextmanager
def replacing_results(
    folder: Path, made: Collection[Path] = (), read: Collection[Path] = ()
) -> Iterator[Path]:
    """A temporary folder, whose files move into ``folder`` when the block succeeds.

    What an earlier run wrote there and this one did not is deleted then.

    Args:
        folder: Folder of the results, which exists.
        made: Files in it that this run has written before the block.
        read: Files that this run reads, wherever they are; they stay.

    Yields:
        The temporary folder, empty; the block fills it.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial") as temporary:
        new = Path(temporary)
        yield new
        names = [p.relative_to(new).as_posix() for p in sorted(new.rglob("*")) if p.is_file()]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(new / name, folder / name)
    names += [path.relative_to(folder).as_posix() for path in made]
    record = {name: file_digest(folder / name) for name in names}
    inputs = {path.resolve() for path in read}
    for name, written in _recorded(folder).items():
        path = folder / name
        if name in record or not path.is_file() or file_digest(path) != written:
            continue
        if path.resolve() in inputs:
            record[name] = written  # it goes with the next run that does not read it
        else:
            path.unlink()
            _remove_empty(path.parent, folder)
    write_text(folder / _RECORD, json.dumps(record, indent=1) + "\n")


def _recorded(folder: Path) -> dict[str, str]:
    """File -> digest of what an earlier run wrote; empty if there is no record to be read."""
    try:
        found: dict[str, str] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder, and those around it up to ``top``, if nothing is in them."""
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
