"""Plot of a confusion matrix: counts, shaded by the share of each true class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deft_llm.viz.figure import literal
from deft_llm.viz.plots import plot_bytes


def confusion_plot(
    matrix: NDArray[np.integer], classes: Sequence[str], title: str, form: str = "png"
) -> bytes:
    """Draw counts (C, C + 1): rows are true classes, columns predicted ones.

    Args:
        matrix: The counts, as of ``metrics.classification.confusion_matrix``. The last column,
            answers that name no class, is drawn if there are any; shares are of all clips.
        classes: Their names.
        title: Above the plot.
        form: One of ``plots.FORMS``.

    Returns:
        The file's content.

    Raises:
        ValueError: If the matrix does not fit the classes.
    """
    count = len(classes)
    if matrix.shape != (count, count + 1):
        raise ValueError(f"matrix of shape {matrix.shape} for {count} classes")
    # A class without clips gets a row of zeros instead of NaN.
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    # Inches for the labels, and for each class a cell that two lines of text fit into.
    columns = count + int(matrix[:, count].any())
    figure = Figure(figsize=(1.6 + 1.05 * columns, 1.35 + 0.85 * count), dpi=110)
    axes = figure.add_subplot()
    axes.imshow(share[:, :columns], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(count):
        for column in range(columns):
            # White on the dark half of the colour map.
            ink = "white" if share[row, column] > 0.55 else "#1d2430"
            text = f"{matrix[row, column]}\n{100 * share[row, column]:.0f} %"
            axes.text(column, row, text, ha="center", va="center", color=ink)
    names = [literal(name) for name in classes]
    axes.set_xticks(range(columns), [*names, "no class"][:columns])
    axes.set_yticks(range(count), names, rotation=90, va="center")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(literal(title), fontsize=10)
    axes.spines[:].set_visible(False)
    # A cell is a place of its own; marks would point at its middle.
    axes.tick_params(length=0)
    figure.tight_layout()
    return plot_bytes(figure, form)
