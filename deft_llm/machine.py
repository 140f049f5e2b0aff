"""Properties of the machine: processes, cores, GPU, and whether bfloat16 is fast."""

from __future__ import annotations

import importlib
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import DeepSpeedPlugin, PartialState

logger = logging.getLogger(__name__)
_NARROW = ("NO AVX", "DEFAULT", "AVX2")  # torch's names for CPU capabilities below AVX-512


def is_first_process() -> bool:
    """Whether this process is the first of a run, or the only one."""
    # The variable of torchrun and ``accelerate launch``; no process group is needed to read it.
    return os.environ.get("RANK", "0") == "0"


def _deepspeed() -> bool:
    # The variable that ``accelerate launch`` sets; no Accelerator exists yet that could be asked.
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def sharded_on_cpu() -> bool:
    """Whether DeepSpeed is enabled on a machine without a GPU."""
    return _deepspeed() and not torch.cuda.is_available()


def zero_stage() -> int:
    """The stage of DeepSpeed's ZeRO that this run was launched with; 0 without DeepSpeed."""
    return int(DeepSpeedPlugin().zero_stage) if _deepspeed() else 0


def process_state() -> PartialState:
    """The state of this process in a distributed run, on a GPU or the CPU.

    DeepSpeed without a GPU needs an explicit backend: with ``cpu=True`` accelerate silently skips
    DeepSpeed, and without it accelerate finds no backend for more than one process.
    """
    if sharded_on_cpu():
        return PartialState(backend="gloo")
    return PartialState(cpu=not torch.cuda.is_available())


def is_shared(module: torch.nn.Module) -> bool:
    """Whether ZeRO-3 has split the weights between the processes."""
    return any(hasattr(p, "ds_id") for p in module.parameters())


def whole(module: torch.nn.Module) -> AbstractContextManager[Any]:
    """Gather a module's weights if ZeRO-3 has split them; all processes must enter together."""
    if not is_shared(module):
        return nullcontext()
    # Imported on use: DeepSpeed is optional.
    zero: Any = importlib.import_module("deepspeed.runtime.zero")
    gathered: AbstractContextManager[Any] = zero.GatheredParameters(list(module.parameters()))
    return gathered


def use_all_cores() -> None:
    """Use all cores: on a CPU, ``accelerate launch`` gives even a single process one thread."""
    if not torch.cuda.is_available():
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, _cores() // processes))


def takes_bfloat16(wanted: bool) -> bool:
    """Whether to run under bfloat16 autocast: if it is wanted and fast on this machine.

    A CPU without AVX-512 has no bfloat16 kernels (a step of the experts took 10 s instead of 1.3 s
    in float32), so float32 is used there; this is logged.
    """
    slow = not torch.cuda.is_available() and torch.backends.cpu.get_cpu_capability() in _NARROW
    if wanted and slow:
        logger.info("this CPU has no AVX-512, without which bfloat16 is slow: float32 it is")
    return wanted and not slow


def _cores() -> int:
    """Cores that this process may use; a container or taskset can limit them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
