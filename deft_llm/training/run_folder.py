"""The folder of a training run: recipe, log, checkpoints and the result."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from deft_llm.claims import begin_again, claim, locked
from deft_llm.config import Settings
from deft_llm.files import replacing_folder, write_lines, write_text
from deft_llm.machine import is_first_process
from deft_llm.training.checkpoints import (
    checkpoints,
    drop_damaged,
    saving,
    seal,
    tell_other_processes,
)

logger = logging.getLogger(__name__)
FINAL, BEST = "final", "best"
SCORE = "score.json"  # in BEST: the step and the score of the network
_KEPT = 2  # number of checkpoints to keep
# Fields of recipes that may change between two calls: they do not change what is trained.
_FREE = {"output", "held_out", "push_to_hub"}


@contextmanager
def claimed_folder(output: Path, recipe: Settings) -> Iterator[None]:
    """Hold the folder of a run: its recipe is saved there, and no other process trains in it.

    A run that failed before its first checkpoint has nothing to lose: a corrected recipe takes its
    place.

    Args:
        output: Folder of the run, created if missing.
        recipe: The recipe; ``output``, ``held_out`` and ``push_to_hub`` are not compared.

    Raises:
        UserError: If the folder holds a run of another recipe, or another process trains in it.
    """
    if not is_first_process():  # the first one holds the folder for all
        yield
        return
    note = output / "recipe.json"
    # A finished run is only looked at: its folder may be read-only by now.
    finished = (output / FINAL).is_dir()
    with nullcontext() if finished else locked(output):
        if not finished:
            logger.info("training in %s", output)
        if not _begun(output):
            begin_again(note, recipe, _FREE)
        remedy = "set output=… to a new folder, or delete it to start again"
        claim(note, recipe, _FREE, "holds a run of another recipe", remedy)
        yield


def _begun(output: Path) -> bool:
    """Whether a folder holds anything that was trained."""
    results = any((output / name).is_dir() for name in (FINAL, BEST))
    inside = (folder for folder in output.glob("*/") if not folder.name.startswith("."))
    return (
        results
        or any(output.glob("*.safetensors"))
        or any(checkpoints(folder) for folder in (output, *inside))
    )


def is_better(folder: Path, score: dict[str, float], higher: bool) -> bool:
    """Whether a score is better than that of the network in a folder, or there is none yet.

    Args:
        folder: Folder of the best network so far.
        score: The step and, last, the score.
        higher: Whether more is better.
    """
    note = folder / SCORE
    if not note.is_file():
        return True
    name, value = list(score.items())[-1]
    known = json.loads(note.read_text(encoding="utf-8"))[name]
    if math.isnan(known):  # nothing compares with it: it would stay the best for ever
        return not math.isnan(value)
    # A run that is resumed before that step gets there again with the same network and score.
    return bool(value > known if higher else value < known)


def keep_best(folder: Path, score: dict[str, float], write: Callable[[Path], None]) -> None:
    """Put a network, with its score, in the place of the best so far.

    Args:
        folder: Folder of the best network.
        score: As in :func:`is_better`.
        write: Writes the network into a folder.
    """
    with replacing_folder(folder, overwrite=True) as partial:
        write(partial)
        write_text(partial / SCORE, json.dumps(score) + "\n")
    name, value = list(score.items())[-1]
    logger.info("best so far: %s %.4f at step %d", name, value, score["step"])


def _logged_step(row: str) -> float:
    """Step of a row of the log; beyond all others for a row that a full disk cut off."""
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class RunFolder:
    """``log.jsonl``, ``checkpoint-N`` folders and, once the run is finished, ``final``.

    Args:
        path: The folder, created if missing; None writes nothing, for a run inside another one.
        accelerator: Holds the state that checkpoints save.
    """

    def __init__(self, path: Path | None, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.started = time.monotonic()
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)

    def resume(self) -> int:
        """Load the last whole checkpoint, drop later log rows; returns the number of steps done."""
        step = 0
        if self.path is not None:
            # The others look at the folder only once the first has dropped what is damaged.
            with self.accelerator.main_process_first():
                if self.accelerator.is_main_process:
                    drop_damaged(self.path)
            if saved := checkpoints(self.path):
                step, folder = saved[-1]
                self.accelerator.load_state(str(folder))
                logger.info("goes on from step %d: %s", step, folder)
                tell_other_processes(folder, self.accelerator.num_processes)
        if log := self._log():
            rows = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
            # The resumed run logs later steps again.
            write_lines(log, [row for row in rows if _logged_step(row) <= step])
        return step

    def log(self, row: dict[str, Any]) -> None:
        """Append one row, with the seconds since this process started the run."""
        if log := self._log():
            row = {**row, "seconds": round(time.monotonic() - self.started, 1)}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def save(self, step: int) -> None:
        """Save a checkpoint under a temporary name, rename it, and delete the oldest ones."""
        if self.path is None:
            return
        folder = self.path / f"checkpoint-{step}"
        partial = folder.with_suffix(".partial")
        with saving(partial):
            self.accelerator.save_state(str(partial), safe_serialization=True)
            # Rename only after every process has written its part, and drop old checkpoints after
            # that, so that there is always a complete one.
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                seal(partial)
                os.replace(partial, folder)
                self._drop_checkpoints(_KEPT)

    def finish(self, write: Callable[[Path], None]) -> None:
        """Write the result as ``final`` and delete the checkpoints."""
        if self.path is not None and self.accelerator.is_main_process:
            with replacing_folder(self.path / FINAL) as partial:
                write(partial)
            self._drop_checkpoints(keep=0)
        self.accelerator.wait_for_everyone()

    def _log(self) -> Path | None:
        """Path of the log; None in processes that do not write it."""
        if self.path is None or not self.accelerator.is_main_process:
            return None
        return self.path / "log.jsonl"

    def _drop_checkpoints(self, keep: int) -> None:
        assert self.path is not None
        saved = checkpoints(self.path)
        for _, folder in saved[: len(saved) - keep]:
            shutil.rmtree(folder)
