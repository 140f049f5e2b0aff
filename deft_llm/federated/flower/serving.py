"""The rounds of one rule on any of Flower's grids: in memory, in Ray, or over TLS."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid

from deft_llm import facs
from deft_llm.errors import UserError
from deft_llm.federated.client import SiteScores
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.flower.strategy import CheckedFedAvg
from deft_llm.federated.learners import first_weights
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.files import read_lines, write_text

logger = logging.getLogger(__name__)
SCORES = "scores.json"
_LOOK_S = 1.0


def serve(grid: Grid, recipe: FederatedRecipe, rule: str, folder: Path, sites: int) -> RuleRun:
    """Run the rounds that are left of a rule with the nodes of a grid.

    Args:
        grid: Flower's grid.
        recipe: The federation.
        rule: Name of the rule.
        folder: Where its rounds are kept.
        sites: Number of nodes to wait for before the first round.

    Raises:
        UserError: If too few nodes come, or too few send weights that can be averaged.
    """
    classes = facs.SCHEMES[recipe.scheme]
    first = first_weights(recipe, rule)
    strategy = CheckedFedAvg(recipe, rule, folder, sites, first, classes)
    left = recipe.rounds - strategy.progress.done
    if left <= 0:
        return finished(rule, folder)
    # For all sites once; the rounds themselves go on with those that answer.
    wait_for(grid, sites, recipe.round_seconds)
    strategy.start(grid, strategy.arrays(), num_rounds=left, timeout=recipe.round_seconds)
    write_scores(folder, strategy.scores)
    return RuleRun(rule, tuple(strategy.scores), tuple(strategy.progress.log), ())


def wait_for(grid: Grid, sites: int, seconds: float) -> None:
    """Wait until so many nodes are there; Flower itself would wait for ever.

    Raises:
        UserError: If they are not there in time.
    """
    end = time.monotonic() + seconds
    while (there := len(list(grid.get_node_ids()))) < sites:
        if time.monotonic() > end:
            raise UserError(
                f"{there} of {sites} sites came within {seconds:g} s (round_seconds); start the "
                "others, or raise the limit"
            )
        time.sleep(_LOOK_S)


def write_scores(folder: Path, scores: list[SiteScores]) -> None:
    """Keep the scores after the last round."""
    rows = [{**asdict(s), "counts": s.counts.tolist()} for s in scores]
    write_text(folder / SCORES, json.dumps(rows, indent=1) + "\n")


def finished(rule: str, folder: Path) -> RuleRun:
    """A rule whose rounds are done, from its folder.

    Raises:
        UserError: If its scores are not there.
    """
    if not (folder / SCORES).is_file():
        raise UserError(f"{folder}: its rounds are done, {SCORES} is missing; delete the folder")
    rows = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    scores = (
        SiteScores(row["site"], np.array(row["counts"], np.int64), row["membership_auc"])
        for row in rows
    )
    return RuleRun(rule, tuple(scores), tuple(read_lines(folder / "log.jsonl")), ())
