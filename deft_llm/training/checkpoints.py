"""Checkpoints that are known to be whole: sealed when they are saved, checked before they are used.

A seal is a file with a digest of every other file. A folder without one was never finished.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deft_llm.files import sampled_digest, write_text

logger = logging.getLogger(__name__)
_SEAL = "sealed.json"
_OURS = re.compile(r"checkpoint-\d+(\.partial)?")
# One file a process, as accelerate and transformers name them; of one process alone the latter
# leaves out the number.
_STATES = ("random_states_*.pkl", "rng_state_*.pth")


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Save a checkpoint; if that fails, remove what was written, which a full disk needs back."""
    try:
        yield
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def seal(folder: Path) -> None:
    """Mark a saved checkpoint as finished."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sampled_digest(path) for path in files}
    write_text(folder / _SEAL, json.dumps(digests, indent=1))


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """The finished checkpoints ``checkpoint-N`` of a folder with their steps, in order."""
    found = []
    for path in folder.glob("checkpoint-*"):
        number = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if number and (path / _SEAL).is_file():
            found.append((int(number[1]), path))
    return sorted(found)


def tell_other_processes(folder: Path, processes: int) -> None:
    """Warn if another number of processes saved a checkpoint than goes on from it.

    Each process takes batches of its own: the run goes on, but with another effective batch.

    Args:
        folder: The checkpoint.
        processes: Number of processes at work now.
    """
    before = max(1, sum(len(list(folder.glob(pattern))) for pattern in _STATES))
    if before != processes:
        logger.warning(
            "%s was saved by a run of %d %s, and this one has %d: the effective batch is %s times "
            "what it was, and the result is not that of a run with one number throughout",
            *(folder, before, "process" if before == 1 else "processes"),
            *(processes, f"{processes / before:.3g}"),
        )


def drop_damaged(folder: Path) -> None:
    """Delete unfinished and damaged checkpoints, so that the last one that is left can be used.

    What only begins with their name, such as a copy that somebody keeps, stays.
    """
    finished = [path for _, path in checkpoints(folder)]
    for path in folder.glob("checkpoint-*/"):
        if path not in finished and _OURS.fullmatch(path.name):
            shutil.rmtree(path)
    for path in finished:
        if damage := _damage(path):
            logger.warning("%s is damaged (%s) and is deleted", path, damage)
            shutil.rmtree(path)
            if not checkpoints(folder):
                logger.warning("%s: no checkpoint is left, so this part starts again", folder)


def _damage(folder: Path) -> str:
    """What differs from the seal of a checkpoint; "" if nothing does."""
    try:
        digests = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if sampled_digest(folder / name) != digest:
                return f"{name} is not as it was saved"
    except (OSError, ValueError, AttributeError) as error:  # the last: JSON that is no object
        return " ".join(str(error).split())
    return ""
