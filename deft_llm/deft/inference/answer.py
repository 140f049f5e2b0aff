"""An answer about a clip: its words, and the query and the facts that they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deft_llm.deft.inference.claims import sentence_spans
from deft_llm.queries.findings import Findings


@dataclass(frozen=True)
class Answer:
    """An answer about a clip.

    Attributes:
        text: The words.
        findings: What the query found: the facts with their evidence, and yes or no.
    """

    text: str
    findings: Findings

    @property
    def query(self) -> str:
        """The query in one line."""
        return str(self.findings.query)

    def growing(self) -> Iterator[str]:
        """The text sentence by sentence, longer each time; the last is the whole."""
        ends = [end for _, end in sentence_spans(self.text)]
        yield from (self.text[:end] for end in ends[:-1])
        yield self.text

    def record(self) -> dict[str, Any]:
        """JSON-ready: ``answer``, ``query``, ``polarity``, ``facts``, ``untold``."""
        return {"answer": self.text, **self.findings.to_dict()}


def markdown(talk: Sequence[tuple[str, Answer]]) -> str:
    """A whole chat with its evidence, as Markdown.

    Args:
        talk: Questions and their answers.
    """
    lines: list[str] = []
    for question, answer in talk:
        lines += [
            f"**{' '.join(question.split())}**",
            "",
            answer.text,
            "",
            f"- query: `{answer.query}`",
        ]
        lines += [*_facts(answer.findings), ""]
    return "\n".join(lines).rstrip() + "\n"


def _facts(findings: Findings) -> list[str]:
    """The facts behind an answer, each row of evidence once."""
    # Several facts rest on one motion, as a class, its AUs and its regions do; of these, one that
    # knows the frames.
    frames: dict[str, tuple[int, ...]] = {}
    for fact in findings.facts:
        if not fact.evidence:
            frames[f"- {fact.about}, {fact.what}: {_value(fact.value)} {fact.unit}".rstrip()] = ()
        for row in fact.evidence:
            line = f"- {row.region}: {row.direction}, {row.magnitude:.2f} px, z {row.z:.1f}"
            frames[line] = frames.get(line) or fact.frames
    return [f"{line}, frames {at[0]} to {at[-1]}" if at else line for line, at in frames.items()]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
