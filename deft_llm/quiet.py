"""Warnings of other libraries that no user can do anything about."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def peft_names() -> Iterator[None]:
    """Keep quiet that PEFT uses names that transformers is to drop."""
    with warnings.catch_warnings():
        pattern = ".*is_gradient_checkpointing"
        warnings.filterwarnings("ignore", message=pattern, category=FutureWarning)
        yield
