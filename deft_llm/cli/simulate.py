"""``deft-llm simulate``: write simulated data to disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import show

app = typer.Typer(no_args_is_help=True, help="Write simulated data.")


# typer turns an app with a single command into that command; a callback keeps it a group.
@app.callback()
def _group() -> None:
    """Write simulated data."""


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
    seed: Annotated[int, typer.Option(help="same seed, same bytes")] = 0,
    workers: Annotated[int, typer.Option(help="processes; 0 takes all cores")] = 0,
) -> None:
    """Render pairs of faces with exact flow, masks and depth, in SRFlow's layout."""
    from deft_llm.config import validate_settings
    from deft_llm.simulator.flow.dataset import FlowSettings, write_dataset

    counts = {"train": train, "val": val, "test": test, "per_subject": per_subject}
    values = {**counts, "head": head, "size": size, "seed": seed}
    settings = validate_settings(FlowSettings, values, "simulate flow")
    show("manifest", write_dataset(out, settings, workers or os.cpu_count() or 1, head_path))
