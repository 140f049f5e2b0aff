"""The plots of a search and of a trace: their titles and legends say what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deft_llm.viz.gaze_plot import GazeTrace, gaze_plot
from deft_llm.viz.spotting_plot import Curve, spotting_plot


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []

    def keep(figure: Figure, *_: Any, **__: Any) -> None:
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def _title(figure: Figure) -> str:
    pen = FigureCanvasAgg(figure).get_renderer()
    bold = [text for text in figure.texts if text.get_fontweight() == "bold"]
    (title,), (legend,) = bold, figure.legends
    assert title.get_window_extent(pen).x1 <= legend.get_window_extent(pen).x0
    return title.get_text()


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_search(drawn: list[Figure]) -> None:
    name = "participant_017_$session_interview_camera_left_2024-05-03_take_final.mp4"
    times = np.arange(9.0)
    spotting_plot(Curve(times, np.full(9, 0.4), "score of a network", 0.5), [], name)
    spotting_plot(Curve(times, np.full(9, 0.4), "motion, px"), [], "a.mp4")
    cut = _title(drawn[0])
    first, last = cut.replace(r"\$", "$").split("…")
    assert name.startswith(first) and name.endswith(last) and len(cut) > 30
    assert _title(drawn[1]) == "a.mp4"
    assert _legend(drawn[0]) == [*_legend(drawn[1]), "threshold"]


@pytest.mark.parametrize("refined", [True, False])
def test_a_trace(drawn: list[Figure], refined: bool) -> None:
    """One that was not refined is not called so."""
    xy = np.random.default_rng(0).uniform(20, 40, (50, 2))
    nothing = np.zeros((0, 2))
    trace = GazeTrace(np.arange(50) / 100, xy if refined else None, xy, nothing, nothing)
    gaze_plot(trace, "a_recording_of_the_left_eye_of_subject_17", "1 blink, 101 saccades")
    title = _title(drawn[0])
    assert title.startswith("a_rec") and title.endswith("ct_17: 1 blink, 101 saccades")
    lines = ["before", "refined"] if refined else ["tracked"]
    assert _legend(drawn[0]) == [*lines, "blink", "saccade"]
    assert [len(axes.lines) for axes in drawn[0].axes] == [len(lines)] * 3
