"""One page of several result folders: sortable tables, published numbers apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deft_llm import __version__
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.result_folder import RESULT
from deft_llm.evaluation.recognition.results import GAP
from deft_llm.viz.page import fill_template

_ACROSS = "leave-one-dataset-out evaluation"
_WITHIN = "leave-one-subject-out evaluation"
_HIDDEN = ("low", "high")  # ends of the interval, which is drawn
_SHOWN = ("UF1", "95 % interval", "UAR", "accuracy", "weighted F1", "seeds")


@dataclass
class Section:
    """Rows that share corpora and classes.

    Attributes:
        title: Heading.
        rows: Measured here.
        published: Measured elsewhere.
        left_out: What the tables left out.
    """

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def tables(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Heading and rows of each table, the best first."""
        named = (("Measured", self.rows), ("Published", self.published))
        best_first = ((name, sorted(rows, key=lambda r: -r["UF1"])) for name, rows in named)
        return [(name, _without_empty(rows)) for name, rows in best_first if rows]


def _without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without columns that none of them fills."""
    filled = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    return [{name: row[name] for name in filled} for row in rows]


def leaderboard(folders: Sequence[Path]) -> str:
    """The page as HTML.

    Args:
        folders: Folders that benchmarks of corpora wrote.

    Raises:
        UserError: If there is none, or one has no result.
    """
    if not folders:
        raise UserError("leaderboard: no folder; give those that benchmarks wrote")
    results = [(folder, _read(folder)) for folder in folders]
    across = _across(results)
    sections: dict[tuple[Any, ...], Section] = {}
    for folder, result in results:
        for table in result["tables"]:
            # Simulated clips of a corpus are other clips, of which nothing else is comparable.
            key = (result["simulated"], tuple(table["corpora"]), tuple(table["classes"]))
            heading = f"{result['title']}, {table['title']}: {', '.join(table['classes'])}"
            section = sections.setdefault(key, Section(heading))
            section.rows += [_row(row, table, result, folder, across) for row in table["rows"]]
            section.published += [
                p for n in table["published"] if (p := _published(n)) not in section.published
            ]
            for line in (*result["left_out"], *table["left_out"]):
                # Those of all tables stand once, though two may share classes.
                if (said := f"{folder}: {line}") not in section.left_out:
                    section.left_out.append(said)
    return str(
        fill_template(
            "leaderboard.html",
            sections=list(sections.values()),
            hidden=_HIDDEN,
            version=__version__,
        )
    )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; expected a folder that a benchmark of a corpus wrote, for "
            "example runs/benchmarks/casme2"
        )
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["title"], values["protocol"], values["simulated"]
        [table["left_out"] for table in values["tables"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run that benchmark again") from None
    return values


def _across(results: Sequence[tuple[Path, dict[str, Any]]]) -> dict[tuple[Any, ...], float]:
    """(simulated, model, corpus, classes) -> UF1 there of a model that learned from others."""
    found: dict[tuple[Any, ...], float] = {}
    for _, result in results:
        if result["protocol"] == _ACROSS:
            for table in result["tables"]:
                for row in table["rows"]:
                    for corpus in table["corpora"]:
                        key = _place(result, row, corpus, table)
                        found[key] = row[f"UF1 {corpus}"]
    return found


def _place(
    result: dict[str, Any], row: dict[str, Any], corpus: str, table: dict[str, Any]
) -> tuple[Any, ...]:
    return (result["simulated"], row["model"], corpus, *table["classes"])


def _row(
    row: dict[str, Any],
    table: dict[str, Any],
    result: dict[str, Any],
    folder: Path,
    across: dict[tuple[Any, ...], float],
) -> dict[str, Any]:
    low, _, high = row["95 % interval"].partition(" to ")
    # A run that asked for the gap has it already.
    if result["protocol"] == _WITHIN and GAP not in row:
        # This run's score on each corpus minus that of another run, which learned from all others.
        gaps = [
            row[f"UF1 {corpus}"] - across[key]
            for corpus in table["corpora"]
            if (key := _place(result, row, corpus, table)) in across
        ]
        row = {**row, GAP: sum(gaps) / len(gaps)} if gaps else row
    return {
        "model": row["model"],
        **{name: row[name] for name in _SHOWN},
        GAP: row.get(GAP, ""),
        "protocol": result["protocol"],
        "selection": row["selection"],
        "clips": table["clips"],
        "made": result["made"],
        "folder": str(folder),
        "low": float(low),
        "high": float(high),
    }


def _published(number: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": number["model"],
        "UF1": number["uf1"],
        "UAR": "" if number["uar"] is None else number["uar"],
        "data": number["data"],
        "selection": number["selection"],
        "source": number["source"],
    }
