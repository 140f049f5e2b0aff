"""Fold-parallel training: the folds and seeds of a small network train as one computation.

The parameters of all networks are stacked (``torch.func.stack_module_state``) and their forward
passes run under ``vmap``. The gradient of the summed losses is each network's own gradient, and
AdamW is elementwise, so each network learns exactly what it would learn alone. Everything random
(initial weights, order of clips, flips, dropout) depends on the seed and the fold, not on the
networks trained alongside. Every fold takes the same number of steps, of full batches, on a
schedule fixed in advance: nothing is selected on the test subject.

Letters: N rows, J jobs, B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd

from deft_llm.errors import UserError
from deft_llm.training.schedule import LearningRate, Shape

Inputs = dict[str, Tensor]
MakeNetwork = Callable[[], nn.Module]
Mirror = Callable[[Inputs], Inputs]


class FoldSchedule(LearningRate):
    """Training settings of each network, with AdamW.

    Attributes:
        epochs: Passes over the training clips; the number of steps follows from the mean size
            of the folds' training sets and is the same for all.
        batch_size: Clips per step.
        label_smoothing: Label smoothing of the cross-entropy.
        balanced: Weight classes inversely to their frequency in the training set.
        flips: Draw each clip or its mirror image at random; needs ``mirror`` from the caller.
        folds_at_once: Networks that train together as one computation; memory grows with it.
            None takes 1 on a CPU, where one network fills the caches, and 16 on a GPU.
        processes: Single-threaded processes that share the folds. None takes torch's number of
            threads on a CPU, and 1 on a GPU.
        oracle_epoch: Keep the epoch that is best on the test rows. Never use it for reported
            results.
    """

    epochs: int = Field(default=60, ge=1)
    batch_size: int = Field(default=64, ge=1)
    shape: Shape = "cosine"
    weight_decay: float = Field(default=1e-2, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    balanced: bool = True
    flips: bool = True
    folds_at_once: int | None = Field(default=None, ge=1)
    processes: int | None = Field(default=None, ge=1)
    oracle_epoch: bool = False

    def steps(self, rows: float) -> int:
        """Optimizer steps for training sets of this mean size."""
        return max(1, round(self.epochs * rows / self.batch_size))


@dataclass(frozen=True)
class FoldJob:
    """One network to train.

    Attributes:
        fold: Number of the fold.
        seed: Seed of the run.
        train: Row indices.
        test: Row indices to predict after training.
    """

    fold: int
    seed: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


class _Order:
    """The rows of a job's batches: permutations of its training rows, one after another."""

    def __init__(self, job: FoldJob, batch_size: int, flip_offset: int) -> None:
        # A stream per job; the leading 5 keeps it apart from other streams with the same seed.
        self.rng = np.random.default_rng([5, job.seed, job.fold])
        self.rows, self.size, self.flip_offset = job.train, batch_size, flip_offset
        self.left = np.empty(0, np.int64)

    def __call__(self) -> NDArray[np.int64]:
        # A batch may span two permutations, so that every batch is full.
        while len(self.left) < self.size:
            self.left = np.concatenate([self.left, self.rng.permutation(self.rows)])
        taken, self.left = self.left[: self.size], self.left[self.size :]
        if self.flip_offset:
            taken = taken + self.flip_offset * self.rng.integers(0, 2, self.size)
        return taken


class FoldTrainer:
    """Trains networks of the same architecture together, one per job.

    Args:
        make: Builds a fresh network from named inputs to logits; the random seed is set for each
            job.
        jobs: The networks to train.
        inputs: Named inputs of all N rows, on the training device; the first one's dtype is used
            for the weights.
        labels: Class indices (N,).
        schedule: Training settings.
        steps: Optimizer steps; computed from the schedule and all jobs of the run, so that it does
            not depend on which of them train together.
        mirror: Named inputs -> those of the mirrored clips, whose classes stay; None if unknown.

    Raises:
        UserError: If the schedule asks for flips but ``mirror`` is None, or the networks have
            torch's own dropout.
    """

    def __init__(
        self,
        make: MakeNetwork,
        jobs: Sequence[FoldJob],
        inputs: Inputs,
        labels: Tensor,
        schedule: FoldSchedule,
        steps: int,
        mirror: Mirror | None = None,
    ) -> None:
        self.jobs, self.schedule, self.steps = list(jobs), schedule, steps
        self.inputs, self.labels = inputs, labels
        if schedule.flips:
            # Once for all steps; a mirror image is then a row like any other.
            self.inputs, self.labels = _with_mirror(inputs, mirror), labels.repeat(2)
        device, dtype = labels.device, next(iter(inputs.values())).dtype
        networks = [_fresh(make, job).to(device=device, dtype=dtype) for job in self.jobs]
        self.network = networks[0]
        _no_shared_stream(self.network)
        stacked, buffers = stack_module_state(networks)
        # Leaves, as an optimizer needs them: the stack of the networks' weights is a result.
        self.params = {k: v.detach().requires_grad_() for k, v in stacked.items()}
        self.buffers = buffers
        self.optimizer = torch.optim.AdamW(
            self.params.values(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            fused=True,  # one kernel for all parameters
        )
        offset = len(labels) if schedule.flips else 0
        self.orders = [_Order(job, schedule.batch_size, offset) for job in self.jobs]
        classes = int(labels.max()) + 1
        self.weights = torch.stack(
            [_class_weights(labels[torch.from_numpy(j.train).to(device)], classes) for j in jobs]
        ).to(dtype)
        if not schedule.balanced:
            self.weights = torch.ones_like(self.weights)
        self.done = 0

    def step(self) -> Tensor:
        """Take one optimizer step for every network; returns their losses (J,)."""
        self.schedule.set_rate(self.optimizer, self.done, self.steps)
        rows = torch.from_numpy(np.stack([order() for order in self.orders])).to(self.labels.device)
        # Only the mode and the structure of this module are used; weights are passed to each call.
        self.network.train()
        logits = self._forward({name: x[rows] for name, x in self.inputs.items()})
        losses = self._losses(logits, self.labels[rows])
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        self.done += 1
        return losses.detach()

    def predict(self) -> list[NDArray[np.float64]]:
        """Class probabilities (rows, C) on each job's test rows."""
        self.network.eval()
        longest = max(len(job.test) for job in self.jobs)
        # np.resize repeats the rows up to the longest test set; the repeats are cut off below.
        padded = np.stack([np.resize(job.test, longest) for job in self.jobs])
        rows = torch.from_numpy(padded).to(self.labels.device)
        with torch.no_grad():
            logits = self._forward({name: x[rows] for name, x in self.inputs.items()})
        # float64, as all recognizers give their probabilities.
        probabilities = logits.softmax(-1).double().cpu().numpy()
        return [probabilities[i, : len(job.test)] for i, job in enumerate(self.jobs)]

    def _forward(self, inputs: Inputs) -> Tensor:
        """(J, B, ...) inputs -> logits (J, B, C)."""
        if len(self.jobs) == 1:  # no vmap: its grouped operators are slower on a CPU
            # v[0] is a view: what a batch norm writes into its buffers reaches the stack.
            state = tuple({k: v[0] for k, v in s.items()} for s in (self.params, self.buffers))
            alone: Tensor = functional_call(
                self.network, state, ({n: x[0] for n, x in inputs.items()},)
            )
            return alone[None]

        def one(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Inputs) -> Tensor:
            logits: Tensor = functional_call(self.network, (params, buffers), (x,))
            return logits

        # "error": one stream of chance would make a network depend on those trained beside it.
        logits: Tensor = vmap(one, randomness="error")(self.params, self.buffers, inputs)
        return logits

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of each network (J,), clips weighted by class."""
        each = functional.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            reduction="none",
            label_smoothing=self.schedule.label_smoothing,
        ).view(labels.shape)
        # Not divided by the weights: they have mean 1 over the training clips, not in each batch.
        return (each * self.weights.gather(1, labels)).mean(1)


def _fresh(make: MakeNetwork, job: FoldJob) -> nn.Module:
    """A network with this job's initial weights; the global random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        # A large prime factor, so that no two pairs of seed and fold share a seed.
        torch.manual_seed(1_000_003 * job.seed + job.fold)
        return make()


def _no_shared_stream(network: nn.Module) -> None:
    """Refuse torch's dropout, whose masks would depend on the folds that were trained before."""
    for name, module in network.named_modules():
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise UserError(
                f"{type(network).__name__}.{name}: {type(module).__name__} draws from one stream "
                "for all folds; take SeededDropout of deft_llm.recognizers.layers"
            )


def _class_weights(labels: Tensor, classes: int) -> Tensor:
    """Inverse class frequencies with mean 1 over the clips; 0 for a class without clips."""
    counts = torch.bincount(labels, minlength=classes).double()
    present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (present * counts.clamp(min=1)), 0.0)


def _with_mirror(inputs: Inputs, mirror: Mirror | None) -> Inputs:
    """Append the mirror images: rows N..2N mirror rows 0..N."""
    if mirror is None:
        raise UserError(
            f"schedule.flips: nothing says how {', '.join(inputs)} is mirrored; say flips: false"
        )
    mirrored = mirror(inputs)
    assert mirrored.keys() == inputs.keys()
    return {name: torch.cat([x, mirrored[name]]) for name, x in inputs.items()}
