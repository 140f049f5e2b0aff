"""Figures and tables of the chat, from its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, groupby
from statistics import fmean

from deft_llm.evaluation.chat.asking import Asked, outcome
from deft_llm.queries.query import TALK

FIGURES: tuple[str, ...] = (
    *("right", "ceiling", "heard", "yes_no_balanced", "yes_share", "followups_right"),
    *("declined_with_claim", "declined_asked", "unclear_with_claim", "not_borne_out"),
    *("follows_clip", "pairs_that_differ", "questions", "answers", "kinds"),
)


def share(rows: Sequence[Asked], holds: Callable[[Asked], bool]) -> float:
    """Share of the answers for which something holds; NaN without any."""
    return fmean(map(holds, rows)) if rows else float("nan")


def scores(rows: Sequence[Asked]) -> dict[str, float]:
    """Figures by name, those of ``FIGURES``.

    "ceiling" is what the right queries would score: the measurement and the model's verdicts are
    not always right. "heard" is the share of questions that were taken for what they are.
    """
    declined = [row for row in rows if row.question.query.kind == "decline"]
    unclear = [row for row in rows if row.question.kind == "unclear"]
    polar = [row for row in rows if row.yes is not None]
    sides = [[row for row in polar if row.yes is yes] for yes in (True, False)]
    pairs = [follows for _, follows in _pairs(rows)]
    values = (
        share(rows, lambda row: row.right),
        share(rows, lambda row: row.possible),
        share(rows, lambda row: row.heard),
        # Mean over both answers, so that always saying yes gives one half.
        fmean(share(side, lambda row: row.right) for side in sides),
        share(polar, lambda row: row.yes is True),
        share([row for row in rows if row.question.after], lambda row: row.right),
        float(sum(row.claim for row in declined)),
        float(len(declined)),
        share(unclear, lambda row: row.claim),
        float(sum(len(row.unborne) for row in rows)),
        fmean(pairs) if pairs else float("nan"),
        float(len(pairs)),
        float(len({row.question for row in rows})),
        float(len(rows)),
        float(len({row.question.kind for row in rows})),
    )
    return dict(zip(FIGURES, values, strict=True))


def _pairs(rows: Sequence[Asked]) -> Iterator[tuple[str, bool]]:
    """Pairs of clips whose right answers to a question differ, and whether the answers do.

    The control for answers that come from the question alone: the clip is exchanged. Only what says
    something about both clips is counted: what is not understood is an error of another kind.
    """
    told = [row for row in rows if row.claim and row.question.query.kind not in TALK]
    told.sort(key=lambda row: (row.question.after, row.question.ask))
    for question, answers in groupby(told, key=lambda row: row.question):
        for a, b in combinations(answers, 2):
            if a.heard and b.heard and outcome(a.reference) != outcome(b.reference):
                yield question.ask, outcome(a.found) != outcome(b.found) and a.text != b.text


def kind_rows(rows: Sequence[Asked]) -> list[dict[str, object]]:
    """One line for each kind of question."""
    table: list[dict[str, object]] = []
    for kind in dict.fromkeys(row.question.kind for row in rows):
        own = [row for row in rows if row.question.kind == kind]
        table.append(
            {
                "kind": kind,
                "questions": len({row.question for row in own}),
                "answers": len(own),
                "right": share(own, lambda row: row.right),
                "ceiling": share(own, lambda row: row.possible),
                "heard": share(own, lambda row: row.heard),
                "claims": sum(row.claim for row in own),
            }
        )
    return table
