"""LOSO of STSTNet trained all folds together against the folds one after the other.

The peer is a plain eager loop, one network and one fold at a time, as published code trains, on
all threads. Both run for a few steps on random flow of 44 subjects and 297 clips; the seconds of
the whole (44 folds, 300 epochs) follow from those of a step. On a GPU the folds train as one
batched computation; on a CPU some numbers of folds at once, and processes of one thread each,
are tried, and the best found counts.

    python eval/speed/loso.py [--steps 5] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deft_llm.metrics.figures import Figure, report
from deft_llm.protocols import loso
from deft_llm.recognizers.ststnet import STSTNet
from deft_llm.training.fold_trainer import FoldJob, FoldSchedule, FoldTrainer
from deft_llm.training.folds import train_folds

CLIPS, SUBJECTS, EPOCHS, BATCH = 297, 44, 300, 256
_SHORT_RUNS = (2, 10)  # epochs
GPU_BAR, CPU_BAR = 20.0, 1.0  # times as fast as the peer


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median wall time after one run to warm up."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))


def plain_step(flow: Tensor, labels: Tensor, job: FoldJob) -> Callable[[], None]:
    """One step of the peer: gather a batch, forward, backward, AdamW."""
    network = STSTNet(3).to(flow.device)
    optimizer = torch.optim.AdamW(network.parameters())
    rows = torch.from_numpy(np.resize(job.train, BATCH)).to(flow.device)

    def step() -> None:
        loss = functional.cross_entropy(network({"flow_uvs": flow[rows]}), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def batched(
    flow: Tensor, labels: Tensor, jobs: Sequence[FoldJob], schedule: FoldSchedule, steps: int
) -> Callable[[], Tensor]:
    """One step of some folds at once."""
    inputs = {"flow_uvs": flow}
    return FoldTrainer(partial(STSTNet, 3), jobs, inputs, labels, schedule, steps).step


def by_processes(
    flow: Tensor, labels: Tensor, jobs: Sequence[FoldJob], schedule: FoldSchedule, steps: int
) -> float:
    """Seconds of the whole with the folds shared out to processes.

    From two short runs of every fold: what they differ by is steps, the rest (starting the
    processes, setting up and predicting 44 folds) is paid once.
    """
    rows = float(np.mean([len(job.train) for job in jobs]))
    shorts = [schedule.model_copy(update={"epochs": epochs}) for epochs in _SHORT_RUNS]
    taken = []
    for short in shorts:
        started = time.perf_counter()
        found = train_folds(partial(STSTNet, 3), jobs, {"flow_uvs": flow}, labels, short)
        assert len(list(found)) == len(jobs)
        taken.append(time.perf_counter() - started)
    first, second = (short.steps(rows) for short in shorts)
    step = (taken[1] - taken[0]) / (second - first)
    return taken[0] + step * (steps - first)


def main() -> int:
    """Measure each way, print seconds for the whole and the ratio of the best to the peer's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--at-once", default="", help="folds at once to try, e.g. 1,4,44")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(CLIPS, 3, 28, 28, generator=generator).to(device)
    labels = (torch.arange(CLIPS) % 3).to(device)
    subjects = [f"s{i % SUBJECTS:02d}" for i in range(CLIPS)]
    jobs = [FoldJob(s.fold, 0, s.train, s.test) for s in loso(subjects)]
    schedule = FoldSchedule(epochs=EPOCHS, batch_size=BATCH, flips=False)
    steps = schedule.steps(float(np.mean([len(job.train) for job in jobs])))
    plain = seconds(plain_step(flow, labels, jobs[0]), device, args.steps) * steps * len(jobs)
    figures = [Figure("loso_one_by_one_s", plain)]
    sizes = [int(n) for n in args.at_once.split(",") if n] or (
        [SUBJECTS] if device.type == "cuda" else [1, 4, 11, 44]
    )
    found = {}
    for size in sizes:
        step = batched(flow, labels, jobs[:size], schedule, steps)
        whole = seconds(step, device, args.steps) * steps * len(jobs) / size
        found[f"loso_{size}_at_once_s"] = whole
    if device.type == "cpu":
        found["loso_processes_s"] = by_processes(flow, labels, jobs, schedule, steps)
    figures += [Figure(name, whole) for name, whole in found.items()]
    bar = GPU_BAR if device.type == "cuda" else CPU_BAR
    figures.append(Figure("loso_speedup", plain / min(found.values()), bar))
    print(f"{device}, {torch.get_num_threads()} threads, {steps} steps", file=sys.stderr)
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
