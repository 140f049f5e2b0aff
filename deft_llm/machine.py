"""Properties of the machine: processes, cores, GPU, and whether bfloat16 is fast."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import DeepSpeedPlugin, PartialState

logger = logging.getLogger(__name__)
_THREADS = "OMP_NUM_THREADS"
# What `accelerate launch` and torchrun set for the processes that they start.
_LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")
_NARROW = ("NO AVX", "DEFAULT", "AVX2")  # torch's names for CPU capabilities below AVX-512


def is_first_process() -> bool:
    """Whether this process is the first of a run, or the only one."""
    # The variable of torchrun and ``accelerate launch``; no process group is needed to read it.
    return os.environ.get("RANK", "0") == "0"


def processes() -> int:
    """Number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_launched() -> bool:
    """Whether ``accelerate launch`` or torchrun started this process."""
    return any(name in os.environ for name in _LAUNCHED)


def together_on_cpu() -> bool:
    """Whether several processes share a machine without a GPU.

    accelerate has to be told: otherwise it takes each of them for a run of its own, and all write
    the same folder.
    """
    return processes() > 1 and not torch.cuda.is_available()


def first_process_first() -> AbstractContextManager[Any]:
    """Let the first process through a block before the others, which then find what it made.

    All processes must enter it.
    """
    return process_state().main_process_first() if processes() > 1 else nullcontext()


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
    """Use all cores on a machine without a GPU, unless the user said how many (OMP_NUM_THREADS).

    Launchers set that variable as well: to 1, or to the cores of the whole machine.
    """
    if not torch.cuda.is_available() and not _threads_said():
        torch.set_num_threads(max(1, _cores() // processes()))


def _threads_said() -> bool:
    """Whether the user set the number of threads, which torch has read by itself then."""
    return _THREADS in (_of_launcher() if is_launched() else os.environ)


def _of_launcher() -> Collection[str]:
    """Names of the variables that a launcher was started with, before its own; on Linux alone."""
    try:
        entries = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return ()
    return {os.fsdecode(entry.partition(b"=")[0]) for entry in entries}


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
