"""Two processes learn what one learns from twice as many batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = Schedule(steps=4, log_every=1, save_every=2)


class Heads(nn.Module):
    """Two heads, of which the loss knows one."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


class Line:
    """Linear regression."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = Heads()

    def batch(self, index: int) -> dict[str, Tensor]:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(index))
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def training_step(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": (self.model(batch["x"]) - batch["y"]).square().mean()}

    def predict(self, batch: Any) -> Tensor:
        out: Tensor = self.model(batch["x"])
        return out

    def evaluate(self) -> dict[str, float]:
        return {}

    def save(self, folder: Path) -> None:
        save_file(self.model.state_dict(), folder / "model.safetensors")


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batches(tmp_path: Path) -> None:
    """Not told that there is no GPU, each process would be a run of its own in the same folder."""
    alone = fit(Line(), SCHEDULE.model_copy(update={"accumulate": 2}), tmp_path / "one", cpu=True)
    code = (
        "from pathlib import Path; from tests.training.test_processes import *; "
        f"fit(Line(), SCHEDULE, Path({str(tmp_path / 'two')!r}))"
    )
    (tmp_path / "run.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", "29632", str(tmp_path / "run.py")]
    environment = {k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"}
    environment |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, env=environment, timeout=300)
    one, two = (load_file(f / "model.safetensors") for f in (alone, tmp_path / "two" / "final"))
    for name, weights in one.items():
        torch.testing.assert_close(weights, two[name], rtol=1e-5, atol=1e-6)
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    first, second = ([json.loads(row)["loss"] for row in log] for log in logs)
    assert first == pytest.approx(second, rel=1e-5)
