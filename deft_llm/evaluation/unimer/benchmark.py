"""The Uni-MER benchmark: are its statements true, and can its answers be guessed without a clip?

Statements that the dual constraint accepts are scored against exact motion, on the clips of the
simulated benchmark (none of which were used to fit the constraint's weights): precision, and recall
over all regions that truly moved by 0.1 canonical px, including those that no AU moves (blinks).
Then conversations are written about the same clips, and a text-only model is trained on the
questions alone, on one half of the subjects, and tested on the other, in both directions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from deft_llm import facs
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.records import ClipRecord
from deft_llm.data.simulated import SimulatedData, simulated_clips
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.tables import markdown
from deft_llm.files import digest
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.metrics.faithfulness import MOVED_PX, ClaimCounts, count_claims
from deft_llm.metrics.figures import Figure
from deft_llm.motion.evidence import explaining_aus
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.assemble import Assembly, Row, conversations
from deft_llm.unimer.judging import judged
from deft_llm.unimer.statistics import Statistics

_LEVELS = ("A", "B", "C", "label-only")
_GUESSED = ("class", "emotion", "au_yes_no", "counterfactual", "side")
_DRAWS = 20  # random guessers, averaged


class UnimerBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: unimer``.

    Attributes:
        data: The test clips, shared with the simulated benchmark, so they are measured only once.
        templates: Folder of wording templates.
        assembly: Settings for writing conversations.
    """

    data: SimulatedData
    templates: Path | None = None
    assembly: Assembly = Assembly()

    def figure_names(self) -> list[str]:
        """See the base."""
        return [
            *("statement_precision", "statement_recall", "moved_regions_that_an_au_explains"),
            *("recall_of_those", "statements", *(f"agreement_{name}" for name in _LEVELS)),
            *("au_yes_share", "au_no_share", "au_answer_share_worst_unit"),
            *(f"text_only_gain_{kind}" for kind in _GUESSED),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        clips = list(simulated_clips(self.data, self.output).measured())
        # Exact motion is not used to write the statements, only to score them.
        records = [judged(clip) for clip in clips]
        values = statement_values(clips, records) | self._answer_values(records)
        return self.with_bars(values), markdown(_region_rows(clips, records))

    def _answer_values(self, records: Sequence[ClipRecord]) -> dict[str, float]:
        """Balance of the answers, and the gain of a text-only model over guessing."""
        rows = list(conversations(records, self.assembly, Templates(self.templates)))
        statistics = Statistics()
        for row in rows:
            statistics.count_row(row)
        yes = statistics.yes_share
        return {
            "au_yes_share": yes,
            "au_no_share": 1 - yes,
            "au_answer_share_worst_unit": _worst_au(statistics),
            **{f"text_only_gain_{kind}": text_only_gain(rows, kind) for kind in _GUESSED},
        }


def _claims(record: ClipRecord) -> list[tuple[str, str]]:
    return [(row.region, row.direction) for row in record.evidence]


def statement_values(
    clips: Sequence[MeasuredClip], records: Sequence[ClipRecord]
) -> dict[str, float]:
    """Truth of the statements in the clips' records, and shares of the levels of agreement."""
    pairs = list(zip(clips, records, strict=True))
    counts = sum((count_claims(_claims(r), c.motion) for c, r in pairs), ClaimCounts())
    moved = [(c, i) for c, _ in pairs for i in np.flatnonzero(np.hypot(*c.motion.T) >= MOVED_PX)]
    names = list(facs.REGIONS)
    explained = [
        bool(explaining_aus(names[i], float(c.motion[i, 0]), float(c.motion[i, 1]), c.spec.aus))
        for c, i in moved
    ]
    # Clips without AUs have nothing that could agree with motion.
    levels = Counter(record.agreement for record in records if record.aus)
    coded = max(levels.total(), 1)
    return {
        "statement_precision": counts.precision,
        "statement_recall": counts.recall,
        "moved_regions_that_an_au_explains": float(np.mean(explained)),
        "recall_of_those": counts.stated / max(sum(explained), 1),
        "statements": float(counts.claims),
        **{f"agreement_{name}": levels[name] / coded for name in _LEVELS},
    }


def _region_rows(
    clips: Sequence[MeasuredClip], records: Sequence[ClipRecord]
) -> list[dict[str, object]]:
    """Counts for each kind of region, left and right together."""
    rows: list[dict[str, object]] = []
    for kind in dict.fromkeys(map(_without_side, facs.REGIONS)):
        here = [i for i, name in enumerate(facs.REGIONS) if _without_side(name) == kind]
        total = ClaimCounts()
        for clip, record in zip(clips, records, strict=True):
            # The other regions are set still, so that recall is over this kind alone.
            only = np.zeros_like(clip.motion)
            only[here] = clip.motion[here]
            claims = [c for c in _claims(record) if _without_side(c[0]) == kind]
            total += count_claims(claims, only)
        rows.append(
            {
                "region": kind,
                "statements": total.claims,
                "precision": total.precision,
                "moved": total.moved,
                "recall": total.recall,
            }
        )
    return rows


def _without_side(region: str) -> str:
    return region.split(" ", 1)[-1]


# --------------------------------------------------------------------- guessing answers


def _worst_au(statistics: Statistics, least: int = 30) -> float:
    """Largest share of one answer among the AUs with at least ``least`` questions."""
    yes, no = statistics.tables["asked_yes"], statistics.tables["asked_no"]
    often = [n for n in {*yes, *no} if yes[n] + no[n] >= least]
    return max((max(yes[n], no[n]) / (yes[n] + no[n]) for n in often), default=float("nan"))


def _asked(rows: Sequence[Row], kind: str) -> Iterator[tuple[str, str, str]]:
    """(subject, question, answer) of one type; a counterfactual answer is cut to its first word."""
    for row in rows:
        turns = row["conversations"]
        for k, name in enumerate(row["kinds"]):
            if name == kind:
                # Turns alternate: question k is turn 2k, its answer the next one.
                question = turns[2 * k]["value"].removeprefix("<clip>")
                answer = turns[2 * k + 1]["value"]
                yes_no = answer.split(maxsplit=1)[0].strip(",.").lower()
                yield row["subject"], question, yes_no if kind == "counterfactual" else answer


def text_only_gain(rows: Sequence[Row], kind: str) -> float:
    """UF1 of a model that reads the question alone, over that of guessing by class shares.

    The model is a logistic regression on words and pairs of words, trained on each half of the
    subjects and tested on the other, with balanced or plain class weights, whichever scores better.
    The guess is the best of: the most common answer, random answers by class shares, and uniformly
    random answers.

    Returns:
        The difference; NaN if one half has fewer than two different answers of this type.
    """
    asked = list(_asked(rows, kind))
    # A digest, not ``hash``, which differs from run to run: the halves must not.
    second = np.array([int(digest(s), 16) % 2 == 1 for s, _, _ in asked], bool)
    questions = np.array([q for _, q, _ in asked], object)
    answers = np.array([a for _, _, a in asked], object)
    classes = sorted(set(answers))
    if any(len(set(answers[half])) < 2 for half in (second, ~second)):
        return float("nan")
    truth = list(answers)

    def score(guesses: Sequence[str]) -> float:
        return uf1(confusion_matrix(truth, list(guesses), classes))

    models = (_guessed_from_words(questions, answers, second, w) for w in (None, "balanced"))
    return max(map(score, models)) - _best_chance(truth, classes, score)


def _guessed_from_words(
    questions: NDArray[np.object_],
    answers: NDArray[np.object_],
    second: NDArray[np.bool_],
    weight: str | None,
) -> list[str]:
    """Answers by a model of the question's words, trained on the other half of the subjects."""
    guesses = np.empty(len(answers), object)
    for half in (second, ~second):
        model = make_pipeline(
            # The default pattern would drop words of one character.
            CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+"),
            LogisticRegression(class_weight=weight, max_iter=300),
        )
        model.fit(questions[half], answers[half])
        guesses[~half] = model.predict(questions[~half])
    return [str(guess) for guess in guesses]


def _best_chance(
    truth: Sequence[str], classes: Sequence[str], score: Callable[[Sequence[str]], float]
) -> float:
    """The best score of those that do not read the question."""
    counts, total = Counter(truth), len(truth)
    rng = np.random.default_rng(0)
    shares = np.array([counts[c] for c in classes], float) / total
    drawn = [score(rng.choice(classes, total, p=shares).tolist()) for _ in range(_DRAWS)]
    even = [score(rng.choice(classes, total).tolist()) for _ in range(_DRAWS)]
    commonest = score([max(counts, key=counts.__getitem__)] * total)
    return max(float(np.mean(drawn)), float(np.mean(even)), commonest)
