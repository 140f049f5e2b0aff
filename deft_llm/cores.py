"""Worker processes on one core each."""

from __future__ import annotations

import os

import cv2
from threadpoolctl import threadpool_limits


def one_core() -> None:
    """Keep this process to one core, as a worker of a pool: threads would only get in the way.

    Libraries that are loaded later, torch among them, read the environment.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    threadpool_limits(limits=1)
