"""Tables for people and papers: rows of named cells as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deft_llm.files import write_text

Rows = Sequence[Mapping[str, object]]
"""The first row names the columns of all rows; floats are shown with three decimals."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
# What LaTeX would take for a command, set as another sign, or not know.
_SIGNS = {
    **{char: f"\\{char}" for char in "%_&#${}"},
    **{"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", "\n": " ", "−": "$-$", "–": "--", "…": "\\ldots{}"},
    **{"×": "$\\times$", "±": "$\\pm$", "≤": "$\\leq$", "≥": "$\\geq$", "→": "$\\to$"},
}


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


def latex(
    rows: Rows,
    heads: Mapping[str, str] | None = None,
    marks: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """A LaTeX table (booktabs) in small type, to be put into one column of a paper.

    Numbers stand with their decimal points below each other; no other package is needed.

    Args:
        rows: The table.
        heads: Columns to take, in this order -> their headings; None takes all as they are.
        marks: A letter for each row, set above its first cell; empty for none.
        notes: Text of each mark, in order of the letters, below the table.
    """
    names = list(rows[0]) if heads is None else list(heads)
    columns = [_column([_cell(row[name]) for row in rows]) for name in names]
    cells = list(zip(*(texts for _, texts in columns), strict=True))
    if marks:
        signs = [f"\\textsuperscript{{{mark}}}" if mark else "" for mark in marks]
        cells = [(line[0] + sign, *line[1:]) for line, sign in zip(cells, signs, strict=True)]
    head = [escaped(name if heads is None else heads[name]) for name in names]
    lines = [
        "% needs booktabs",
        "{\\footnotesize\\setlength{\\tabcolsep}{3pt}%",
        f"\\begin{{tabular}}{{@{{}}{''.join(side for side, _ in columns)}@{{}}}}",
        *("\\toprule", _line(head), "\\midrule", *map(_line, cells), "\\bottomrule"),
        "\\end{tabular}\\par",
        *(f"\\textsuperscript{{{chr(97 + i)}}}\\,{escaped(n)}\\par" for i, n in enumerate(notes)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    text = " & ".join(cells) + " \\\\"
    # After the end of a line, LaTeX takes these for an option of it.
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def _column(texts: Sequence[str]) -> tuple[str, list[str]]:
    """How a column is aligned ("l" or "r"), and its cells in LaTeX."""
    if not any(texts) or not all(_NUMBER.fullmatch(text) for text in texts if text):
        return "l", [escaped(text) for text in texts]
    digits = max(len(text.partition(".")[2]) for text in texts)
    return "r", [_number(text, digits) for text in texts]


def _number(text: str, digits: int) -> str:
    """A number with the width of ``digits`` decimals."""
    whole, point, decimals = text.partition(".")
    rest = "0" * (digits - len(decimals))
    missing = f"\\phantom{{{'' if point else '.'}{rest}}}" if rest and text else ""
    return (whole + point + decimals).replace("-", "$-$") + missing


def escaped(text: str) -> str:
    """Text as LaTeX."""
    return "".join(_SIGNS.get(char, char) for char in text)


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
