from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deft_llm.errors import UserError
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.training.fold_trainer import FoldJob, FoldSchedule, FoldTrainer
from deft_llm.training.folds import train_folds

N = 40
STEPS = 8  # past the end of two epochs


def _material() -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(N, 3, 28, 28, generator=generator, dtype=torch.float64)
    return {"flow_uvs": flow}, torch.arange(N) % 3


def _mirror(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Left-right flip of ``flow_uvs``: u changes its sign."""
    flipped = inputs["flow_uvs"].flip(-1)
    flipped[:, 0] *= -1
    return {"flow_uvs": flipped}


def _jobs() -> list[FoldJob]:
    rows = np.arange(N)
    tests = (rows[:5], rows[5:13], rows[13:16])
    return [FoldJob(i, 7, np.setdiff1d(rows, test), test) for i, test in enumerate(tests)]


_SMALL: dict[str, dict[str, int]] = {"off_apexnet": {"hidden": 16}, "htnet": {"width": 16}}


def _make(name: str) -> Recognizer:
    made = load_recognizer(name, 3, **_SMALL.get(name, {}))
    assert isinstance(made, Recognizer)
    return made


def _alone(name: str, job: FoldJob, schedule: FoldSchedule) -> list[float]:
    """An ordinary training loop on one fold: one network, one optimizer, one batch at a time."""
    inputs, labels = _material()
    torch.manual_seed(1_000_003 * job.seed + job.fold)
    network = _make(name).double()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=schedule.weight_decay)
    counts = torch.bincount(labels[job.train], minlength=3).double()
    weights = counts.sum() / (3 * counts)
    rng = np.random.default_rng([5, job.seed, job.fold])
    left: list[int] = []
    losses = []
    for step in range(STEPS):
        while len(left) < schedule.batch_size:
            left += rng.permutation(job.train).tolist()
        rows, left = left[: schedule.batch_size], left[schedule.batch_size :]
        flipped = torch.from_numpy(rng.integers(0, 2, len(rows))).bool()
        flow = inputs["flow_uvs"][rows].clone()
        mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
        flow[flipped] = mirrored[flipped]
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step, STEPS)
        each = functional.cross_entropy(network({"flow_uvs": flow}), labels[rows], reduction="none")
        loss = (each * weights[labels[rows]]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("name", ["ststnet", "off_apexnet", "htnet"])
def test_together_is_one_by_one(name: str) -> None:
    inputs, labels = _material()
    schedule = FoldSchedule(batch_size=12)
    trainer = FoldTrainer(lambda: _make(name), _jobs(), inputs, labels, schedule, STEPS, _mirror)
    together = torch.stack([trainer.step() for _ in range(STEPS)]).numpy()
    for i, job in enumerate(_jobs()):
        np.testing.assert_allclose(together[:, i], _alone(name, job, schedule), rtol=1e-9)


def test_torchs_dropout_is_refused() -> None:
    """Alone it would learn otherwise than after others, and together it fails inside vmap."""
    inputs, labels = _material()

    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 28 * 28, 3))

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            out: Tensor = self.inner(inputs["flow_uvs"])
            return out

    for jobs in (_jobs(), _jobs()[:1]):
        with pytest.raises(UserError, match=r"Dropping\.inner\.1: Dropout draws .* SeededDropout"):
            FoldTrainer(Dropping, jobs, inputs, labels, FoldSchedule(), STEPS, _mirror)


def test_batch_norm_statistics_are_each_networks_own() -> None:
    inputs, labels = _material()
    jobs = _jobs()
    schedule = FoldSchedule(epochs=2, batch_size=12, folds_at_once=3, processes=1)
    make = lambda: _make("ststnet")  # noqa: E731
    together = {
        j.fold: p for j, p in train_folds(make, jobs, inputs, labels, schedule, mirror=_mirror)
    }
    for job in jobs:
        ((_, alone),) = train_folds(
            make, [job], inputs, labels, schedule, all_jobs=jobs, mirror=_mirror
        )
        np.testing.assert_allclose(together[job.fold], alone, rtol=1e-9)


def test_chunks_change_nothing() -> None:
    # What makes a run resumable: a fold's result does not hang on which others were left.
    inputs, labels = _material()
    results = []
    for size in (1, 2, 3):
        schedule = FoldSchedule(epochs=1, batch_size=12, folds_at_once=size, processes=1)
        found = train_folds(
            lambda: _make("ststnet"), _jobs(), inputs, labels, schedule, mirror=_mirror
        )
        results.append(np.concatenate([p for _, p in found]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)
    np.testing.assert_allclose(results[0], results[2], rtol=1e-9)


def test_processes_are_one_by_one() -> None:
    inputs, labels = _material()
    make = partial(_make, "ststnet")

    def predicted(processes: int) -> dict[int, NDArray[np.float64]]:
        schedule = FoldSchedule(epochs=7, batch_size=12, folds_at_once=1, processes=processes)
        assert schedule.steps(35) >= 20
        found = train_folds(make, _jobs(), inputs, labels, schedule, mirror=_mirror)
        return {job.fold: p for job, p in found}

    alone, shared = predicted(1), predicted(2)
    assert alone.keys() == shared.keys() == {0, 1, 2}
    for fold, expected in alone.items():
        np.testing.assert_allclose(shared[fold], expected, rtol=1e-9)


_ENDLESS = """
import signal
from contextlib import closing
from functools import partial
import numpy as np, torch
from deft_llm.recognizers.base import load_recognizer
from deft_llm.training.fold_trainer import FoldJob, FoldSchedule
from deft_llm.training.folds import train_folds
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's "&"
    rows = np.arange(40)
    jobs = [FoldJob(fold, 0, rows[8:], rows[:8]) for fold in range(5000)]
    schedule = FoldSchedule(epochs=8, batch_size=12, processes=2, flips=False)
    make, inputs = partial(load_recognizer, "ststnet", 3), {"flow_uvs": torch.randn(40, 3, 28, 28)}
    with closing(train_folds(make, jobs, inputs, torch.arange(40) % 3, schedule)) as found:
        for job, _ in found:
            print(job.fold, flush=True)
"""


def _until_gone(group: int) -> None:
    """Wait for the last process of a group: Python's own resource tracker outlives its parent."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process is left")


@pytest.mark.skipif(sys.platform == "win32", reason="sends Ctrl-C to a process group")
def test_ctrl_c_gives_the_folds_that_are_done_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(_ENDLESS)
    # The terminal sends Ctrl-C to all processes of the group.
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline().strip().isdigit()
    os.killpg(run.pid, signal.SIGINT)
    rest, errors = run.communicate(timeout=120)
    assert len(rest.splitlines()) < 4000
    assert run.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert "Traceback" not in errors.partition("KeyboardInterrupt")[2]
    _until_gone(run.pid)


def _die(parent: int) -> Recognizer:
    assert os.getpid() != parent
    os._exit(1)


def test_a_process_that_is_ended_is_told() -> None:
    inputs, labels = _material()
    schedule = FoldSchedule(epochs=1, batch_size=12, processes=2, flips=False)
    with pytest.raises(UserError, match="fewer processes"):
        list(train_folds(partial(_die, os.getpid()), _jobs(), inputs, labels, schedule))


_NO_MODULE = """
import torch
from deft_llm.errors import UserError
from deft_llm.recognizers.base import load_recognizer
from deft_llm.training.fold_trainer import FoldJob, FoldSchedule
from deft_llm.training.folds import train_folds
import numpy as np
def make(): return load_recognizer("ststnet", 3)
rows = np.arange(40)
jobs = [FoldJob(fold, 0, rows[8:], rows[:8]) for fold in range(3)]
inputs = {"flow_uvs": torch.randn(40, 3, 28, 28)}  # more than a pipe holds
try:
    schedule = FoldSchedule(epochs=1, processes=2, flips=False)
    list(train_folds(make, jobs, inputs, torch.arange(40) % 3, schedule))
except UserError as error:
    print(error)
"""


def test_a_network_that_other_processes_cannot_import_is_told() -> None:
    """As from a notebook: they die at once, and nobody waits for them."""
    run = subprocess.run(
        [sys.executable, "-c", _NO_MODULE], capture_output=True, text=True, timeout=120
    )
    assert "has to be in a module" in run.stdout


def test_the_oracle_never_loses_to_the_honest_run() -> None:
    inputs, labels = _material()

    def hits(oracle: bool) -> int:
        schedule = FoldSchedule(epochs=6, batch_size=12, oracle_epoch=oracle, processes=1)
        found = train_folds(
            lambda: _make("ststnet"), _jobs(), inputs, labels, schedule, mirror=_mirror
        )
        return sum(int((p.argmax(1) == labels.numpy()[j.test]).sum()) for j, p in found)

    assert hits(oracle=True) > hits(oracle=False)  # labels are noise: only peeking pays


def test_the_global_random_state_is_left_alone() -> None:
    inputs, labels = _material()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    schedule = FoldSchedule(flips=False)
    FoldTrainer(lambda: _make("ststnet"), _jobs(), inputs, labels, schedule, STEPS).step()
    assert torch.equal(before, torch.get_rng_state())


class _Sums(nn.Module):
    """Reads two inputs that no recognizer has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 3), nn.Linear(4, 3)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.first(inputs["curves"].flatten(1)) + self.second(inputs["counts"])
        return logits


def _mirror_curves(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**inputs, "curves": inputs["curves"].flip(1)}


def test_any_named_inputs_are_trained_on() -> None:
    rng = torch.Generator().manual_seed(1)
    labels = torch.arange(N) % 3
    curves = torch.randn(N, 2, 3, generator=rng) + labels.view(-1, 1, 1)
    inputs = {"curves": curves, "counts": torch.randn(N, 4, generator=rng)}
    schedule = FoldSchedule(epochs=60, batch_size=12, learning_rate=0.03, folds_at_once=3)
    found = train_folds(_Sums, _jobs(), inputs, labels, schedule, mirror=_mirror_curves)
    hits = np.concatenate([p.argmax(1) == labels.numpy()[job.test] for job, p in found])
    assert hits.mean() > 0.6


def test_flips_need_a_way_to_mirror() -> None:
    inputs, labels = _material()
    with pytest.raises(UserError, match=r"nothing says how flow_uvs is mirrored"):
        list(train_folds(partial(_make, "ststnet"), _jobs(), inputs, labels, FoldSchedule()))
