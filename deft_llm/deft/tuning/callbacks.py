"""What goes on beside the steps of a stage: epochs, logs, TensorBoard, validation, stopping."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from deft_llm.deft.tuning.datasets import LengthGroupedBatches
from deft_llm.pace import Pace
from deft_llm.stopping import StopRequest

logger = logging.getLogger(__name__)
TENSORBOARD = "tensorboard"
"""Folder of a run's events, those of all its stages."""


class OrderOfEpoch(TrainerCallback):
    """Sets the sampler's epoch.

    accelerate does this too, but misses the sampler of a multi-process run that resumes inside an
    epoch; the order would then be that of the first epoch.
    """

    def __init__(self, order: LengthGroupedBatches) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch before the first batch is drawn."""
        self.order.set_epoch(int(state.epoch))


class JsonLines(TrainerCallback):
    """Writes the log as JSON lines while training runs; a resumed run continues the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Rewrite the file with the rows up to the step that the run resumes from."""
        self._write("w", state, state.log_history)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Append a row."""
        self._write("a", state, state.log_history[-1:])

    def _write(self, mode: str, state: Any, rows: list[dict[str, Any]]) -> None:
        if state.is_world_process_zero:
            with self.path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


class TensorBoard(TrainerCallback):
    """Writes the log of a stage to the run's one folder of events, as ``<stage>/<name>``.

    transformers' own callback makes a folder for every stage, and another one on every resume.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage
        self.writer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the stage's file; rows up to the step that the run resumes from go into it again."""
        if not state.is_world_process_zero:
            return
        # Imported on use: tensorboard is optional.
        from torch.utils.tensorboard import SummaryWriter

        suffix = f".{self.stage}"
        for old in self.folder.glob(f"*{suffix}"):
            old.unlink()
        self.writer = SummaryWriter(str(self.folder), filename_suffix=suffix)
        for row in state.log_history:
            self._add(row)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add a row."""
        if self.writer is not None:
            self._add(state.log_history[-1])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()

    def _add(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self.writer.add_scalar(f"{self.stage}/{name}", value, row["step"])
        self.writer.flush()


class PaceOfStage(TrainerCallback):
    """Tells early how long a stage will take."""

    def __init__(self, stage: str, steps: int) -> None:
        self.pace = Pace(f"stage {stage}", steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note a step."""
        if state.is_world_process_zero:
            self.pace.step(state.global_step)


class ValidateEvery(TrainerCallback):
    """Validates every some steps, and at the end of the stage."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a validation."""
        last = state.global_step == state.max_steps
        control.should_evaluate = last or state.global_step % self.steps == 0

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        """Show the scores."""
        if state.is_world_process_zero:
            scores = {n: x for n, x in metrics.items() if n.startswith("eval_")}
            shown = ", ".join(f"{n.removeprefix('eval_')} {x:.4f}" for n, x in scores.items())
            stage = Path(args.output_dir).name
            logger.info("stage %s, step %d, held out: %s", stage, state.global_step, shown)


class StopWhenAsked(TrainerCallback):
    """Saves the current step and ends the stage when the run is asked to stop."""

    def __init__(self, request: StopRequest) -> None:
        self.request = request

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look whether a signal has arrived."""
        # At the last step the stage ends by itself and saves its result.
        if self.request.asked() and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
