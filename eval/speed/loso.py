"""LOSO with the folds together: of STSTNet, and of linear models.

Of STSTNet the peer is a plain eager loop, one network and one fold at a time, as published code
trains, on all threads. Both run for a few steps on random flow of 44 subjects and 297 clips; the
seconds of the whole (44 folds, 300 epochs) follow from those of a step. On a GPU the folds train as
one batched computation; on a CPU some numbers of folds at once, and processes of one thread each,
are tried, and the best found counts.

Of a logistic regression on flow of 56 x 56 pixels, the composite's 68 subjects and 442 clips are
run whole, with C fixed and with C chosen in five inner folds of each; the peer is scikit-learn's,
run to its optimum on some of the folds. Both must predict the same classes.

    python eval/speed/loso.py [--only linear] [--steps 5] [--json FILE] [--check]
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
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.records import ClipRecord
from deft_llm.evaluation.recognition.classical import predict_folds
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.metrics.figures import Figure, report
from deft_llm.protocols import loso
from deft_llm.recognizers.ststnet import STSTNet
from deft_llm.training.fold_trainer import FoldJob, FoldSchedule, FoldTrainer
from deft_llm.training.folds import train_folds

CLIPS, SUBJECTS, EPOCHS, BATCH = 297, 44, 300, 256
_SHORT_RUNS = (2, 10)  # epochs
GPU_BAR, CPU_BAR = 20.0, 1.0  # times as fast as the peer
LINEAR_CLIPS, LINEAR_SUBJECTS, LINEAR_SIDE = 442, 68, 56
LINEAR_BAR, CHOICE_BAR = 20.0, 90.0  # s
_PEER_FOLDS = 3
_CHOICES = [0.0001, 0.0003, 0.001, 0.003]


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


def linear_clips() -> tuple[LabelledClips, dict[str, NDArray[np.float32]]]:
    """Clips of three classes that differ a little, and their flow."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, LINEAR_CLIPS, p=(0.56, 0.25, 0.19))
    flow = rng.normal(size=(LINEAR_CLIPS, 3, LINEAR_SIDE, LINEAR_SIDE)).astype(np.float32)
    shown = rng.normal(size=(3, 3, LINEAR_SIDE, LINEAR_SIDE)).astype(np.float32)
    flow += 0.06 * shown[labels]
    records = [
        ClipRecord(f"clip {i}", f"{i % LINEAR_SUBJECTS}", None, True, (), dataset="random")
        for i in range(LINEAR_CLIPS)
    ]
    clips = ClipDataset(records, [None] * LINEAR_CLIPS, [None] * LINEAR_CLIPS, "random flow")
    return LabelledClips(clips, labels, ("a", "b", "c")), {"flow_uvs": flow}


def linear_figures() -> list[Figure]:
    """Seconds of a logistic regression over all folds, and what scikit-learn says of some."""
    data, inputs = linear_clips()
    splits = loso(data.clips.subjects.tolist())
    fixed = ModelEntry(recognizer="logistic_flow", options={"C": 0.001})
    chosen = ModelEntry(recognizer="logistic_flow", choices={"C": _CHOICES})
    taken, found = {}, []
    for name, entry in (("choice", chosen), ("fixed", fixed)):
        started = time.perf_counter()
        found = predict_folds(entry, data, inputs, 0, splits)
        taken[name] = time.perf_counter() - started
    vectors = inputs["flow_uvs"].reshape(LINEAR_CLIPS, -1).astype(np.float64)
    started, same = time.perf_counter(), []
    for split, p in list(zip(splits, found, strict=True))[:_PEER_FOLDS]:
        # In the span of the training clips, as these baselines were run before.
        turn = np.linalg.qr(vectors[split.train].T)[0]
        peer = LogisticRegression(C=0.001, class_weight="balanced", max_iter=10_000, tol=1e-8)
        peer.fit(vectors[split.train] @ turn, data.labels[split.train])
        same += (peer.predict(vectors[split.test] @ turn) == p.argmax(1)).tolist()
    each = (time.perf_counter() - started) / _PEER_FOLDS
    return [
        Figure("loso_logistic_sklearn_s", each * len(splits)),
        Figure("loso_logistic_s", taken["fixed"], LINEAR_BAR, False),
        Figure("loso_logistic_choice_s", taken["choice"], CHOICE_BAR, False),
        Figure("loso_logistic_same_classes", float(np.mean(same)), 1.0),
    ]


def network_figures(steps_timed: int, sizes_tried: str) -> list[Figure]:
    """Seconds of STSTNet over all folds each way, and the ratio of the best to the peer's."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(CLIPS, 3, 28, 28, generator=generator).to(device)
    labels = (torch.arange(CLIPS) % 3).to(device)
    subjects = [f"s{i % SUBJECTS:02d}" for i in range(CLIPS)]
    jobs = [FoldJob(s.fold, 0, s.train, s.test) for s in loso(subjects)]
    schedule = FoldSchedule(epochs=EPOCHS, batch_size=BATCH, flips=False)
    steps = schedule.steps(float(np.mean([len(job.train) for job in jobs])))
    plain = seconds(plain_step(flow, labels, jobs[0]), device, steps_timed) * steps * len(jobs)
    figures = [Figure("loso_one_by_one_s", plain)]
    sizes = [int(n) for n in sizes_tried.split(",") if n] or (
        [SUBJECTS] if device.type == "cuda" else [1, 4, 11, 44]
    )
    found = {}
    for size in sizes:
        step = batched(flow, labels, jobs[:size], schedule, steps)
        whole = seconds(step, device, steps_timed) * steps * len(jobs) / size
        found[f"loso_{size}_at_once_s"] = whole
    if device.type == "cpu":
        found["loso_processes_s"] = by_processes(flow, labels, jobs, schedule, steps)
    figures += [Figure(name, whole) for name, whole in found.items()]
    bar = GPU_BAR if device.type == "cuda" else CPU_BAR
    figures.append(Figure("loso_speedup", plain / min(found.values()), bar))
    print(f"{device}, {torch.get_num_threads()} threads, {steps} steps", file=sys.stderr)
    return figures


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--at-once", default="", help="folds at once to try, e.g. 1,4,44")
    parser.add_argument("--only", choices=("linear", "network"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    figures = [] if args.only == "network" else linear_figures()
    if args.only != "linear":
        figures += network_figures(args.steps, args.at_once)
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
