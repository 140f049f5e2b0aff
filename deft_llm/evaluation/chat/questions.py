"""The benchmark's questions: JSON lines, each with the query that it asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.files import numbered_lines
from deft_llm.queries.query import Query, parse_query

_NEEDED, _ALL = {"kind", "ask", "query"}, {"kind", "after", "ask", "query"}


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        kind: Its group in the tables, such as "followup_amount" or "decline_lying".
        ask: The words.
        query: What they ask for, written by hand.
        after: The turn before, if it is a follow-up; empty otherwise.
    """

    kind: str
    ask: str
    query: Query
    after: str = ""


def read_questions(path: Path) -> list[Question]:
    """Read a file of questions.

    Raises:
        UserError: If the file or a field is missing or wrong; names the line.
    """
    questions = []
    for number, row in numbered_lines(path):
        where = f"{path}, line {number}"
        if not _NEEDED <= set(row) <= _ALL or not all(isinstance(v, str) for v in row.values()):
            raise UserError(
                f"{where}: fields {', '.join(row)}; expected texts kind, ask, query, and after if "
                "it is a follow-up"
            )
        try:
            query = parse_query(row["query"])
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        questions.append(Question(row["kind"], row["ask"], query, row.get("after", "")))
    if not questions:
        raise UserError(f"{path}: holds no question")
    return questions
