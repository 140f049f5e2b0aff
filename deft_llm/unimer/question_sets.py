"""Composed questions with their frames: the training and held-out sets of all question parsers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from deft_llm.config import Settings
from deft_llm.queries.cues import without_manners
from deft_llm.queries.frames import frame_of, is_claim
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query
from deft_llm.queries.spelling import normal
from deft_llm.training.schedule import Schedule
from deft_llm.unimer.query_questions import Pair, QueryQuestions


class QuestionData(Settings):
    """Questions to compose.

    Attributes:
        questions: How many.
        seed: Of the draw.
        follow: Share of follow-ups.
        beyond: Share of questions that no face can answer.
        elsewhere: Share of texts that ask nothing about a clip.
        later: Share of those that are no follow-ups, but come after another question.
        least: Frames of fewer questions are left out.
    """

    questions: int = Field(ge=1)
    seed: int
    follow: float = Field(default=0.25, ge=0, le=1)
    beyond: float = Field(default=0.2, ge=0, le=1)
    elsewhere: float = Field(default=0.2, ge=0, le=1)
    later: float = Field(default=0.3, ge=0, le=1)
    least: int = Field(default=1, ge=1)


class QuestionRecipe(Settings):
    """What the files of ``train_configs/queries`` have in common.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights and of the order of the questions.
        data: Questions to train on.
        validation: Questions for the scores in the log; None for no scores.
        start: Folder of a trained network to start from; None starts from scratch.
        schedule: Steps, optimizer and learning rate.
        smoothing: Label smoothing.
        save_dtype: Type of the saved weights.
    """

    output: Path
    seed: int = 0
    data: QuestionData
    validation: QuestionData | None = None
    start: Path | None = None
    schedule: Schedule
    smoothing: float = Field(default=0.05, ge=0, lt=1)
    save_dtype: Literal["float32", "float16"] = "float16"


@dataclass(frozen=True)
class QuestionSet:
    """Composed questions.

    Attributes:
        asked: The questions.
        earlier: The query before each, or None.
        frames: Their frames.
    """

    asked: list[Asked]
    earlier: list[Query | None]
    frames: list[str]

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def drawn(cls, data: QuestionData, _: Path | None = None) -> QuestionSet:
        """Compose questions; those whose query no frame gives are left out."""
        maker = QueryQuestions(random.Random(data.seed))
        rows = [row for pair in _pairs(maker, data) if (row := _row(pair)) is not None]
        often = Counter(frame for *_, frame in rows)
        kept = [row for row in rows if often[row[2]] >= data.least]
        return cls([a for a, _, _ in kept], [b for _, b, _ in kept], [f for _, _, f in kept])

    def scores(self, told: Sequence[str]) -> dict[str, float]:
        """Share of the questions with the right frame; false refusals and false claims.

        Args:
            told: The frame that was found for each.
        """
        pairs = list(zip(told, self.frames, strict=True))
        asks = [is_claim(found) for found, right in pairs if is_claim(right)]
        asks_not = [is_claim(found) for found, right in pairs if not is_claim(right)]
        return {
            "right": float(np.mean([found == right for found, right in pairs])),
            "refused": 1 - float(np.mean(asks or [True])),
            "claimed": float(np.mean(asks_not or [False])),
        }


def _pairs(maker: QueryQuestions, data: QuestionData) -> Iterable[Pair]:
    for _ in range(data.questions):
        at = maker.rng.random()
        if at < data.follow:
            yield maker.follow_up()
            continue
        if at < data.follow + data.beyond:
            pair = maker.beyond()
        elif at < data.follow + data.beyond + data.elsewhere:
            pair = maker.elsewhere()
        else:
            pair = maker.pair()
        yield maker.later(pair) if maker.rng.random() < data.later else pair


def _row(pair: Pair) -> tuple[Asked, Query | None, str] | None:
    asked = Asked.of(without_manners(normal(pair.question)))
    frame = frame_of(pair.query, asked, pair.earlier)
    return None if frame is None else (asked, pair.earlier, frame)
