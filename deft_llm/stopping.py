"""End a training when it is asked to: by Ctrl-C, by SIGTERM or SIGHUP, or with its launcher.

While a loop runs, a request waits until the current step is saved. At all other times it ends the
run at once, as Ctrl-C does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import PartialState

from deft_llm.machine import is_first_process, is_launched

# The requests of a batch system, or of a terminal that is closed.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_BOUNCE_S = 1.0  # a launcher repeats the Ctrl-C of its terminal; a person takes longer
_WATCH_S = 0.5


class Stopped(KeyboardInterrupt):
    """The run was asked to stop.

    Attributes:
        status: Exit status of the process, as shells report the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


@contextmanager
def stopping_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, and the end of a launcher, raise :class:`Stopped` in the block."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    with _handling(stop, *_ENDING):
        if sys.platform != "win32" and is_launched():
            threading.Thread(target=_follow_launcher, args=(os.getppid(),), daemon=True).start()
        yield


def _follow_launcher(parent: int) -> None:
    """End with the launcher: `accelerate launch` of one process does not pass SIGTERM on."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)


class StopRequest:
    """Whether a loop was asked to stop after its current step.

    Attributes:
        number: The signal that asked; None so far.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0

    def note(self, number: int, frame: Any) -> None:
        """Handle a signal; Ctrl-C for a second time ends the run at once."""
        again = self.number is not None and time.monotonic() - self._since > _BOUNCE_S
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            if is_first_process():
                # Not by logging, which the signal may have interrupted.
                os.write(2, b"\nstopping when this step is saved (Ctrl-C again: at once)\n")

    def asked(self) -> bool:
        """Whether any process of the run was asked; all processes must call this after a step."""
        state = PartialState()
        if state.num_processes > 1:
            # They are asked at different moments, and must save the same step.
            number = torch.tensor(self.number or 0, device=state.device)
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
            self.number = int(number) or None
        return self.number is not None

    def raise_if_asked(self) -> None:
        """End the run if it was asked to.

        Raises:
            Stopped: If it was.
        """
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def after_this_step() -> Iterator[StopRequest]:
    """Note requests to stop in the block instead of raising them."""
    request = StopRequest()
    with _handling(request.note, signal.SIGINT, *_ENDING):
        yield request


@contextmanager
def _handling(handler: Any, *numbers: int) -> Iterator[None]:
    """Handle signals in the block; one that is ignored, as by nohup, stays ignored."""
    kept: dict[int, Any] = {}
    # Python hands signals to the main thread alone.
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                kept[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)
