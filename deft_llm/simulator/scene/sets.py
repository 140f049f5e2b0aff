"""Settings of sets of simulated clips: their number, identities and seeds."""

from __future__ import annotations

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.files import digest


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
