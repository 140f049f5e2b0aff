"""Tables for people and papers: rows of named cells as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deft_llm.files import write_text

Rows = Sequence[Mapping[str, object]]
"""The first row names the columns of all rows; floats are shown with three decimals."""


def _cells(rows: Rows) -> list[list[str]]:
    """The heading and the rows as text."""
    head = list(rows[0])
    return [head, *([_cell(row[name]) for name in head] for row in rows)]


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def markdown(rows: Rows) -> str:
    """A Markdown table."""
    head, *body = ("| " + " | ".join(row) + " |" for row in _cells(rows))
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


def latex(rows: Rows) -> str:
    """A LaTeX table (booktabs)."""
    head, *body = (" & ".join(map(_escaped, row)) + " \\\\" for row in _cells(rows))
    lines = [f"\\begin{{tabular}}{{{'l' * len(rows[0])}}}", "\\toprule", head, "\\midrule", *body]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    for char in "%_&#":
        text = text.replace(char, f"\\{char}")
    return text


def comma_separated(rows: Rows) -> str:
    """CSV with a header."""
    buffer = io.StringIO()
    # By default ``csv`` ends lines with "\r\n".
    csv.writer(buffer, lineterminator="\n").writerows(_cells(rows))
    return buffer.getvalue()


_FORMATS: dict[str, Callable[[Rows], str]] = {
    ".md": markdown,
    ".tex": latex,
    ".csv": comma_separated,
}


def write_table(path: Path, rows: Rows) -> None:
    """Write a table atomically, in the format of the file's extension: .md, .tex or .csv."""
    write_text(path, _FORMATS[path.suffix](rows))
