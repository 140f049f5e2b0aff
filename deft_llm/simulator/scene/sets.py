"""Settings of sets of simulated clips: their number, identities and seeds."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.files import digest

Ranges = Sequence[tuple[str, str]]
"""Fields of the first number of a range, and of how many there are."""
OF_CLIPS: Ranges = (("first_identity", "identities"), ("seed", "clips"))


def shared_numbers(one: Settings, other: Settings, first: str, count: str) -> range:
    """What the ranges of two sets have in common; empty if they are apart.

    Args:
        one: A set.
        other: Another.
        first: Field of the first number.
        count: Field of how many there are.
    """
    starts, ends = (
        [getattr(some, first) + length * getattr(some, count) for some in (one, other)]
        for length in (0, 1)
    )
    return range(max(starts), min(ends))


def require_apart(data: Settings, validation: Settings, ranges: Ranges = OF_CLIPS) -> None:
    """Check that held-out clips share neither faces nor recipes with those that are learned from.

    Args:
        data: The set that is learned from.
        validation: The other.
        ranges: What of them is numbered.

    Raises:
        ValueError: If they do: clips of one seed show the same expression, light and noise.
    """
    for first, count in ranges:
        if shared := shared_numbers(data, validation, first, count):
            raise ValueError(
                f"validation.{first} {getattr(validation, first)}: {len(shared)} of its {count} "
                f"are those of data too, from {shared.start} on; give another"
            )


class ClipSet(Settings):
    """Settings that every set of simulated clips has.

    Attributes:
        clips: Number of clips.
        identities: Number of faces.
        first_identity: Seed of the first face; sets with disjoint ranges share no subject.
        seed: Seed of the first clip; clip ``i`` is drawn from ``seed + i``.
    """

    clips: int = Field(ge=0)
    identities: int = Field(ge=1)
    first_identity: int = 1_000
    seed: int

    def digest(self) -> str:
        """Cache key of the settings, the same for any number of workers."""
        return self._digest_without(set())

    def _digest_without(self, names: set[str]) -> str:
        # Subclasses may have `workers`, which does not change the clips.
        return digest(self.model_dump_json(exclude={"workers", *names}))[:12]
