"""What an answer says, and what was measured of its clip: all that a reward is reckoned from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from deft_llm import facs
from deft_llm.answers import (
    coarse_label,
    parse_structured_answer,
    stated_aus,
    stated_claims,
    stated_labels,
)
from deft_llm.clip import Evidence
from deft_llm.deft.inference.claims import claim_chance
from deft_llm.motion.evidence import explaining_aus, measured_evidence, moved_aus
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.queries.query import Query

STRUCTURED = "structured_answer"


@dataclass(frozen=True)
class Said:
    """An answer, read once for all rewards.

    Attributes:
        text: As it was written.
        tokens: Its length in tokens.
        ended: Whether it came to its end; False if it was cut off.
        kind: Type of the question that it answers (``unimer``'s question types), or "query".
        query: What a question of the chat asks; None for the other kinds.
    """

    text: str
    tokens: int = 0
    ended: bool = True
    kind: str = STRUCTURED
    query: Query | None = None

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The structured answer, if it is one."""
        return parse_structured_answer(self.text)

    @cached_property
    def claims(self) -> tuple[tuple[str, str], ...]:
        """Every (region, direction) that is stated."""
        return stated_claims(self.text)

    @cached_property
    def aus(self) -> tuple[str, ...]:
        """The AU codes that are named: of the list in a structured answer, else of the words."""
        if self.record is not None:
            return facs.sort_aus(self.record["aus"])
        known = (number for number in stated_aus(self.text) if number in facs.ACTION_UNITS)
        return facs.sort_aus(map(str, known))

    @cached_property
    def label(self) -> str:
        """The class, one of ``COARSE_LABELS``; "" if none is stated."""
        if self.record is not None:
            return str(self.record["class"])
        named = stated_labels(self.text)
        return coarse_label(named[0]) if named else ""


class Seen:
    """What was measured of a clip: all that the rewards know of it.

    Args:
        table: Region motion from onset to apex.
    """

    def __init__(self, table: RegionTable) -> None:
        self.table = table

    @cached_property
    def explained(self) -> dict[str, Evidence]:
        """The regions that moved as an AU moves them, by name."""
        return {row.region: row for row in measured_evidence(self.table) if row.aus}

    @cached_property
    def aus(self) -> frozenset[str]:
        """The AU codes that a region speaks for."""
        return moved_aus(self.table)

    @cached_property
    def likely(self) -> dict[str, float]:
        """The regions that likelier moved than not, as an AU moves them: the chance of each."""
        table, found = self.table, {}
        for i in map(int, np.flatnonzero(table.placed)):
            region = REGION_NAMES[i]
            chance = self.chance((region, table.direction(i)))
            if chance > 0.5 and explaining_aus(region, float(table.u[i]), float(table.v[i])):
                found[region] = chance
        return found

    def chance(self, claim: tuple[str, str]) -> float:
        """How likely a claim is true, given what was measured, 0..1."""
        return claim_chance(self.table, *claim)
