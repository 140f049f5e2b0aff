"""Loops compiled by numba, whose machine code is kept on disk where a folder can be written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from multiprocessing import parent_process
from typing import Any, TypeVar

from numba import njit

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """A decorator: ``numba.njit``, with the machine code kept for the next process.

    Without a folder for it (a shared installation, and no writable home) the function is compiled
    anew in every process, and this is told once.

    Args:
        **options: Those of ``numba.njit``, without ``cache``.
    """

    def decorate(function: Function) -> Function:
        try:
            made: Function = njit(cache=True, **options)(function)
        except RuntimeError:  # numba looks for a folder here, before anything is compiled
            _tell()
            made = njit(**options)(function)
        return made

    return decorate


@cache
def _tell() -> None:
    if parent_process() is not None:  # a worker: its parent has said so
        return
    logger.warning(
        "compiled code cannot be kept, every process compiles it anew: set NUMBA_CACHE_DIR to a "
        "folder that you may write"
    )
