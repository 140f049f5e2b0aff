"""Counts and plots of a dataset, and its data card."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import facs
from deft_llm.data.records import ClipRecord
from deft_llm.files import write_lines

SIZES = tuple(float(x) for x in np.geomspace(0.02, 8.0, 25))  # px, edges of the histogram
_NAMES = {au.name: n for n, au in facs.ACTION_UNITS.items()}
# Longest names first: alternation takes the first match, should one name begin with another.
_AU = re.compile(r"AU(\d+)|" + "|".join(sorted(map(re.escape, _NAMES), key=len, reverse=True)))
_REASONS = 20  # most left-out clips that the card lists


def asked_au(question: str) -> int | None:
    """The AU number in a question, which names the AU by number or by name."""
    match = _AU.search(question)
    if match is None:
        return None
    return int(match[1]) if match[1] else _NAMES[match[0]]


class Statistics:
    """Counts over clips and conversations; the rows themselves are not kept in memory."""

    def __init__(self) -> None:
        self.clips = 0
        self.conversations = 0
        self.subjects: set[str] = set()
        self.tables: dict[str, Counter[str]] = {
            name: Counter()
            for name in (
                *("dataset", "agreement", "emotion", "au", "label_only", "region", "kind", "class"),
                *("asked_yes", "asked_no", "unexplained"),
            )
        }
        self.sizes = [0] * (len(SIZES) - 1)
        self.left_out: list[tuple[str, str]] = []

    def count_clip(self, record: ClipRecord) -> None:
        """Add a clip."""
        self.clips += 1
        self.subjects.add(record.subject)
        tables = self.tables
        tables["dataset"][record.dataset] += 1
        tables["agreement"][record.agreement] += 1
        emotion = record.emotion or ("none" if record.emotion_known else "not coded")
        tables["emotion"][emotion] += 1
        tables["au"].update(f"AU{facs.au_number(code)}" for code in record.aus)
        tables["label_only"].update(f"AU{facs.au_number(code)}" for code in record.label_only)
        tables["region"].update(row.region for row in record.evidence)
        tables["unexplained"].update(row.region for row in record.unexplained)
        for row in record.evidence:
            # Magnitudes beyond the edges are counted in the first or last bin.
            place = int(np.searchsorted(SIZES, row.magnitude)) - 1
            self.sizes[min(max(place, 0), len(self.sizes) - 1)] += 1

    def count_row(self, row: Mapping[str, Any]) -> None:
        """Add a conversation (a row from ``unimer/assemble.py``)."""
        self.conversations += 1
        turns = row["conversations"]
        for kind, asked, answered in zip(row["kinds"], turns[::2], turns[1::2], strict=True):
            self.tables["kind"][kind] += 1
            if kind == "class":
                self.tables["class"][answered["value"]] += 1
            if kind == "au_yes_no":
                number = asked_au(asked["value"])
                self.tables[f"asked_{answered['value']}"][f"AU{number}"] += 1

    def count_left_out(self, clip: str, problem: str) -> None:
        """Add a clip that could not be used."""
        self.left_out.append((clip, problem))

    @property
    def yes_share(self) -> float:
        """Share of yes among all answers about single AUs; NaN without any."""
        yes, no = (self.tables[n].total() for n in ("asked_yes", "asked_no"))
        return yes / (yes + no) if yes + no else math.nan

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "clips": self.clips,
            "subjects": len(self.subjects),
            "conversations": self.conversations,
            "au_yes_share": None if math.isnan(self.yes_share) else round(self.yes_share, 4),
            "left_out": len(self.left_out),
            **{name: dict(sorted(counts.items())) for name, counts in self.tables.items()},
            "statement_px": {
                # There is one edge more than bins; each bin is named by its lower edge.
                f"{low:.3g}": count
                for low, count in zip(SIZES, self.sizes, strict=False)
            },
        }

    def write(self, folder: Path) -> None:
        """Write ``statistics.json``, ``statistics.png``, ``left_out.jsonl`` and the card."""
        text = json.dumps(self.to_dict(), indent=1)
        write_lines(folder / "statistics.json", [text])
        write_lines(
            folder / "left_out.jsonl",
            (json.dumps({"clip": clip, "problem": problem}) for clip, problem in self.left_out),
        )
        self.plot(folder / "statistics.png")
        write_lines(folder / "README.md", [self.card()])

    def plot(self, path: Path) -> None:
        """Draw the counts."""
        # Figure without pyplot: no global state and no display needed.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 11.5), layout="constrained")
        axes = figure.subplots(3, 2)
        _bars(axes[0, 0], self.tables["agreement"], "clips", "agreement of flow and coding")
        _bars(axes[0, 1], self.tables["emotion"], "clips", "coded emotion")
        _bars(axes[1, 0], self.tables["kind"], "questions", "question types", lying=True)
        _asked(axes[1, 1], self.tables["asked_yes"], self.tables["asked_no"])
        _bars(axes[2, 0], self.tables["region"], "statements", "regions stated", lying=True)
        axes[2, 1].stairs(self.sizes, SIZES, fill=True, color="#0072B2")
        axes[2, 1].set(xscale="log", xlabel="motion, canonical px", ylabel="statements")
        axes[2, 1].set_title("size of the stated motion")
        # The suffix stays .png because savefig derives the format from it. "Software" would write
        # the matplotlib version into the file: equal data should give equal bytes.
        partial = path.with_suffix(".partial.png")
        figure.savefig(partial, dpi=90, metadata={"Software": None})
        partial.replace(path)

    def card(self) -> str:
        """The data card as Markdown."""
        rows = [
            ("clips", self.clips),
            ("subjects", len(self.subjects)),
            ("conversations", self.conversations),
            ("questions", self.tables["kind"].total()),
            ("clips left out", len(self.left_out)),
        ]
        lines = [
            "---",
            "license: other",
            "task_categories: [visual-question-answering]",
            "tags: [micro-expression, facs, action-units, instruction-tuning]",
            "configs: [{config_name: default, data_files: parquet/*.parquet}]",
            "---",
            "# Uni-MER instruction data",
            "",
            "Questions and answers about micro-expressions. Every statement about motion names in",
            "`evidence` its region, direction, magnitude (px of the canonical 224-pixel face), z",
            "over the region's noise floor, phase, action units and the source of their coding;",
            "`stated` says which rows each answer rests on. Sources: "
            + ", ".join(f"{k} ({n})" for k, n in sorted(self.tables["dataset"].items()))
            + ".",
            "Clips of a corpus stay under that corpus's licence; share what its holders allow.",
            "",
            *("| what | number |", "|---|---|", *(f"| {name} | {n} |" for name, n in rows)),
            "",
            "![statistics](statistics.png)",
            "",
            "Grades: A, B, C by how far flow and coding agree; `label-only` clips have a label and",
            "no agreed motion, and are answered as clips in which nothing is seen; without any AU",
            "coding, by the label alone. Motion without an action unit is kept in `clips.jsonl`",
            "(`unexplained`) and never put into words.",
        ]
        if self.left_out:
            lines += ["", "Left out, with the reason (all in `left_out.jsonl`):", ""]
            lines += [f"- {clip}: {problem}" for clip, problem in self.left_out[:_REASONS]]
        return "\n".join(lines)


def _bars(axis: Any, counts: Counter[str], label: str, title: str, lying: bool = False) -> None:
    names = [name for name, _ in counts.most_common()]
    values = [counts[name] for name in names]
    if lying:
        axis.barh(names[::-1], values[::-1], color="#0072B2")
        axis.set_xlabel(label)
        axis.tick_params(axis="y", labelsize=8)
    else:
        axis.bar(names, values, color="#0072B2")
        axis.set_ylabel(label)
        axis.tick_params(axis="x", labelrotation=30)
    axis.set_title(title)


def _asked(axis: Any, yes: Counter[str], no: Counter[str]) -> None:
    names = sorted({*yes, *no}, key=lambda name: int(name.removeprefix("AU") or 0))
    places = np.arange(len(names))
    axis.bar(places - 0.2, [yes[n] for n in names], 0.4, label="yes", color="#0072B2")
    axis.bar(places + 0.2, [no[n] for n in names], 0.4, label="no", color="#E69F00")
    axis.set_xticks(places, [n.removeprefix("AU") for n in names], fontsize=7)
    axis.set(xlabel="AU asked about", ylabel="answers", title="yes and no for single AUs")
    axis.legend()
