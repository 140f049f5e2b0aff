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

    With ``cpu=True``, accelerate silently leaves DeepSpeed out; without it, accelerate finds no
    backend for more than one process.
    """
    if sharded_on_cpu():
        return PartialState(backend="gloo")
    return PartialState(cpu=not torch.cuda.is_available())


def is_shared(module: torch.nn.Module) -> bool:
    """Whether ZeRO-3 leaves each process a share of the weights."""
    return any(hasattr(p, "ds_id") for p in module.parameters())


def whole(module: torch.nn.Module) -> AbstractContextManager[Any]:
    """Gather all weights of a module, if they are shared; all processes must enter together."""
    if not is_shared(module):
        return nullcontext()
    zero: Any = importlib.import_module("deepspeed.runtime.zero")
    gathered: AbstractContextManager[Any] = zero.GatheredParameters(list(module.parameters()))
    return gathered


def use_all_cores() -> None:
    """Use every core: on a CPU ``accelerate launch`` leaves even a lone process one thread."""
    if not torch.cuda.is_available():
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, _cores() // processes))


def takes_bfloat16(wanted: bool) -> bool:
    """Whether to run under bfloat16 autocast: if it is wanted and this machine is fast at it.

    A CPU without AVX-512 has no kernels for it (a step of the experts took 10 s, in float32
    1.3 s), so that float32 is used there, which is logged.
    """
    slow = not torch.cuda.is_available() and torch.backends.cpu.get_cpu_capability() in _NARROW
    if wanted and slow:
        logger.info("this CPU has no AVX-512, without which bfloat16 is slow: float32 it is")
    return wanted and not slow


def _cores() -> int:
    """Cores that this process may use, which a container or taskset limits."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
