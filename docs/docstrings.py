"""A griffe extension: what docstrings say in reStructuredText, as the Markdown of the API pages.

Docstrings of this project have simple tables (a border of ``=`` above and below) and roles such as
``:func:`name```; mkdocstrings reads Markdown.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from griffe import Extension, Object

_BORDER = r" *=+(?: +=+)+ *"
_TABLE = re.compile(rf"^{_BORDER}\n(?:.*\S.*\n)+?{_BORDER}$(?!\n.*\S)", re.MULTILINE)
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")
_LITERAL = re.compile(r"::$", re.MULTILINE)


class MarkdownDocstrings(Extension):
    """Rewrites each docstring as it is read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = _TABLE.sub(lambda match: _table(match[0].splitlines()), obj.docstring.value)
            obj.docstring.value = _LITERAL.sub(":", _ROLE.sub(r"`\1`", text))


def _table(lines: list[str]) -> str:
    """A Markdown table of a whole simple table; a row may go on on further lines."""
    starts = [match.start() for match in re.finditer("=+", lines[0])]
    rows: list[list[str]] = []
    headed = False
    for line in lines[1:-1]:
        if re.fullmatch(_BORDER, line):
            headed = True
            continue
        cells = [line[a:b].strip().replace("|", "\\|") for a, b in pairwise([*starts, None])]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
    head = rows.pop(0) if headed else [""] * len(starts)
    indent = " " * starts[0]
    rows = [head, ["---"] * len(starts), *rows]
    return "\n".join(indent + "| " + " | ".join(row) + " |" for row in rows)
