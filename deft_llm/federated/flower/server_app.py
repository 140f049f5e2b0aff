"""The server's app in a process of Flower: the rounds of one rule."""

from __future__ import annotations

import json
import logging

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from deft_llm.errors import UserError
from deft_llm.federated.flower.job import current
from deft_llm.federated.flower.parts import rounds
from deft_llm.files import write_text

FAILED = "failed.json"
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that are left; a problem is written for the command that waits for them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    job = current()
    folder = job.kept
    try:
        recipe = job.read()
        rounds(grid, recipe, job.rule, folder, len(recipe.sites))
    except UserError as error:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FAILED, json.dumps({"error": str(error)}) + "\n")
        raise
