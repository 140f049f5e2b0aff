"""What a training run keeps in its folder: its recipe, a log, checkpoints and the result."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from deft_llm.config import Settings
from deft_llm.files import claim, replacing_folder, write_lines

logger = logging.getLogger(__name__)
FINAL = "final"
_KEPT = 2  # checkpoints


def claim_folder(output: Path, recipe: Settings) -> None:
    """Note the recipe in its folder, so that a changed one cannot go on in it unseen.

    Args:
        output: Folder of the run, made if need be.
        recipe: The recipe; ``output`` and ``held_out`` are left out of the comparison.

    Raises:
        UserError: If the folder holds a run of another recipe.
    """
    problem = (
        "holds a run of another recipe; set output=… to a new folder, or delete it to start again"
    )
    claim(output / "recipe.json", recipe, {"output", "held_out"}, problem)


class RunFolder:
    """``log.jsonl``, ``checkpoint-N`` folders and, once the run is finished, ``final``.

    Args:
        path: The folder, made if need be; None keeps nothing, for a run inside another one.
        accelerator: Holds the state that checkpoints save.
    """

    def __init__(self, path: Path | None, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.started = time.monotonic()
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)

    def resume(self) -> int:
        """Load the last checkpoint and drop what was logged after it; the steps that are done."""
        step = 0
        if self.path is not None and (saved := self._checkpoints()):
            step, folder = saved[-1]
            self.accelerator.load_state(str(folder))
            logger.info("goes on from step %d: %s", step, folder)
        if log := self._log():
            rows = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
            kept = [row for row in rows if json.loads(row)["step"] <= step]
            write_lines(log, kept)
        return step

    def log(self, row: dict[str, Any]) -> None:
        """Append one row, with the seconds since this process began."""
        if log := self._log():
            row = {**row, "seconds": round(time.monotonic() - self.started, 1)}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def save(self, step: int) -> None:
        """Save the state under a temporary name, then put it in place; the oldest are dropped."""
        if self.path is None:
            return
        folder = self.path / f"checkpoint-{step}"
        partial = folder.with_suffix(".partial")
        self.accelerator.save_state(str(partial), safe_serialization=True)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            os.replace(partial, folder)
            self._drop_checkpoints(_KEPT)

    def finish(self, write: Callable[[Path], None]) -> None:
        """Write what the run ends with; the checkpoints are no longer needed."""
        if self.path is not None and self.accelerator.is_main_process:
            with replacing_folder(self.path / FINAL) as partial:
                write(partial)
            self._drop_checkpoints(keep=0)
        self.accelerator.wait_for_everyone()

    def _log(self) -> Path | None:
        """The log's file, in the one process that writes it."""
        if self.path is None or not self.accelerator.is_main_process:
            return None
        return self.path / "log.jsonl"

    def _checkpoints(self) -> list[tuple[int, Path]]:
        """Whole checkpoints by step."""
        assert self.path is not None
        found = (p for p in self.path.glob("checkpoint-*") if p.suffix != ".partial")
        return sorted((int(p.name.removeprefix("checkpoint-")), p) for p in found)

    def _drop_checkpoints(self, keep: int) -> None:
        saved = self._checkpoints()
        for _, folder in saved[: len(saved) - keep]:
            shutil.rmtree(folder)
