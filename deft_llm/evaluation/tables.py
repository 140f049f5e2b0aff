"""Tables for people and papers: rows of named cells as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
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
    **{"<": "$<$", ">": "$>$", "|": "$|$", "\n": " ", "−": "$-$", "–": "--", "—": "---"},
    **{"…": "\\ldots{}", "ß": "\\ss{}", "æ": "\\ae{}", "Æ": "\\AE{}", "œ": "\\oe{}"},
    **{"Œ": "\\OE{}", "ı": "\\i{}"},
    **{"ø": "\\o{}", "Ø": "\\O{}", "ł": "\\l{}", "Ł": "\\L{}"},
    **{"×": "$\\times$", "±": "$\\pm$", "≤": "$\\leq$", "≥": "$\\geq$", "→": "$\\to$"},
}
# Combining accents of Unicode -> LaTeX's, those of its oldest fonts.
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u"},
    **{"\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c"},
}


def _cells(rows: Rows) -> list[list[str]]:
    """The heading and the rows as text."""
    head = list(rows[0])
    return [head, *([_cell(row[name]) for name in head] for row in rows)]


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def markdown(rows: Rows) -> str:
    """A Markdown table."""
    # A bar in a note of somebody's would begin a column.
    cells = [[" ".join(cell.replace("|", "\\|").split("\n")) for cell in r] for r in _cells(rows)]
    head, *body = ("| " + " | ".join(row) + " |" for row in cells)
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
    """Text as LaTeX of ASCII signs."""
    # Two hyphens would become a dash.
    parts = re.split(r"(?<=-)(?=-)", text)
    return "{}".join("".join(map(_sign, part)) for part in parts)


def _sign(char: str) -> str:
    """A sign as ASCII that any LaTeX sets; its number where there is none, as of Chinese."""
    if char in _SIGNS:
        return _SIGNS[char]
    if char.isascii():
        return char if char.isprintable() else " "
    parts = unicodedata.normalize("NFD", char)
    letter, accent = parts[0], parts[1:]
    if letter.isascii() and accent in _ACCENTS:
        # Accents over i and j take the place of the dot.
        letter = f"\\{letter} " if letter in "ij" else letter
        return f"\\{_ACCENTS[accent]}{{{letter}}}"
    return f"[U+{ord(char):04X}]"


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
