"""The stage that the work on a clip is in, told to whoever listens.

The parts that do the work are called from many places and know no front end, so they announce a
stage, and a front end listens around its call. A listener hears its own thread (or task) only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

READING, FINDING, MEASURING, EXPLAINING = "reading", "finding the face", "measuring", "explaining"
STAGES = (READING, FINDING, MEASURING, EXPLAINING)

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("stages", default=None)


def begin(stage: str) -> None:
    """Announce one of ``STAGES``; without a listener, nothing happens."""
    if (hear := _listener.get()) is not None:
        hear(stage)


@contextmanager
def heard(listener: Callable[[str], None]) -> Iterator[None]:
    """Call ``listener`` with every stage that begins inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
