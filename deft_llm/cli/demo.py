"""``deft-llm demo``, also ``demo/app.py``: the demo page, served on this machine only."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import Checkpoint
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def demo(
    checkpoint: Checkpoint = Path(EMBEDDED),
    models: Annotated[
        Path | None, typer.Option(help="folder of models that may be chosen as well")
    ] = None,
    port: Annotated[int, typer.Option(help="port on this machine", min=1, max=65535)] = 7860,
) -> None:
    """Open a page in the browser: a clip, what moved in it, and questions about it."""
    # Looked for, not imported: an import takes seconds, and a fault in it is another message.
    if find_spec("gradio") is None:
        raise UserError("the demo needs gradio; get it with: pip install 'deft-llm[demo]'")
    # Before gradio is imported: it asks its own page for a sign of life, and a proxy would answer
    # for it. The page needs nothing from any other machine.
    for name in [name for name in os.environ if name.lower() in _PROXIES]:
        del os.environ[name]
    # Imports gradio, an optional dependency, so only after the check above.
    from deft_llm.service.app import run

    run(checkpoint, models, port)
    # It ends by Ctrl-C or SIGTERM alone: 128 + SIGINT, as of every command that Ctrl-C stops.
    raise typer.Exit(130)
