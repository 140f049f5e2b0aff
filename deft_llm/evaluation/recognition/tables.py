"""Tables and plots of a recognition benchmark, all computed from rows of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import UNREAD, Prediction
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.results import GAP, Result, gap
from deft_llm.evaluation.tables import latex, markdown, write_table
from deft_llm.files import write_bytes, write_text
from deft_llm.metrics.classification import accuracy, uar, weighted_f1
from deft_llm.metrics.subjects import (
    ConfidenceInterval,
    Score,
    bootstrap,
    lacking,
    mcnemar,
    paired_difference,
    subject_mean,
)
from deft_llm.viz.confusion import confusion_plot
from deft_llm.viz.plots import FORMS
from deft_llm.viz.subjects import subject_plot

# Columns of the table for a paper, and their headings there.
_PAPER = {
    "model": "Model",
    "UF1": "UF1",
    "95 % interval": "95 % CI",
    "UAR": "UAR",
    "gain over baseline": "Gain",
    "McNemar p": "p",
}


class PublishedScore(Settings):
    """A number from a paper, or one measured elsewhere.

    Attributes:
        model: Its name.
        uf1: As printed.
        uar: As printed.
        data: The clips it was measured on.
        selection: How epoch and settings were chosen, if known.
        source: Where it is published.
    """

    model: str
    uf1: float
    uar: float | None = None
    data: str
    selection: str
    source: str


def table_rows(
    results: Mapping[str, Result], baseline: str, unseen: Mapping[str, Result] | None = None
) -> list[dict[str, object]]:
    """One row per entry, best UF1 first.

    Args:
        results: Entry -> its rows.
        baseline: Entry that the others are compared with.
        unseen: Entry -> its rows on corpora of which it learned no clip, for the column ``GAP``.
    """
    ordered = sorted(results.values(), key=lambda r: -float(np.mean(r.scores())))
    rows = [_cells(r, results.get(baseline)) for r in ordered]
    if unseen:
        # An entry that could not be run across corpora has an empty cell.
        gaps = [gap(r, unseen[r.name]) if r.name in unseen else "" for r in ordered]
        rows = [{**row, GAP: value} for row, value in zip(rows, gaps, strict=True)]
    unread = [float(np.mean([row.predicted == UNREAD for row in r.rows])) for r in ordered]
    if any(unread):
        rows = [{**row, "unread answers": f"{u:.1%}"} for row, u in zip(rows, unread, strict=True)]
    return rows


def _cells(result: Result, baseline: Result | None) -> dict[str, object]:
    runs = result.runs
    # MEGC's scores are of counts pooled over all subjects, not means over subjects.
    pooled = [m.sum(0) for m in runs]
    # About subjects; "SD of seeds" is about seeds.
    interval = bootstrap(runs)
    values = result.scores()
    datasets = sorted({row.dataset for row in result.rows})
    gain, test = "", ""
    if baseline is not None and baseline.name != result.name:
        gain = _signed(paired_difference(runs, baseline.runs))
        test = _mcnemar(result, baseline)
    return {
        "model": result.name,
        "UF1": float(np.mean(values)),
        "95 % interval": f"{interval.low:.3f} to {interval.high:.3f}",
        "SD of seeds": _spread(values),
        "seeds": len(values),
        "UAR": _mean(uar, pooled),
        "accuracy": _mean(accuracy, pooled),
        "weighted F1": _mean(weighted_f1, pooled),
        **{f"UF1 {name}": float(np.mean(result.scores(name))) for name in datasets},
        "subject-mean accuracy": float(np.mean([subject_mean(m, accuracy) for m in runs])),
        "gain over baseline": gain,
        "McNemar p": test,
        "selection": result.entry.selection,
        "note": result.entry.remark,
    }


def _mean(score: Score, matrices: Sequence[NDArray[np.int64]]) -> float:
    return float(np.mean([score(m) for m in matrices]))


def _spread(values: Sequence[float]) -> float | str:
    """The standard deviation; empty for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else ""


def _signed(gain: ConfidenceInterval) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _mcnemar(result: Result, baseline: Result) -> str:
    """McNemar's p for the first seed of each, clip by clip."""

    def first(of: Result) -> dict[str, Prediction]:
        return {f"{r.dataset}/{r.clip}": r for r in of.rows if r.seed == of.seeds[0]}

    # Matched by clip: rows of two models need not be in the same order.
    ours, theirs = first(result), first(baseline)
    clips = sorted(ours)
    *_, p = mcnemar(
        [ours[c].label for c in clips],
        [ours[c].predicted for c in clips],
        [theirs[c].predicted for c in clips],
    )
    return f"{p:.3f}"


def paper_table(rows: Sequence[Mapping[str, object]]) -> str:
    """``table_rows`` as LaTeX that fits one column: the scores, and how each was selected below.

    Scores on each of several datasets follow in a table of their own.
    """
    selections = list(dict.fromkeys(str(row["selection"]) for row in rows))
    marks = [chr(97 + selections.index(str(row["selection"]))) for row in rows]
    # The gain's interval and the other scores are in table.md and table.csv.
    short = [
        {
            **row,
            "95 % interval": str(row["95 % interval"]).replace(" to ", "–"),
            "gain over baseline": str(row["gain over baseline"]).partition(" ")[0],
        }
        for row in rows
    ]
    text = latex(short, _PAPER, marks, selections)
    datasets = [name for name in rows[0] if name.startswith("UF1 ")]
    if len(datasets) > 1:
        heads = {"model": "UF1 by corpus"} | {name: name.removeprefix("UF1 ") for name in datasets}
        text += "\\smallskip\n" + latex(short, heads)
    return text


def write_tables(
    folder: Path,
    results: Mapping[str, Result],
    few: Mapping[str, Result],
    baseline: str,
    published: Sequence[PublishedScore],
    unseen: Mapping[str, Result] | None = None,
) -> str:
    """Write ``table.md``, ``.tex``, ``.csv``, ``leaderboard.md`` and two plots per entry.

    The plots, as PNG and PDF, are of its confusion matrix and of its score on each subject.

    Returns:
        The Markdown table, followed by the one for few subjects if there is one.
    """
    if not results:
        raise UserError("no model was run, so there is no table; name some with --models")
    rows = table_rows(results, baseline, unseen)
    text = markdown(rows) + _interval_note(results)
    if few:
        text += "\n" + markdown([_few_cells(r) for r in few.values()])
    write_text(folder / "table.md", text)
    write_table(folder / "table.csv", rows)
    write_text(folder / "table.tex", paper_table(rows))
    write_text(folder / "leaderboard.md", leaderboard(results, published))
    for result in results.values():
        _write_plots(folder, result)
    return text


def _interval_note(results: Mapping[str, Result]) -> str:
    """How many draws behind the intervals lack a class; empty if none does."""
    share = max(lacking(np.sum(result.runs, axis=0)) for result in results.values())
    if not share:
        return ""
    return (
        f"\n{share:.1%} of the draws behind the intervals have no clip of some class, which counts "
        "0 in their UF1: their lower ends are low also where all answers are right.\n"
    )


def _write_plots(folder: Path, result: Result) -> None:
    """Both plots, of the first seed as an example: clips are counted once."""
    title = f"{result.name}: {result.entry.selection}"
    if len(result.seeds) > 1:
        title += f", first of {len(result.seeds)} seeds"
    matrix = result.runs[0].sum(0)
    for form in FORMS:
        confusion = confusion_plot(matrix, result.classes, title, form)
        write_bytes(folder / f"confusion-{result.name}.{form}", confusion)
        subjects = subject_plot(result.subject_hits(), title, form)
        write_bytes(folder / f"subjects-{result.name}.{form}", subjects)


def _few_cells(result: Result) -> dict[str, object]:
    values = result.fold_scores()
    return {
        "trained on few subjects": result.name,
        "draws": len(values),
        "UF1": float(np.mean(values)),
        "SD of draws": _spread(values),
        "lowest": min(values),
        "highest": max(values),
    }


def leaderboard(results: Mapping[str, Result], published: Sequence[PublishedScore]) -> str:
    """Our measured numbers and published ones, with how each was selected."""
    selection = "how epoch and settings were chosen"
    rows: list[dict[str, object]] = []
    for result in results.values():
        clips = len({(r.dataset, r.clip) for r in result.rows})
        rows.append(
            {
                "model": result.name,
                "UF1": float(np.mean(result.scores())),
                "UAR": _mean(uar, [m.sum(0) for m in result.runs]),
                "data": f"{clips} clips",
                selection: result.entry.selection,
                "source": f"measured here, {len(result.seeds)} seed{'s' * (len(result.seeds) > 1)}",
            }
        )
    for number in published:
        rows.append(
            {
                "model": number.model,
                "UF1": number.uf1,
                "UAR": "" if number.uar is None else number.uar,
                "data": number.data,
                selection: number.selection,
                "source": number.source,
            }
        )
    rows.sort(key=lambda row: -float(str(row["UF1"])))
    table = markdown(rows)
    classes = next(iter(results.values())).classes
    return (
        f"# Leaderboard: {', '.join(classes)}\n\nNumbers on different clips or chosen in different "
        "ways are not comparable; the two columns on the right say which are. A row marked "
        "ORACLE looked at the test subject to choose its epoch.\n\n" + table
    )
