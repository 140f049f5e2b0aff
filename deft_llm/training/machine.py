"""The machine that a run has: its processes, cores, GPU, and what it is fast at."""

from __future__ import annotations

import importlib
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import PartialState

logger = logging.getLogger(__name__)
_NARROW = ("NO AVX", "DEFAULT", "AVX2")


def sharded_on_cpu() -> bool:
    """Whether DeepSpeed is to run without a GPU."""
    wanted = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    return wanted and not torch.cuda.is_available()


def process_state() -> PartialState:
    """This process among the others, on the machine's GPU or its CPU.

    Told to stay on the CPU, accelerate leaves DeepSpeed out without a word; not told so, it finds
    no backend for more than one process.
    """
    if sharded_on_cpu():
        return PartialState(backend="gloo")
    return PartialState(cpu=not torch.cuda.is_available())


def is_shared(module: torch.nn.Module) -> bool:
    """Whether ZeRO-3 leaves each process a share of the weights."""
    return any(hasattr(p, "ds_id") for p in module.parameters())


def whole(module: torch.nn.Module) -> AbstractContextManager[Any]:
    """All weights of a module, shared or not; all processes enter it together."""
    if not is_shared(module):
        return nullcontext()
    zero: Any = importlib.import_module("deepspeed.runtime.zero")
    gathered: AbstractContextManager[Any] = zero.GatheredParameters(list(module.parameters()))
    return gathered


def use_all_cores() -> None:
    """Undo what ``accelerate launch`` does on a CPU: one thread, for a process that is alone."""
    if not torch.cuda.is_available():
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, _cores() // processes))


def takes_bfloat16(wanted: bool) -> bool:
    """Whether to run under bfloat16 autocast: where it is wanted and this machine is fast at it.

    A CPU without AVX-512 has no kernels for it (a step of the experts took 10 s for 1.3 s in
    float32): float32 is taken there instead, and said.
    """
    slow = not torch.cuda.is_available() and torch.backends.cpu.get_cpu_capability() in _NARROW
    if wanted and slow:
        logger.info("this CPU has no AVX-512, without which bfloat16 is slow: float32 it is")
    return wanted and not slow


def _cores() -> int:
    """Cores that this process may use: a container or taskset may leave it fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
