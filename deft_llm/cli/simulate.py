"""``deft-llm simulate``: write simulated data to disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import show, stoppable
from deft_llm.cli.lines import counted

app = typer.Typer(no_args_is_help=True, help="Write simulated data.")


# typer turns an app with a single command into that command; a callback keeps it a group.
@app.callback()
def _group() -> None:
    """Write simulated data."""


@app.command()
def scans(
    out: Annotated[Path, typer.Argument(help="new folder")],
    layout: Annotated[
        str, typer.Option(help="bu3dfe, bosphorus, bu4dfe, bp4d or four_dme_4d")
    ] = "bu3dfe",
    subjects: Annotated[int, typer.Option(help="number of faces")] = 4,
    per_subject: Annotated[
        int | None,
        typer.Option(min=1, help="scans or sequences of a face; all of the layout's if left out"),
    ] = None,
    frames: Annotated[int, typer.Option(help="frames of a sequence")] = 12,
    heads: Annotated[str, typer.Option(help="head models, in turn: own,ict")] = "own",
    noise: Annotated[
        tuple[float, float], typer.Option(help="range of the scanner's noise, mm; 0 0 for none")
    ] = (0.05, 0.3),
    holes: Annotated[float, typer.Option(help="largest share of a face that is missing")] = 0.1,
    seed: Annotated[int, typer.Option(help="same seed, same bytes", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="processes; 0 takes all cores")] = 0,
) -> None:
    """Scan simulated faces in 3D or 4D, into the layout of a dataset."""
    from deft_llm.config import validate_settings
    from deft_llm.corpora.scan_layouts import ScanLayoutSettings, write_scan_corpus

    values = {
        **{"subjects": subjects, "scans": per_subject, "frames": frames, "noise": noise},
        **{"heads": tuple(heads.split(",")), "holes": holes, "seed": seed},
    }
    settings = validate_settings(ScanLayoutSettings, values, "simulate scans")
    with stoppable("nothing is kept; the same command begins anew"):
        count = write_scan_corpus(layout, out, settings, workers or os.cpu_count() or 1)
    show("scans", f"{count} in {out}")


@app.command()
def flow(
    out: Annotated[Path, typer.Argument(help="folder of the dataset, new or to be gone on with")],
    train: Annotated[int, typer.Option(help="pairs in the training split")] = 1000,
    val: Annotated[int, typer.Option(help="pairs in the validation split")] = 100,
    test: Annotated[int, typer.Option(help="pairs in the test split")] = 100,
    per_subject: Annotated[int, typer.Option(help="pairs of one face")] = 10,
    head: Annotated[str, typer.Option(help="head model: own or ict")] = "own",
    head_path: Annotated[Path | None, typer.Option(help="its file or folder (ict)")] = None,
    size: Annotated[int, typer.Option(help="side of the frames, pixels")] = 256,
    seed: Annotated[int, typer.Option(help="same seed, same bytes", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="processes; 0 takes all cores")] = 0,
) -> None:
    """Render pairs of faces with exact flow, masks and depth, in SRFlow's layout."""
    from deft_llm.config import validate_settings
    from deft_llm.simulator.flow.dataset import FlowSettings, write_dataset

    counts = {"train": train, "val": val, "test": test, "per_subject": per_subject}
    values = {**counts, "head": head, "size": size, "seed": seed}
    settings = validate_settings(FlowSettings, values, "simulate flow")
    with stoppable("the same command goes on with what is left"):
        manifest = write_dataset(out, settings, workers or os.cpu_count() or 1, head_path)
    show("manifest", manifest)


@app.command()
def eyes(
    out: Annotated[Path, typer.Argument(help="folder; each recording gets one of its own in it")],
    recordings: Annotated[int, typer.Option(help="how many, each of another eye")] = 1,
    seconds: Annotated[float, typer.Option(help="length of each")] = 10.0,
    activity: Annotated[
        str, typer.Option(help="random, saccade, reading, pursuit or blink; default: any")
    ] = "",
    hdf5: Annotated[bool, typer.Option("--hdf5", help="write .h5 as 3ET+ (needs h5py)")] = False,
    seed: Annotated[int, typer.Option(help="same seed, same events", min=0)] = 0,
) -> None:
    """Simulate an event camera before an eye, with labels, in the layout of 3ET+."""
    from deft_llm.errors import UserError, did_you_mean
    from deft_llm.gaze.layout import write_recording
    from deft_llm.simulator.events import EyeSpec, simulate_eye
    from deft_llm.simulator.eye_motion import ACTIVITIES

    if activity and activity not in ACTIVITIES:
        hint = did_you_mean(activity, ACTIVITIES)
        raise UserError(f"--activity {activity}: expected one of {', '.join(ACTIVITIES)}{hint}")
    if recordings < 1 or not 0.1 <= seconds <= 600:
        raise UserError(
            f"--recordings {recordings} --seconds {seconds:g}: expected one at least, of 0.1 to "
            "600 s"
        )
    done = 0
    with stoppable(lambda: f"{done} of {counted(recordings, 'recording')} written, and kept"):
        for number in range(seed, seed + recordings):
            # Motion and face by one number: recordings of consecutive seeds are of different eyes.
            made = simulate_eye(EyeSpec(number, number, seconds, activity))
            folder = out / f"{made.activity}_{number}"
            # A recording is never replaced: others may be trained on it already.
            if folder.exists():
                raise UserError(f"{folder}: exists already; give a new folder, or another --seed")
            path = write_recording(folder, made, hdf5)
            done += 1
            show(
                "recording",
                f"{path}: {len(made.events):,} events, {counted(len(made.saccades), 'saccade')}, "
                f"{counted(len(made.blinks), 'blink')}",
            )
