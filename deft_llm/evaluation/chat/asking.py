"""Which question goes to which clips, and what became of every answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deft_llm.evaluation.chat.clips import KnownClip
from deft_llm.evaluation.chat.judge import judge
from deft_llm.evaluation.chat.polarity import polarity
from deft_llm.evaluation.chat.questions import Question
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import TALK


@dataclass(frozen=True)
class Asked:
    """One answer.

    Attributes:
        question: The question.
        clip: Name of the clip.
        text: The answer.
        found: The query that the question was taken for, and its facts.
        reference: The facts of the query that it is.
        right: Whether the answer is right by the truth.
        possible: Whether the facts of the right query are, which only the measurement decides.
        claim: Whether the answer says anything about the clip.
        yes: The right yes or no; None for another question.
        unborne: Facts and sentences that the measurement does not bear out.
    """

    question: Question
    clip: str
    text: str
    found: Findings
    reference: Findings
    right: bool
    possible: bool
    claim: bool
    yes: bool | None
    unborne: tuple[str, ...]

    @property
    def heard(self) -> bool:
        """Whether the question was understood: its facts are those of the right query."""
        return outcome(self.found) == outcome(self.reference)


def outcome(found: Findings) -> tuple[object, ...]:
    """What an answer comes down to, to tell answers apart."""
    facts = tuple(sorted((f.about, f.what, str(f.value)) for f in found.facts))
    return found.polarity, facts, bool(found.untold)


def assign(
    questions: Sequence[Question], clips: Sequence[KnownClip], each: int, seed: int
) -> Iterator[tuple[Question, KnownClip]]:
    """Pairs of a question and a clip whose truth decides it.

    A yes/no question gets as many clips where "yes" is right as where "no" is, if there are some of
    both; small talk, which is the same on every clip, gets one.

    Args:
        questions: The questions.
        clips: The clips.
        each: Clips of a question.
        seed: Of the draw.
    """
    for number, question in enumerate(questions):
        rng = np.random.default_rng([seed, number])
        shuffled = [clips[i] for i in rng.permutation(len(clips))]
        query = question.query
        # An empty answer shows whether the truth decides the question at all.
        fit = (c for c in shuffled if judge(query, Findings(query), c.known) is not None)
        if query.kind in TALK:
            chosen = [next(fit)]
        elif query.polar and query.kind != "order":
            # Without its "not", so that half of the clips show what is asked about.
            decided = [(c, polarity(replace(query, negated=False), c.known)) for c in fit]
            sides = [[c for c, yes in decided if yes is answer] for answer in (True, False)]
            chosen = [c for side in sides for c in side[: each // 2]]
        else:
            chosen = list(fit)[:each]
        yield from ((question, clip) for clip in chosen)
