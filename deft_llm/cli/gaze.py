"""``deft-llm gaze``: the pupil in a recording of an event camera, refined; a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deft_llm.cli.console import check_output, refuse_input, show, stoppable, stopped
from deft_llm.cli.eyes import size_of
from deft_llm.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from deft_llm.gaze.refine import RefineSettings

_OF_REFINING = ("--causal", "--released", "--mode", "--direction")  # nothing without refinement


def gaze(
    events: Annotated[
        Path,
        typer.Argument(
            help="recording: .h5 (3ET+), .npz, .csv, .txt, or .aedat4, .raw, .dat, .es; or its "
            "folder"
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="table to write, .csv")] = Path(
        "gaze.csv"
    ),
    refine: Annotated[
        bool, typer.Option("--refine", help="refine what the tracker finds by the events")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(help="refine these instead: CSV with x, y and t (µs) or row_id"),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="label.txt of 3ET+, to state errors by")
    ] = None,
    causal: Annotated[
        bool, typer.Option("--causal", help="look 2 samples ahead at most, as online")
    ] = False,
    released: Annotated[
        bool, typer.Option("--released", help="refine as the published code does")
    ] = False,
    mode: Annotated[
        str | None,
        typer.Option(
            help="smooth by the paper's median, with this variance of the trace: raw, velocity, "
            "acceleration, covariance, frequency"
        ),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(
            help="smooth by the paper's median: paper smooths more where the eye moves, inverse "
            "less"
        ),
    ] = None,
    flow: Annotated[
        str, typer.Option(help="of the events: centroid, plane, telescoped, or none")
    ] = "centroid",
    grid: Annotated[str, typer.Option(help="grid of the predictions, columns x rows")] = "80x60",
    sensor: Annotated[str, typer.Option(help="size of the sensor, px")] = "640x480",
    rate: Annotated[
        float | None,
        typer.Option(help="predictions a second, where there are no times  [default: 100]"),
    ] = None,
    tracker: Annotated[
        Path | None, typer.Option(help="folder of a trained tracker; default: the embedded one")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot/--no-plot", help="draw trace, blinks, saccades, steps")
    ] = True,
) -> None:
    """Track the pupil in events, mark blinks and saccades; refine any tracker's predictions.

    The table has a row for each sample: time in µs and in s, place in cells of the grid before
    and after refinement, blink, saccade. A recording may be longer than the memory.

    Exit status: 0 done; 2 a wrong input; 130 stopped by Ctrl-C, which keeps what was tracked.
    """
    from deft_llm.cli.gaze_work import (
        say_errors,
        say_smaller_sensor,
        tracked_or_read,
        write_plot,
        write_results,
    )
    from deft_llm.gaze.checks import check_cells
    from deft_llm.gaze.readers import open_events
    from deft_llm.gaze.tables import read_labels

    # Beside the table, under its name: one option less.
    picture = out.with_suffix(".png") if plot else None
    _check_outputs(out, picture, [p for p in (events, predictions, labels) if p is not None])
    given = {
        **{"--refine": refine, "--causal": causal, "--released": released},
        **{"--mode": mode is not None, "--direction": direction is not None},
        **{"--predictions": predictions is not None, "--rate": rate is not None},
        **{"--tracker": tracker is not None},
    }
    _check_together({option for option, there in given.items() if there})
    refined = refine or predictions is not None
    settings = _settings(grid, sensor, mode, direction, flow, causal, released)
    if predictions is not None:
        check_cells(settings.sensor, settings.grid)  # the tracker has a grid of its own
    # Before the tracking, which a mistake in them would make in vain.
    truth = None if labels is None else read_labels(labels)
    source = open_events(events)
    # µs; a recording need not start at 0.
    first, last = source.span
    show("events", f"{len(source):,} in {(last - first) / 1e6:.2f} s")
    with stoppable(f"{out} is not written"):
        say_smaller_sensor(source, settings.sensor)
        before = tracked_or_read(
            source, predictions, settings, tracker, 100.0 if rate is None else rate
        )
        result, draw = write_results(out, source, before, settings, refined)
    with stoppable(f"{out} holds what was tracked" if before.stopped else f"{out} is written"):
        if truth is not None:
            say_errors(truth, result, source, settings, refined)
    if picture is not None:
        with stoppable(f"{out} is written, its plot is not"):
            write_plot(picture, draw)
    if before.stopped:
        raise stopped(f"{out} holds what was tracked")


def _check_outputs(out: Path, picture: Path | None, read: list[Path]) -> None:
    if out.suffix.lower() != ".csv":
        raise UserError(f"-o {out}: expected a name that ends in .csv")
    for file in (out, picture):
        check_output(file)
        refuse_input("-o", file, read)


def _check_together(given: set[str]) -> None:
    """Refuse options that contradict each other, or that would change nothing.

    Args:
        given: Names of the options that the user gave.

    Raises:
        UserError: If there are such.
    """
    if not given & {"--refine", "--predictions"}:
        for option in (name for name in _OF_REFINING if name in given):
            raise UserError(f"{option}: says how to refine; give --refine or --predictions as well")
    if "--rate" in given and "--predictions" not in given:
        raise UserError("--rate: of predictions without times; give --predictions as well")
    if "--released" in given and given & {"--mode", "--direction", "--causal"}:
        raise UserError("--released: refines as published; leave --mode, --direction, --causal out")
    if given >= {"--tracker", "--predictions"}:
        raise UserError("--tracker and --predictions: what predicts is one of them; give one")


def _settings(
    grid: str,
    sensor: str,
    mode: str | None,
    direction: str | None,
    flow: str,
    causal: bool,
    released: bool,
) -> RefineSettings:
    """The options in words of the library, which checks what they may be.

    Raises:
        UserError: If one is none of those that are known.
    """
    from deft_llm.config import validate_settings
    from deft_llm.gaze.local_flow import ESTIMATORS
    from deft_llm.gaze.median import DIRECTIONS, MODES
    from deft_llm.gaze.refine import RefineSettings

    return validate_settings(
        RefineSettings,
        {
            "grid": size_of(grid, "--grid"),
            "sensor": size_of(sensor, "--sensor"),
            "mode": _one_of(MODES, "--mode", mode or "covariance"),
            "direction": _one_of(DIRECTIONS, "--direction", direction or "inverse"),
            # Both are settings of the paper's median; "walk" has none of them.
            "filter": "median" if mode or direction else "walk",
            "estimator": None if _one_of((*ESTIMATORS, "none"), "--flow", flow) == "none" else flow,
            # At the 100 samples a second of 3ET+, 20 ms.
            "ahead": 2 if causal else None,
            "released": released,
        },
        "gaze",
    )


def _one_of(known: Sequence[str], option: str, word: str) -> str:
    if word not in known:
        raise UserError(
            f"{option} {word}: expected {', '.join(known[:-1])} or {known[-1]}"
            f"{did_you_mean(word, known)}"
        )
    return word
