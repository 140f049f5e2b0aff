"""Tables, plots and figures of a recognition benchmark, all from rows of predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Prediction
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.runs import Entry
from deft_llm.evaluation.tables import markdown
from deft_llm.files import write_bytes, write_text
from deft_llm.metrics.classification import accuracy, confusion_matrix, uar, uf1, weighted_f1
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.subjects import (
    Interval,
    Score,
    bootstrap,
    mcnemar,
    paired_difference,
    subject_matrices,
    subject_mean,
)
from deft_llm.viz.confusion import confusion_plot

CLASSES = facs.THREE_CLASSES


class Published(Settings):
    """A number from a paper, or one measured elsewhere.

    Attributes:
        model: Its name.
        uf1: As printed.
        uar: As printed.
        data: On which clips.
        selection: How epoch and settings were chosen, as far as is known.
        source: Where it is printed.
    """

    model: str
    uf1: float
    uar: float | None = None
    data: str
    selection: str
    source: str


class Bar(Settings):
    """One figure and what it has to reach.

    Attributes:
        kind: "uf1" (mean over seeds), "gain" (paired, over another entry), or "few" (mean over
            draws of training on few subjects).
        model: Entry.
        over: The other entry of a gain; None means the benchmark's baseline.
        least: What it has to reach; None only reports it.
    """

    kind: Literal["uf1", "gain", "few"]
    model: str
    over: str | None = None
    least: float | None = None


@dataclass(frozen=True)
class Result:
    """All rows of one entry.

    Attributes:
        name: Name of the entry.
        entry: What was run.
        rows: One for each seed and tested clip (draws of few subjects: for each fold and clip).
    """

    name: str
    entry: Entry
    rows: Sequence[Prediction]

    @cached_property
    def runs(self) -> list[NDArray[np.int64]]:
        """Per-subject confusion matrices (S, C, C + 1) of each seed."""
        return [self._matrices([r for r in self.rows if r.seed == s]) for s in self.seeds]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return sorted({row.seed for row in self.rows})

    def scores(self, dataset: str | None = None) -> list[float]:
        """UF1 of each seed, on one dataset or all."""
        return [
            uf1(_matrix([r for r in self.rows if r.seed == s and dataset in (None, r.dataset)]))
            for s in self.seeds
        ]

    def fold_scores(self) -> list[float]:
        """UF1 of each fold by itself: for draws, each of which tests most clips."""
        return [
            uf1(_matrix([r for r in self.rows if r.fold == f]))
            for f in sorted({row.fold for row in self.rows})
        ]

    def _matrices(self, rows: Sequence[Prediction]) -> NDArray[np.int64]:
        return subject_matrices(
            [f"{r.dataset}/{r.subject}" for r in rows],
            [r.label for r in rows],
            [r.predicted for r in rows],
            CLASSES,
        )


def _matrix(rows: Sequence[Prediction]) -> NDArray[np.int64]:
    return confusion_matrix([r.label for r in rows], [r.predicted for r in rows], CLASSES)


def bars(
    wanted: Sequence[Bar],
    results: Mapping[str, Result],
    few: Mapping[str, Result],
    baseline: str,
) -> list[Figure]:
    """Figures with their bars; those of entries that were not run are left out."""
    figures = []
    for bar in wanted:
        if bar.kind == "few" and bar.model in few:
            value = float(np.mean(few[bar.model].fold_scores()))
            figures.append(Figure(f"{bar.model}_few_subjects_uf1", value, bar.least))
        elif bar.kind == "uf1" and bar.model in results:
            value = float(np.mean(results[bar.model].scores()))
            figures.append(Figure(f"{bar.model}_uf1", value, bar.least))
        elif bar.kind == "gain" and bar.model in results and (bar.over or baseline) in results:
            gain = paired_difference(results[bar.model].runs, results[bar.over or baseline].runs)
            name = f"{bar.model}_gain" + (f"_over_{bar.over}" if bar.over else "")
            figures.append(Figure(name, gain.value, bar.least))
            figures.append(Figure(f"{name}_low", gain.low))
            figures.append(Figure(f"{name}_high", gain.high))
    return figures


def table_rows(results: Mapping[str, Result], baseline: str) -> list[dict[str, str]]:
    """One dictionary of printable cells per entry, best UF1 first."""
    ordered = sorted(results.values(), key=lambda r: -float(np.mean(r.scores())))
    return [_cells(r, results.get(baseline)) for r in ordered]


def _cells(result: Result, baseline: Result | None) -> dict[str, str]:
    runs = result.runs
    pooled = [m.sum(0) for m in runs]
    interval = bootstrap(np.sum(runs, axis=0))
    values = result.scores()
    datasets = sorted({row.dataset for row in result.rows})
    gain, test = "", ""
    if baseline is not None and baseline.name != result.name:
        gain = _signed(paired_difference(runs, baseline.runs))
        test = _mcnemar(result, baseline)
    return {
        "model": result.name,
        "UF1": f"{np.mean(values):.3f}",
        "95 % interval": f"{interval.low:.3f} to {interval.high:.3f}",
        "SD of seeds": f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else "",
        "seeds": str(len(values)),
        "UAR": _mean(uar, pooled),
        "accuracy": _mean(accuracy, pooled),
        "weighted F1": _mean(weighted_f1, pooled),
        **{f"UF1 {name}": f"{np.mean(result.scores(name)):.3f}" for name in datasets},
        "subject-mean accuracy": f"{np.mean([subject_mean(m, accuracy) for m in runs]):.3f}",
        "gain over baseline": gain,
        "McNemar p": test,
        "selection": result.entry.selection,
        "note": result.entry.note,
    }


def _mean(score: Score, matrices: Sequence[NDArray[np.int64]]) -> str:
    return f"{np.mean([score(m) for m in matrices]):.3f}"


def _signed(gain: Interval) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _mcnemar(result: Result, baseline: Result) -> str:
    """Of the first seed of each, clip by clip."""

    def first(of: Result) -> dict[str, Prediction]:
        return {f"{r.dataset}/{r.clip}": r for r in of.rows if r.seed == of.seeds[0]}

    ours, theirs = first(result), first(baseline)
    clips = sorted(ours)
    *_, p = mcnemar(
        [ours[c].label for c in clips],
        [ours[c].predicted for c in clips],
        [theirs[c].predicted for c in clips],
    )
    return f"{p:.3f}"


def latex(rows: Sequence[Mapping[str, str]]) -> str:
    """Cells as a LaTeX table (booktabs)."""

    def escaped(text: str) -> str:
        for char in "%_&#":
            text = text.replace(char, f"\\{char}")
        return text

    head = list(rows[0])
    lines = [f"\\begin{{tabular}}{{{'l' * len(head)}}}", "\\toprule"]
    lines += [" & ".join(map(escaped, head)) + " \\\\", "\\midrule"]
    lines += [" & ".join(escaped(row[name]) for name in head) + " \\\\" for row in rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def comma_separated(rows: Sequence[Mapping[str, str]]) -> str:
    """Cells as CSV with a header."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_tables(
    folder: Path,
    results: Mapping[str, Result],
    few: Mapping[str, Result],
    baseline: str,
    published: Sequence[Published],
) -> str:
    """Write ``table.md``, ``.tex``, ``.csv``, ``leaderboard.md`` and a plot per entry.

    Returns:
        The Markdown table, with that of few subjects below where there is one.
    """
    if not results:
        raise UserError("no model was run, so there is no table; name some with --models")
    rows = table_rows(results, baseline)
    text = markdown(rows)
    if few:
        text += "\n" + markdown([_few_cells(r) for r in few.values()])
    write_text(folder / "table.md", text)
    write_text(folder / "table.tex", latex(rows))
    write_text(folder / "table.csv", comma_separated(rows))
    write_text(folder / "leaderboard.md", leaderboard(results, published))
    for result in results.values():
        first = result.runs[0].sum(0)[:, : len(CLASSES)]
        title = f"{result.name}: {result.entry.selection}"
        picture = confusion_plot(first, CLASSES, title)
        write_bytes(folder / f"confusion-{result.name}.png", picture)
    return text


def _few_cells(result: Result) -> dict[str, str]:
    values = result.fold_scores()
    return {
        "trained on few subjects": result.name,
        "draws": str(len(values)),
        "UF1": f"{np.mean(values):.3f}",
        "SD of draws": f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else "",
        "lowest": f"{min(values):.3f}",
        "highest": f"{max(values):.3f}",
    }


def leaderboard(results: Mapping[str, Result], published: Sequence[Published]) -> str:
    """Our measured numbers beside published ones, with how each was selected."""
    rows = []
    for result in results.values():
        clips = len({(r.dataset, r.clip) for r in result.rows})
        pooled = [m.sum(0) for m in result.runs]
        cells = (result.name, float(np.mean(result.scores())), _mean(uar, pooled))
        measured = f"measured here, {len(result.seeds)} seeds"
        rows.append((*cells, f"{clips} clips", result.entry.selection, measured))
    for number in published:
        shown = "" if number.uar is None else f"{number.uar:.3f}"
        rows.append((number.model, number.uf1, shown, number.data, number.selection, number.source))
    rows.sort(key=lambda row: -row[1])
    head = ("model", "UF1", "UAR", "data", "how epoch and settings were chosen", "source")
    table = markdown([dict(zip(head, (r[0], f"{r[1]:.3f}", *r[2:]), strict=True)) for r in rows])
    return (
        "# Leaderboard: MEGC2019 classes\n\nNumbers on different clips or chosen in different "
        "ways are not comparable; the two columns on the right say which are. A row marked "
        "ORACLE looked at the test subject to choose its epoch.\n\n" + table
    )
