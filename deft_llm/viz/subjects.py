"""Plot of a recognizer's hits on each subject: who it works on, and on how many clips it rests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deft_llm.viz.figure import BLUE, ORANGE, literal
from deft_llm.viz.plots import plot_bytes

_MOST_NAMES = 80  # more would lie upon each other
_WIDTHS = (4.0, 16.0)  # inches


def subject_plot(hits: Mapping[str, tuple[int, int]], title: str, form: str = "png") -> bytes:
    """Draw right and wrong clips of every subject, stacked.

    Args:
        hits: Subject -> number of clips named rightly, number of clips.
        title: Above the plot.
        form: One of ``plots.FORMS``.

    Returns:
        The file's content.
    """
    names = list(hits)
    right = np.array([hits[name][0] for name in names])
    clips = np.array([hits[name][1] for name in names])
    # So many inches for a bar, within what a page takes.
    width = float(np.clip(1.5 + 0.22 * len(names), *_WIDTHS))
    figure = Figure(figsize=(width, 3.2), dpi=110)
    axes = figure.add_subplot()
    at = np.arange(len(names))
    axes.bar(at, right, color=BLUE, label="right")
    axes.bar(at, clips - right, bottom=right, color=ORANGE, label="wrong")
    few = [literal(name) for name in names] if len(names) <= _MOST_NAMES else []
    axes.set_xticks(at[: len(few)], few, rotation=90, fontsize=8)
    axes.set_xlabel("subject")
    axes.set_ylabel("clips")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the bars, which may fill the plot.
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_title(literal(title), fontsize=10)
    figure.tight_layout()
    return plot_bytes(figure, form)
