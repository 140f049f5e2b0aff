"""The leak audit: no subject, clip or content may stand on both sides of a split."""

from __future__ import annotations

from collections.abc import Iterable

from deft_llm.errors import UserError
from deft_llm.unimer.records import ClipRecord


def shared(train: Iterable[ClipRecord], test: Iterable[ClipRecord]) -> dict[str, list[str]]:
    """What two sets have in common: "subject", "clip" and "content" -> sorted values."""
    train, test = list(train), list(test)
    return {
        name: sorted({getattr(r, name) for r in train} & {getattr(r, name) for r in test})
        for name in ("subject", "clip", "content")
    }


def require_disjoint(train: Iterable[ClipRecord], test: Iterable[ClipRecord]) -> None:
    """Refuse a leaking split.

    Raises:
        UserError: If a subject, clip or content hash is on both sides; names examples.
    """
    for name, values in shared(train, test).items():
        if values:
            raise UserError(
                f"instruction data and test set share {len(values)} {name}s, for example "
                f"{values[0]}; leave them out of one side"
            )
