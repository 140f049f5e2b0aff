"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Cells as a Markdown table; the first row names the columns of all."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row[name] for name in head) + " |" for row in rows]
    return "\n".join(lines) + "\n"
