"""``deft-llm serve``: answer OpenAI's chat API."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import Checkpoint, show
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED


def serve(
    checkpoint: Checkpoint = Path(EMBEDDED),
    host: Annotated[
        str, typer.Option(help="address to listen on; others than this machine need a key")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port; 0: any that is free")] = 8000,
    key: Annotated[
        str | None, typer.Option(envvar="DEFT_KEY", help="what clients must send as their API key")
    ] = None,
) -> None:
    """Serve a model by OpenAI's chat API: clips and questions in, answers with evidence out."""
    from deft_llm.service.address import bind, is_local, url_of

    # Looked for before anything slow is loaded; all three are of one extra.
    for module in ("fastapi", "uvicorn", "python_multipart"):
        if find_spec(module) is None:
            raise UserError(f"serving needs {module}; get it with: pip install 'deft-llm[serve]'")
    # Whoever reaches the port can fill disk and processor with clips.
    local = is_local(host)
    if not local and not key:
        raise UserError(f"host {host} is reached by others: give a --key that they must send")
    # Before the slow imports, so that a taken port is told at once.
    bound = bind(host, port)
    from transformers.utils import logging as transformers_logging

    from deft_llm.service.server import run

    transformers_logging.disable_progress_bar()

    def ready() -> None:
        show("serving", f"{url_of(bound)}/v1 · model deft-llm · Ctrl-C stops it")

    # The socket listens once the model is there, so no client waits for the loading.
    run(bound, checkpoint, key, local, ready)
    show("stopped", "all clips are deleted")
    # 128 + SIGINT, as every command that Ctrl-C stops.
    raise typer.Exit(130)
