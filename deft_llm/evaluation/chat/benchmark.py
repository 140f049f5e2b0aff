"""The benchmark of the chat: everyday questions, with the right answers from the clips' truth.

The questions were written by hand, apart from all training data and from the parser. They are asked
about the example clips and about simulated clips of two heads, measured as a user's videos are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field
from tqdm import tqdm

from deft_llm import resources
from deft_llm.data.measuring import measure_video
from deft_llm.data.simulated import SimulatedData, head_at_hand
from deft_llm.deft.inference.engine import execute
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.chat.asking import Asked, assign
from deft_llm.evaluation.chat.borne_out import not_borne_out
from deft_llm.evaluation.chat.clips import KnownClip, example_clips, filmed_clips
from deft_llm.evaluation.chat.judge import is_claim, judge
from deft_llm.evaluation.chat.polarity import polarity
from deft_llm.evaluation.chat.questions import Question, read_questions
from deft_llm.evaluation.chat.scores import FIGURES, kind_rows, scores
from deft_llm.evaluation.tables import markdown
from deft_llm.files import write_lines
from deft_llm.metrics.figures import Figure
from deft_llm.motion.measure import Measurement
from deft_llm.resources import EMBEDDED

logger = logging.getLogger(__name__)
QUESTIONS = "chat.jsonl"


class ChatBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: chat``.

    Attributes:
        model: "embedded", "smollm2", or the folder of a checkpoint.
        questions: JSON lines; None for those that ship with the package.
        every: Only every so many questions, for a quick look.
        data: Sets of simulated clips by name; those of a head that is not here are left out.
        clips_each: Clips that a question is asked about.
        seed: Of the choice of clips.
    """

    model: str = EMBEDDED
    questions: Path | None = None
    every: int = Field(default=1, ge=1)
    data: dict[str, SimulatedData] = {}
    clips_each: int = Field(default=4, ge=2)
    seed: int = 0
    output: Path = Path("runs/benchmarks/chat")

    def figure_names(self) -> list[str]:
        """See the base."""
        return list(FIGURES)

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        path = self.questions or resources.benchmark_data(QUESTIONS)
        questions = read_questions(path)[:: self.every]
        clips = self._clips()
        explainer = Explainer.load(self.model)
        rows = list(
            self._asked(explainer, list(assign(questions, clips, self.clips_each, self.seed)))
        )
        self.output.mkdir(parents=True, exist_ok=True)
        write_lines(self.output / f"answers-{Path(self.model).name}.jsonl", map(_line, rows))
        return self.with_bars(scores(rows)), markdown(kind_rows(rows))

    def _clips(self) -> list[KnownClip]:
        sets = {name: data for name, data in self.data.items() if head_at_hand(data.head)}
        return [
            *example_clips(),
            *(
                clip
                for name, data in sets.items()
                for clip in filmed_clips(name, data, self.output)
            ),
        ]

    def _asked(
        self, explainer: Explainer, pairs: Sequence[tuple[Question, KnownClip]]
    ) -> Iterator[Asked]:
        # Clip by clip: each is measured once, and only one is held.
        order = {clip.known.clip: clip for _, clip in pairs}
        for name, clip in tqdm(order.items(), desc="clips", unit="clip"):
            try:
                _, measurement = measure_video(clip.file)
            except UserError as error:
                logger.warning("%s is left out: %s", name, error)
                continue
            for question, other in pairs:
                if other is clip:
                    yield answered(explainer, measurement, question, clip)


def answered(
    explainer: Explainer, measurement: Measurement, question: Question, clip: KnownClip
) -> Asked:
    """Ask one question about a clip, after its turn before, and judge the answer."""
    turns = []
    if question.after:
        turns = [(question.after, explainer.answer(measurement, [], question.after).text)]
    answer = explainer.answer(measurement, turns, question.ask)
    query, known, found = question.query, clip.known, answer.findings
    reference = execute(query, measurement, lambda: explainer.explain(measurement))
    return Asked(
        question=question,
        clip=known.clip,
        text=answer.text,
        found=found,
        reference=reference,
        right=bool(judge(query, found, known)),
        possible=bool(judge(query, reference, known)),
        claim=is_claim(found),
        yes=polarity(replace(query, negated=False), known) if query.polar else None,
        unborne=tuple(not_borne_out(answer.text, found, measurement)),
    )


def _line(row: Asked) -> str:
    question = row.question
    return json.dumps(
        {
            "kind": question.kind,
            "after": question.after,
            "ask": question.ask,
            "query": str(question.query),
            "clip": row.clip,
            "heard": str(row.found.query),
            "answer": row.text,
            "right": row.right,
            "possible": row.possible,
            "unborne": row.unborne,
        },
        ensure_ascii=False,
    )
