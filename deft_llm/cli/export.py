"""``deft-llm export``: package a trained model for distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import show


def export(
    run: Annotated[Path, typer.Argument(help="folder of a finished training run, task deft")],
    out: Annotated[Path, typer.Option("-o", "--out", help="new folder")],
    merge: Annotated[bool, typer.Option("--merge", help="put adapters into the weights")] = False,
    best: Annotated[
        bool, typer.Option("--best", help="the model of the lowest validation loss, not the last")
    ] = False,
    figures: Annotated[
        Path | None, typer.Option(help="what eval --json wrote, for the model card")
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(help="also upload it: me/my-model; private if it is new")
    ] = None,
) -> None:
    """Export a trained model for distribution: weights, processor and model card."""
    from deft_llm.deft.tuning.export import export as write

    show("model", write(run, out, merge, figures, best))
    if push_to_hub:
        from deft_llm.deft.tuning.hub import upload

        upload(out, push_to_hub)
        show("hub", push_to_hub)
