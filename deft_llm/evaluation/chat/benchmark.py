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
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.downloads import SMOLLM2
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
LEFT_OUT = "left_out"


def _name(model: str) -> str:
    """What a model is called in figures: folders by their last part."""
    return Path(model).name


class ChatBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: chat``.

    Figures have the model's name in front, with which bars name them. A model that is not here is
    left out and counted in ``left_out``, unless it is the only one.

    Attributes:
        models: Each "embedded", "smollm2", or the folder of a checkpoint.
        questions: JSON lines; None for those that ship with the package.
        every: Only every so many questions, for a quick look.
        data: Sets of simulated clips by name; those of a head that is not here are left out.
        clips_each: Clips that a question is asked about.
        seed: Of the choice of clips.
    """

    models: list[str] = Field(default=[EMBEDDED], min_length=1)
    questions: Path | None = None
    every: int = Field(default=1, ge=1)
    data: dict[str, SimulatedData] = {}
    clips_each: int = Field(default=4, ge=2)
    seed: int = 0
    output: Path = Path("runs/benchmarks/chat")

    def figure_names(self) -> list[str]:
        """See the base."""
        # Bars of models that are not asked this time stay in the file.
        names = dict.fromkeys(map(_name, (*self.models, EMBEDDED, SMOLLM2)))
        return [*(f"{name}_{figure}" for name in names for figure in FIGURES), LEFT_OUT]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        path = self.questions or resources.benchmark_data(QUESTIONS)
        questions = read_questions(path)[:: self.every]
        explainers = list(self._explainers())  # before anything is rendered
        pairs = list(assign(questions, self._clips(), self.clips_each, self.seed))
        self.output.mkdir(parents=True, exist_ok=True)
        values: dict[str, float] = {}
        tables = []
        for name, explainer in explainers:
            rows = list(self._asked(explainer, pairs))
            write_lines(self.output / f"answers-{name}.jsonl", map(_line, rows))
            values |= {f"{name}_{figure}": value for figure, value in scores(rows).items()}
            tables.append(f"{name}\n\n{markdown(kind_rows(rows))}")
        values[LEFT_OUT] = float(len(self.models) - len(explainers))
        return self.with_bars(values), "\n\n".join(tables)

    def _explainers(self) -> Iterator[tuple[str, Explainer]]:
        for model in self.models:
            try:
                yield _name(model), Explainer.load(model)
            except UserError as error:
                if len(self.models) == 1:
                    raise
                logger.warning("%s is left out: %s", model, error)

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
    reference = explainer.look(query, measurement)
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
