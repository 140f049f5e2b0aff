"""The work of ``deft-llm gaze``: track or read predictions, refine, state, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.cli.console import Progress, show
from deft_llm.cli.lines import counted
from deft_llm.errors import UserError
from deft_llm.files import text_of

if TYPE_CHECKING:
    from deft_llm.gaze.refine import Refined, RefineSettings
    from deft_llm.gaze.tables import Labels
    from deft_llm.media.events import EventSource


@dataclass(frozen=True)
class Before:
    """What there is before the refinement.

    Attributes:
        xy: (T, 2) cells of the grid.
        times: (T,) µs.
        closed: (T,) whether the eye is closed; None if the tracker does not say.
        stopped: Whether the tracker was stopped before the recording ended.
    """

    xy: NDArray[np.float64]
    times: NDArray[np.int64]
    closed: NDArray[np.bool_] | None
    stopped: bool = False


_LOOKED_AT = 5_000_000  # µs
_SMALL = 0.6  # of the sensor's sides; noise alone reaches every part of it in seconds


def say_smaller_sensor(source: EventSource, sensor: tuple[int, int]) -> None:
    """Say so if the events look like those of a smaller sensor: places would be wrong unnoticed."""
    first = source.span[0]
    begin = source.between(first, first + _LOOKED_AT)
    if not len(begin.t):
        return
    reached = int(begin.x.max()) + 1, int(begin.y.max()) + 1
    if all(most < _SMALL * side for most, side in zip(reached, sensor, strict=True)):
        show(
            "note",
            f"events reach {reached[0]} x {reached[1]} of {sensor[0]} x {sensor[1]} px; if the "
            "sensor is smaller, give its size (--sensor)",
        )


def tracked_or_read(
    source: EventSource,
    predictions: Path | None,
    settings: RefineSettings,
    tracker: Path | None,
    rate: float,
) -> Before:
    """Predictions of a file, or else of the own tracker; Ctrl-C keeps what it has found by then.

    Args:
        source: The recording.
        predictions: The file; None tracks.
        settings: Grid and sensor.
        tracker: Folder of the tracker; None is the embedded one.
        rate: Predictions a second, of a file without times.

    Raises:
        UserError: If the file or the folder is wrong, or the tracker's grid is another.
    """
    if predictions is not None:
        return _read(predictions, rate, source.span[0])
    return _tracked(source, tracker, settings)


def _read(predictions: Path, rate: float, start: int) -> Before:
    """Predictions of a file; those without times are ``rate`` a second from ``start`` on, µs."""
    from deft_llm.gaze.tables import read_predictions

    read = read_predictions(predictions)
    times = read.times
    if times is None:
        if not 0 < rate < float("inf"):
            raise UserError(f"--rate {rate:g}: expected predictions a second, above 0")
        # As in 3ET+: row k is what is seen at the end of period k.
        period = 1e6 / rate
        times = (start + period * np.arange(1, len(read.xy) + 1)).astype(np.int64)
    show("tracker", f"{predictions}, {_predictions(len(read.xy))}")
    return Before(read.xy, times, None)


def _tracked(source: EventSource, tracker: Path | None, settings: RefineSettings) -> Before:
    """Predictions of the own tracker, up to the end or Ctrl-C."""
    from deft_llm.cli.light_start import use_one_thread

    use_one_thread()
    from deft_llm.gaze.tracker import Tracked, Tracker, joined

    own = Tracker(tracker, settings.sensor)
    if own.network.config.grid != settings.grid:
        columns, rows = own.network.config.grid
        raise UserError(f"--grid: the tracker states places on a grid of {columns}x{rows}")
    parts: list[Tracked] = []
    stopped = False
    first, last = source.span
    try:
        with Progress(max(1, (last - first) // 1_000_000)) as progress:
            for part in own.follow(source):
                parts.append(part)
                progress.at(int(part.times[-1] - first) // 1_000_000, "tracking, s")
    except KeyboardInterrupt:
        # There is nothing to keep; the caller says so.
        if not parts:
            raise
        # The rest is done with what was tracked until now.
        stopped = True
    found = joined(parts)
    show("tracker", f"{tracker or 'embedded'}, {_predictions(len(found.xy))}")
    return Before(found.xy, found.times, found.closed > 0.5, stopped)


def _predictions(count: int) -> str:
    return f"{count:,} prediction{'' if count == 1 else 's'}"


def write_results(
    out: Path,
    source: EventSource,
    before: Before,
    settings: RefineSettings,
    refined: bool,
) -> tuple[Refined, Callable[[], bytes]]:
    """Refine, say what was found, and write the table.

    Args:
        out: The table.
        source: The recording.
        before: Predictions.
        settings: How to refine.
        refined: Whether to; without it the places stay, and blinks and saccades are marked.

    Returns:
        What was refined, and what draws the plot.
    """
    from deft_llm.gaze.refine import refine
    from deft_llm.gaze.saccades import find_saccades
    from deft_llm.gaze.tables import write_table

    result = refine(source, before.xy, before.times, settings, before.closed)
    # Refined places find the saccades in either case: the tracker trembles as fast as an eye moves.
    after = result.xy if refined else before.xy
    saccades = find_saccades(result.xy, result.times, result.blink)
    _say(result, saccades, refined, before.xy, after)
    moving = np.zeros(len(after), np.int64)
    for first, last in saccades:
        # Both ends belong to the saccade.
        moving[first : last + 1] = 1
    columns = {"t": result.times, "seconds": (result.times - source.span[0]) / 1e6}
    # The places to use have the plain names, with refinement or without.
    columns |= {"x": after[:, 0], "y": after[:, 1]}
    if refined:
        columns |= {"raw_x": before.xy[:, 0], "raw_y": before.xy[:, 1]}
    columns |= {"blink": result.blink.astype(np.int64), "saccade": moving}
    write_table(out, {name: column.tolist() for name, column in columns.items()})
    show("table", out)
    start = source.span[0]
    name = text_of(out.stem)
    return result, partial(_drawn, result, saccades, before.xy, after, start, name, refined)


def write_plot(path: Path, draw: Callable[[], bytes]) -> None:
    """Draw the plot and write it."""
    from deft_llm.files import write_bytes

    write_bytes(path, draw())
    show("plot", path)


def _say(
    result: Refined,
    saccades: NDArray[np.int64],
    refined: bool,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> None:
    seconds = (result.times[-1] - result.times[0]) / 1e6
    blinks = counted(len(result.blinks), "blink")
    show("found", f"{blinks}, {counted(len(saccades), 'saccade')} in {seconds:.2f} s")
    if refined:
        # Infinite: a sample waits for the end of the recording.
        late = "offline" if np.isinf(result.latency) else f"{1000 * result.latency:.0f} ms late"
        show("refined", f"{late}; jitter {_tremor(before):.3f} before, {_tremor(after):.3f} after")


def _tremor(xy: NDArray[np.float64]) -> float:
    """Median length of the second difference, cells: what a still eye's trace trembles."""
    # Of a fixation or a steady pursuit nothing is left of it but noise.
    bend = np.hypot(*np.diff(xy, 2, axis=0).T)
    return float(np.nanmedian(bend)) if np.isfinite(bend).any() else float("nan")


def say_errors(
    truth: Labels,
    result: Refined,
    source: EventSource,
    settings: RefineSettings,
    refined: bool,
) -> None:
    """Say the errors against labels, which are 100 a second from the first event on.

    Args:
        truth: The labels, px of the sensor.
        result: From :func:`write_results`.
        source: The recording.
        settings: Those of the refinement.
        refined: Whether the table has what the refinement made of the predictions.

    Raises:
        UserError: If no prediction is at the time of a label.
    """
    from deft_llm.metrics.gaze import gaze_errors, stable_jitter

    # Label k is what is seen at the end of period k, counted from 0; a period is 10,000 µs.
    place = np.round((result.times - source.span[0]) / 10_000).astype(np.int64) - 1
    known = (place >= 0) & (place < len(truth.pupil))
    if not known.any():
        raise UserError(f"{len(truth.pupil)} labels, none at the times of the predictions")
    pupil, closed = truth.pupil[place[known]] / settings.cell, truth.closed[place[known]]
    traces = {"before": result.raw, "after": result.xy} if refined else {"errors": result.raw}
    for name, trace in traces.items():
        xy = trace[known]
        # A sample without a prediction has no place, and so no error of it.
        seen = np.isfinite(xy).all(axis=1)
        every = gaze_errors(xy[seen], pupil[seen])
        open_eyes = gaze_errors(xy[seen], pupil[seen], closed[seen])
        shares = " · ".join(f"{k} {every[k]:.4f}" for k in ("p1", "p3", "p5", "p10"))
        # It takes second differences, which need three samples.
        smooth = stable_jitter(xy[seen], pupil[seen]) if seen.sum() > 2 else float("nan")
        show(
            name,
            f"l2 {every['l2']:.3f} (open eyes {open_eyes['l2']:.3f}) · l1 {every['l1']:.3f} · "
            f"{shares} · stable jitter {smooth:.3f}",
        )


def _drawn(
    result: Refined,
    saccades: NDArray[np.int64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    start: int,
    name: str,
    refined: bool,
) -> bytes:
    from deft_llm.viz.gaze_plot import GazeTrace, gaze_plot

    # From µs of the recording to seconds from its start.
    times = (result.times - start) / 1e6
    spans = times[saccades] if len(saccades) else np.zeros((0, 2))
    raw = before if refined else None
    trace = GazeTrace(times, raw, after, (result.blinks - start) / 1e6, spans)
    found = f"{counted(len(result.blinks), 'blink')}, {counted(len(saccades), 'saccade')}"
    if refined:
        found += f", jitter {_tremor(before):.2f} before, {_tremor(after):.2f} after"
    return gaze_plot(trace, name, found)
