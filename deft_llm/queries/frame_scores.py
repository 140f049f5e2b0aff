"""What networks that read questions have in common, and how far each of them is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query


@dataclass(frozen=True)
class Trust:
    """How likely a network must find a query for that to hold, 0..1.

    Attributes:
        sure: Against the rules' query.
        refers: The same, after another question.
        certain: Even if it leaves out what the rules found.
        fair: Where no rule reads the question.
    """

    sure: float
    refers: float
    certain: float
    fair: float


class FrameScores(Protocol):
    """A network that tells frames apart: the package's small one, or a language model."""

    def __hash__(self) -> int:
        """Queries are kept by network."""

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames, in the order of the scores."""

    @property
    def trust(self) -> Trust:
        """How far it is trusted; chosen on everyday questions, none of them of a benchmark."""

    def scores(self, asked: Asked, before: Query | None) -> Tensor:
        """Scores (frames,) of one question."""
