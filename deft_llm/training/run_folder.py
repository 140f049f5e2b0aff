"""The folder of a training run: recipe, log, checkpoints and the result."""

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
_KEPT = 2  # number of checkpoints to keep


def claim_folder(output: Path, recipe: Settings) -> None:
    """Save the recipe in its folder, or check that the run in the folder has the same recipe.

    Args:
        output: Folder of the run, created if missing.
        recipe: The recipe; ``output`` and ``held_out`` are not compared.

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
        path: The folder, created if missing; None writes nothing, for a run inside another one.
        accelerator: Holds the state that checkpoints save.
    """

    def __init__(self, path: Path | None, accelerator: Accelerator) -> None:
        self.path, self.accelerator = path, accelerator
        self.started = time.monotonic()
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)

    def resume(self) -> int:
        """Load the last checkpoint and drop later log rows; returns the number of steps done."""
        step = 0
        if self.path is not None and (saved := self._checkpoints()):
            step, folder = saved[-1]
            self.accelerator.load_state(str(folder))
            logger.info("goes on from step %d: %s", step, folder)
        if log := self._log():
            rows = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
            # The resumed run logs these steps again.
            kept = [row for row in rows if json.loads(row)["step"] <= step]
            write_lines(log, kept)
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
        self.accelerator.save_state(str(partial), safe_serialization=True)
        # Rename only after every process has written its part, and drop old checkpoints after
        # that, so that there is always a complete one.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
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

    def _checkpoints(self) -> list[tuple[int, Path]]:
        """Complete checkpoints, sorted by step."""
        assert self.path is not None
        found = (p for p in self.path.glob("checkpoint-*") if p.suffix != ".partial")
        return sorted((int(p.name.removeprefix("checkpoint-")), p) for p in found)

    def _drop_checkpoints(self, keep: int) -> None:
        saved = self._checkpoints()
        for _, folder in saved[: len(saved) - keep]:
            shutil.rmtree(folder)
