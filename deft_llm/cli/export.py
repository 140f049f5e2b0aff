"""``deft-llm export``: package a trained model for distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import show


def export(
    run: Annotated[Path, typer.Argument(help="folder of a finished training run")],
    out: Annotated[Path, typer.Option("-o", "--out", help="new folder; with --onnx a new file")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="write a recognizer as ONNX (extra export)")
    ] = False,
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
    """Export a trained model: of task deft weights, processor and card; a recognizer as ONNX."""
    if onnx:
        _onnx(run, out, merge or best or bool(figures) or bool(push_to_hub))
        return
    from deft_llm.deft.tuning.export import export as write

    show("model", write(run, out, merge, figures, best))
    if push_to_hub:
        from deft_llm.deft.tuning.hub import upload

        upload(out, push_to_hub)
        show("hub", push_to_hub)


def _onnx(run: Path, out: Path, others: bool) -> None:
    from deft_llm.errors import UserError
    from deft_llm.recognizers.onnx_export import export_onnx

    if others:
        raise UserError("--onnx: goes with -o alone; the other options are for task deft")
    # Before the export, which takes a minute for a large network.
    if out.exists():
        raise UserError(f"{out}: exists already; give a new file")
    difference = export_onnx(run, out)
    show("onnx", out)
    show("parity", f"logits within {difference:.1e} of the network's")
