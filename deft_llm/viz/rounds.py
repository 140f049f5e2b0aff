"""Plot of a score over the rounds of a federation, a line for each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deft_llm.viz.figure import literal
from deft_llm.viz.plots import plot_bytes

# Wong's colour-blind-safe palette, and marks that tell the lines apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
_MARKS = ("o", "s", "^", "D", "v", "x")


def round_plot(curves: Mapping[str, Sequence[float]], score: str, form: str = "png") -> bytes:
    """Draw one line for each rule.

    Args:
        curves: Name -> score after each round.
        score: Name of the score, for the axis.
        form: One of ``plots.FORMS``.

    Returns:
        The file's content.
    """
    figure = Figure(figsize=(6.4, 3.6), dpi=110)
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(curves.items()):
        axes.plot(
            range(1, len(values) + 1),
            values,
            color=_COLOURS[i % len(_COLOURS)],
            marker=_MARKS[i % len(_MARKS)],
            markersize=4,
            label=literal(name),
        )
    axes.set_xlabel("round")
    axes.set_ylabel(literal(score))
    # There is no half a round.
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    return plot_bytes(figure, form)
