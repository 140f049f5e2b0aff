"""The folder of a table: rows, tables, plots, audit, protocol, and how to make it again.

Tables of a label scheme lie in a folder of its name; ``table.md`` joins them. Everything but the
audit and the counts is computed from the rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from deft_llm.evaluation.corpus_table.left_out import LeftOutClip, summary, write_left_out
from deft_llm.evaluation.corpus_table.schemes import SchemeClips
from deft_llm.evaluation.recognition.results import Result
from deft_llm.evaluation.recognition.tables import PublishedScore, table_rows, write_tables
from deft_llm.evaluation.replaced import replacing_results
from deft_llm.evaluation.tables import escaped, markdown, write_table
from deft_llm.files import replacing, write_text

RESULT = "result.json"  # what the leaderboard reads


@dataclass(frozen=True)
class SchemeTable:
    """What was found under one label scheme.

    Attributes:
        made: The clips, classes and folds.
        results: The rows of every model.
        not_run: Models that could not be run -> why.
        published: Published numbers.
        unseen: Their rows on corpora that they learned nothing of, if those were asked for.
    """

    made: SchemeClips
    results: Mapping[str, Result]
    not_run: Mapping[str, str]
    published: Sequence[PublishedScore]
    unseen: Mapping[str, Result] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """What a run has found.

    Attributes:
        title: For headings: "CASME II".
        simulated: Whether the clips are simulated.
        protocol: In words.
        baseline: Entry that the others are compared with.
        tables: One for each label scheme.
        left_out: Rows and clips that no table has.
        mended: Number of cells that were mended.
        noted: Number of other remarks on sheets and folders.
        skipped: Label schemes without a table -> why.
        paragraph: The protocol for a paper.
        script: ``reproduce.sh``.
        settings: Of the run, for ``benchmark.yaml``.
    """

    title: str
    simulated: bool
    protocol: str
    baseline: str
    tables: Sequence[SchemeTable]
    left_out: Sequence[LeftOutClip]
    mended: int
    noted: int
    skipped: Mapping[str, str]
    paragraph: str
    script: str
    settings: Mapping[str, Any]


def write_result_folder(folder: Path, found: Findings) -> str:
    """Write all files; those of an earlier run that this one has not go.

    Returns:
        ``table.md``.
    """
    audits = [folder / t.made.scheme / "leaks.md" for t in found.tables]
    audits += [folder / t.made.scheme / "unseen" / "leaks.md" for t in found.tables if t.unseen]
    with replacing_results(folder, audits) as new:
        return _write(new, found)


def _write(folder: Path, found: Findings) -> str:
    parts = [f"# {found.title}: {found.protocol}\n"]
    for table in found.tables:
        parts.append(_write_scheme(folder / table.made.scheme, table, found.baseline))
    footer = _footer(found)
    parts.append("## Left out\n\n" + "".join(f"- {line}\n" for line in footer))
    text = "\n".join(parts)
    write_text(folder / "table.md", text)
    everywhere = [("all", clip) for clip in found.left_out]
    of_tables = [(t.made.scheme, clip) for t in found.tables for clip in t.made.left_out]
    write_left_out(folder / "left_out.csv", [*everywhere, *of_tables])
    write_text(folder / "protocol.md", found.paragraph)
    write_text(folder / "reproduce.sh", found.script)
    (folder / "reproduce.sh").chmod(0o755)
    settings = yaml.safe_dump(dict(found.settings), sort_keys=False, allow_unicode=True)
    write_text(folder / "benchmark.yaml", settings)
    write_text(folder / RESULT, json.dumps(_result(found), indent=1) + "\n")
    return text


def _footer(found: Findings) -> list[str]:
    """What every table, each of them, and the run as a whole left out."""
    lines = _of_all_tables(found)
    for table in found.tables:
        lines += [f"{table.made.title}: {line}" for line in _of_table(table)]
    lines += [f"no table of scheme {scheme}: {why}" for scheme, why in found.skipped.items()]
    return lines or ["nothing"]


def _of_all_tables(found: Findings) -> list[str]:
    lines = summary(found.left_out)
    for count, what in (
        (found.mended, "mended cells of sheets"),
        (found.noted, "remarks on sheets and folders"),
    ):
        if count:
            lines.append(f"{what}: {count}, which `corpora check` lists")
    return lines


def _of_table(table: SchemeTable) -> list[str]:
    missing = [f"no row of {model} ({why})" for model, why in table.not_run.items()]
    return [*summary(table.made.left_out), *missing]


def _write_scheme(folder: Path, table: SchemeTable, baseline: str) -> str:
    """The files of one scheme; returns its part of ``table.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = table.made
    text = write_tables(folder, table.results, {}, baseline, table.published, table.unseen)
    counts = markdown(made.counts)
    write_table(folder / "classes.csv", made.counts)
    note = f"{made.size}; {len(made.left_out)} measured clips have no class here."
    with (folder / "table.tex").open("a", encoding="utf-8") as file:
        file.write("{\\footnotesize " + escaped(note) + "\\par}\n")
    rows = [
        {"model": result.name, **_row(row)}
        for result in table.results.values()
        for row in result.rows
    ]
    with replacing(folder / "rows.parquet") as half:
        pd.DataFrame(rows).to_parquet(half, index=False)
    return f"## {made.title}: {', '.join(made.data.classes)}\n\n{text}\n{counts}"


def _row(row: Any) -> dict[str, object]:
    values = {
        name: getattr(row, name)
        for name in ("dataset", "subject", "clip", "fold", "seed", "label", "predicted", "seconds")
    }
    return {**values, **{f"p_{name}": p for name, p in row.probabilities.items()}}


def _result(found: Findings) -> dict[str, Any]:
    return {
        "title": found.title,
        "simulated": found.simulated,
        "protocol": found.protocol,
        "made": date.today().isoformat(),
        "tables": [
            {
                "scheme": table.made.scheme,
                "title": table.made.title,
                "classes": list(table.made.data.classes),
                "corpora": sorted(set(table.made.data.clips.datasets.tolist())),
                "clips": len(table.made.tested),
                "rows": table_rows(table.results, found.baseline, table.unseen),
                "published": [number.model_dump() for number in table.published],
                "left_out": _of_table(table),
            }
            for table in found.tables
        ],
        "left_out": _of_all_tables(found),
    }
