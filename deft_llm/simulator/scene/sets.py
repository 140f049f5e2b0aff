"""Settings of sets of simulated clips: their number, identities and seeds."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.files import digest


class Numbered(Protocol):
    """A set of clips whose faces and recipes are numbered."""

    clips: int
    identities: int
    first_identity: int
    seed: int


def require_apart(data: Numbered, validation: Numbered) -> None:
    """Check that held-out clips share neither faces nor recipes with those that are learned from.

    Raises:
        ValueError: If they do: clips of one seed show the same expression, light and noise.
    """
    for first, count in (("first_identity", "identities"), ("seed", "clips")):
        own, held_out = (
            range(getattr(some, first), getattr(some, first) + getattr(some, count))
            for some in (data, validation)
        )
        if own.start < held_out.stop and held_out.start < own.stop:
            raise ValueError(
                f"validation.{first} {held_out.start}: {count} {held_out.start} to "
                f"{held_out.stop - 1} meet those of data, {own.start} to {own.stop - 1}; give "
                "others"
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
