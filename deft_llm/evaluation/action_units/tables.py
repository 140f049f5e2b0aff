"""The tables of a benchmark of action units: means with intervals, every unit, and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm.evaluation.action_units.models import ALL_NAMED, BASELINES, AuClips
from deft_llm.evaluation.action_units.scores import AuCounts, gain, interval
from deft_llm.evaluation.tables import markdown, write_table
from deft_llm.files import write_text

_HEAD = (
    "{clips} clips with coded units; F1 of the positive class, pooled over all clips of a test "
    "set, mean over units, then over test sets. Each unit is learned by itself.\n"
)


@dataclass(frozen=True)
class AuTables:
    """What was found.

    Attributes:
        made: Clips, units and folds.
        results: Model -> counts of each seed.
        notes: Model -> how its settings were chosen, and its note.
        published: Scores from elsewhere.
    """

    made: AuClips
    results: Mapping[str, Sequence[AuCounts]]
    notes: Mapping[str, tuple[str, str]]
    published: Sequence[Mapping[str, Any]]

    def write(self, folder: Path, protocol: str, footer: Sequence[str]) -> str:
        """Write all tables.

        Args:
            folder: Where to.
            protocol: In words.
            footer: What was left out, a line each.

        Returns:
            ``table.md``.
        """
        overall = sorted(
            (self._row(name, runs) for name, runs in self.results.items()),
            key=lambda row: -float(row["mean F1"]),
        )
        units = [row for name, runs in self.results.items() for row in self._units(name, runs)]
        parts = [
            f"# Action units, {protocol}\n",
            _HEAD.format(clips=len(self.made.clips)),
            markdown(overall),
            "## By unit\n\n" + markdown(units),
            "## Clips that show a unit\n\n" + markdown(self._counts()),
        ]
        if self.published:
            parts.append("## Published\n\n" + markdown(self._published()))
        parts.append("## Left out\n\n" + "".join(f"- {line}\n" for line in footer or ["nothing"]))
        text = "\n".join(parts)
        write_text(folder / "table.md", text)
        for suffix in (".csv", ".tex"):
            write_table(folder / f"table{suffix}", overall)
            write_table(folder / f"units{suffix}", units)
        return text

    def _row(self, name: str, runs: Sequence[AuCounts]) -> dict[str, Any]:
        own = interval(runs)
        over = "" if name == ALL_NAMED else _signed(runs, self.results[ALL_NAMED])
        found = [run.means() for run in runs]
        selection, note = self.notes.get(name) or ("nothing is chosen", BASELINES[name])
        return {
            "model": name,
            "mean F1": own.value,
            "95 % interval": f"{own.low:.3f} to {own.high:.3f}",
            **{d: _cell(float(np.mean([f[d] for f in found]))) for d in found[0]},
            "seeds": len(runs),
            "gain over all named": over,
            "selection": selection,
            "note": note,
        }

    def _units(self, name: str, runs: Sequence[AuCounts]) -> list[dict[str, object]]:
        """F1 of every unit on each test set; empty where nobody shows it."""
        found = [run.f1() for run in runs]
        rows: list[dict[str, object]] = []
        for dataset in found[0]:
            values = np.mean([f[dataset] for f in found], axis=0)
            cells = {f"AU{n}": _cell(v) for n, v in zip(self.made.aus, values, strict=True)}
            rows.append({"model": name, "test set": dataset, **cells})
        return rows

    def _counts(self) -> list[dict[str, object]]:
        datasets, labels = self.made.clips.datasets, self.made.labels
        return [
            {
                "test set": dataset,
                "clips": int((datasets == dataset).sum()),
                **{f"AU{n}": int(labels[n][datasets == dataset].sum()) for n in self.made.aus},
            }
            for dataset in sorted(set(datasets.tolist()))
        ]

    def _published(self) -> list[dict[str, object]]:
        datasets = sorted(set(self.made.clips.datasets.tolist()))
        return [
            {
                "model": p["model"],
                "mean F1": "" if p["mean"] is None else p["mean"],
                **{d: p["datasets"].get(d, "") for d in datasets},
                "source": p["source"],
            }
            for p in self.published
        ]


def _signed(ours: Sequence[AuCounts], theirs: Sequence[AuCounts]) -> str:
    found = gain(ours, theirs)
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _cell(value: float) -> float | str:
    return "" if np.isnan(value) else float(value)
