"""Processes on one core each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from threadpoolctl import threadpool_limits


def one_core() -> None:
    """Keep this process to one core, as a worker of a pool: threads would only get in the way.

    Libraries that are loaded later, torch among them, read the environment.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    threadpool_limits(limits=1)


@contextmanager
def for_a_while_on_one_core() -> Iterator[None]:
    """One core for a process that goes on with something else afterwards."""
    import torch  # noqa: F401  # loaded now, so that it is limited too

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cv2.setNumThreads(threads)
