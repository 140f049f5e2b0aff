"""The trained parser: frames of a question by likelihood, and what they make of it.

The network (``network.py``) tells frames apart; what fills them in are the words of the question
(``frames.py``). So a query that it gives is always a valid one, and about what was named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from deft_llm.queries import frames
from deft_llm.queries.frame_scores import FrameScores, Trust
from deft_llm.queries.marks import Asked
from deft_llm.queries.network import QuestionParser, load_parser
from deft_llm.queries.query import TALK, Query, parse_query

_TRIED = 4  # likeliest frames that are filled in
# Share from which the topic that a question is declined for is told: below it, one in three is
# right, of questions that no pattern was written after; above it, nine in ten.
_SURE_TOPIC = 0.5


@dataclass(frozen=True)
class Reading:
    """What the network makes of a question.

    Attributes:
        shares: Frame -> its probability, the likeliest first.
        query: The query of the likeliest frame that the question's words fill in; None if they
            fill in none.
        share: Probability of that frame.
        trust: Of the network.
    """

    shares: dict[str, float]
    query: Query | None
    share: float
    trust: Trust

    @cached_property
    def claim(self) -> float:
        """Probability that the question asks for something that is measured in the clip."""
        return sum(share for frame, share in self.shares.items() if frames.is_claim(frame))

    @property
    def asks(self) -> Query | None:
        """The query, if its answer says something about the clip."""
        return self.query if self.query is None or self.query.kind not in TALK else None

    @cached_property
    def aside(self) -> Query:
        """The likeliest query that says nothing about the clip."""
        if self.query is not None and self.query.kind in TALK:
            found = self.query  # with what is to be explained
        else:
            found = self._first(lambda frame: not frames.is_claim(frame))
        return found if self._is_sure(found) else Query("unknown")

    @cached_property
    def declines(self) -> Query:
        """The likeliest query that declines; without a topic if that is not sure."""
        found = self._first(lambda frame: frame.startswith("decline"))
        return found if self._is_sure(found) else Query("decline")

    def _is_sure(self, query: Query) -> bool:
        """Whether a query that declines has the right topic, as far as can be told."""
        return query.kind != "decline" or self.shares.get(str(query), 0.0) >= _SURE_TOPIC

    def _first(self, holds: Callable[[str], bool]) -> Query:
        frame = next((frame for frame in self.shares if holds(frame)), "unknown")
        return parse_query(frame.removeprefix(frames.KEEPS).partition(" moments:")[0])


@lru_cache(maxsize=1)
def embedded() -> QuestionParser:
    """The network of the package."""
    return load_parser()


@torch.inference_mode()
def read(asked: Asked, before: Query | None, network: FrameScores | None = None) -> Reading:
    """Read a question.

    Args:
        asked: The question.
        before: What was asked before, or None.
        network: The network; None for the package's own.
    """
    network = network or embedded()
    shares, order = network.scores(asked, before).softmax(0).sort(descending=True)
    listed = [network.frames[i] for i in order.tolist()]
    found = dict(zip(listed, shares.tolist(), strict=True))
    for frame in listed[:_TRIED]:
        if (query := frames.fill(frame, asked, before)) is not None:
            return Reading(found, query, found[frame], network.trust)
    return Reading(found, None, 0.0, network.trust)
