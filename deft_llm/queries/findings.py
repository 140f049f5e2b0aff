"""What a query found: facts with their evidence, and yes or no."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deft_llm.clip import Evidence
from deft_llm.queries.query import Query


@dataclass(frozen=True)
class Fact:
    """One thing that was measured, or that the model decided.

    Attributes:
        about: What it is about: a region ("left mouth corner"), an AU code ("L12"), a class, a
            moment, "movement", "head", "clip".
        what: Which of its properties: "moved", "direction", "px", "z", "probability", "time",
            "duration", "named", "number", "remark", …
        value: The property; None if it cannot be told.
        unit: "px", "s", or empty.
        evidence: The measured motion that it rests on.
        frames: Frames of the clip that it rests on.
    """

    about: str
    what: str
    value: bool | float | int | str | None
    unit: str = ""
    evidence: tuple[Evidence, ...] = ()
    frames: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Findings:
    """The result of one query.

    Attributes:
        query: What was asked.
        polarity: Yes or no; None for an open question, or if it cannot be told.
        facts: What was found, the most important first.
        untold: Why it cannot be told, in words; empty if it can.
    """

    query: Query
    polarity: bool | None = None
    facts: tuple[Fact, ...] = ()
    untold: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the query as its line, the polarity as "yes", "no" or null."""
        word = None if self.polarity is None else "yes" if self.polarity else "no"
        return {
            "query": str(self.query),
            "polarity": word,
            "facts": [fact.to_dict() for fact in self.facts],
            "untold": self.untold,
        }
