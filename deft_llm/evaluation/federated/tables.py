"""The table of a federation, rule by site, and the curves over its rounds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from deft_llm import facs
from deft_llm.config import read_recipe
from deft_llm.evaluation.tables import markdown, write_table
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.run import federate
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.files import write_bytes, write_text
from deft_llm.metrics.classification import uar, uf1
from deft_llm.viz.plots import FORMS
from deft_llm.viz.rounds import round_plot

logger = logging.getLogger(__name__)
_ALONE = "local"


def train(values: dict[str, Any], where: str) -> None:
    """Run a recipe of ``train_configs/federated``; ``training/tasks.py`` calls this.

    Raises:
        UserError: As ``federated.run.federate``.
    """
    recipe = read_recipe(FederatedRecipe, values, where)
    logger.info("%s", compared(recipe))


def compared(recipe: FederatedRecipe) -> str:
    """Run a recipe, write its tables beside it, and return the table as Markdown."""
    return write_tables(recipe, federate(recipe))


def write_tables(recipe: FederatedRecipe, runs: Sequence[RuleRun]) -> str:
    """Write ``table.md``, ``.csv``, ``.tex`` and the curves; returns the table as Markdown."""
    folder, rows = recipe.output, table_rows(runs)
    for form in ("csv", "tex"):
        write_table(folder / f"table.{form}", rows)
    text = markdown(rows) + class_note(runs, facs.SCHEMES[recipe.scheme])
    write_text(folder / "table.md", text)
    curves = {run.rule: [row["uf1"] for row in run.log] for run in runs}
    for form in FORMS:
        write_bytes(folder / f"rounds.{form}", round_plot(curves, "UF1 of all sites", form))
    write_text(folder / "privacy.md", privacy_note(runs))
    return text


def table_rows(runs: Sequence[RuleRun]) -> list[dict[str, object]]:
    """A row for each rule: scores of every site and of all, membership, bytes and time."""
    alone = next((run for run in runs if run.rule == _ALONE), None)
    return [_cells(run, alone) for run in runs]


def site_scores(run: RuleRun) -> dict[str, float]:
    """UF1 at each site."""
    return {score.site: uf1(score.counts) for score in run.scores}


def _cells(run: RuleRun, alone: RuleRun | None) -> dict[str, object]:
    sites = site_scores(run)
    base = site_scores(alone) if alone is not None else {}
    gain = {name: value - base[name] for name, value in sites.items()} if base else {}
    aucs = [score.membership_auc for score in run.scores]
    rounds = max(1, len(run.log))
    return {
        "rule": run.rule,
        "UF1, mean of sites": float(np.mean(list(sites.values()))),
        "UF1, all clips": uf1(run.pooled),
        "UAR, all clips": uar(run.pooled),
        **{f"UF1 {name}": value for name, value in sites.items()},
        "gain over local": float(np.mean(list(gain.values()))) if gain else "",
        "worst site's gain": min(gain.values()) if gain else "",
        "membership AUC": float(np.nanmean(aucs)) if not np.isnan(aucs).all() else "",
        # 0 is a run without privacy: its cell stays empty.
        "epsilon": max((float(row["epsilon"]) for row in run.log), default=0.0) or "",
        "MB a round": sum(row["bytes"] for row in run.log) / rounds / 1e6,
        "s a round": sum(row["seconds"] for row in run.log) / rounds,
    }


def class_note(runs: Sequence[RuleRun], classes: Sequence[str]) -> str:
    """Which sites have no test clip of which class, below the table; empty if all have all."""
    limits = []
    # Tested are the same clips under every rule, but a site may have been away under one.
    counts = {score.site: score.counts.sum(1) for run in runs for score in run.scores}
    for site, clips in counts.items():
        gone = [name for name, number in zip(classes, clips, strict=True) if not number]
        if gone:
            limits.append(f"{1 - len(gone) / len(classes):.3f} at {site} (no {', '.join(gone)})")
    if not limits:
        return ""
    return (
        "\nUF1 is the mean over all classes, and a class without test clips counts 0. At most it "
        f"is {'; '.join(limits)}.\n"
    )


def privacy_note(runs: Sequence[RuleRun]) -> str:
    """What left the sites, in words."""
    sites = len(runs[0].scores)
    lines = [
        "# What left the sites",
        "",
        "Trained weights, the number of training clips, the mean loss, names of classes, and after "
        "each round a confusion matrix and one membership AUC of the site's own clips. No clip, "
        "no features, no subject and no file name. Under differential privacy epsilon covers the "
        "weights alone: what is beside them leaves without noise.",
        "",
        "Weights tell something about the clips they were trained on. The membership AUC says how "
        "well an attacker who sees the loss of a clip can tell whether it was trained on: 0.5 is "
        "nothing, 1 is everything.",
    ]
    if sites == 2:
        lines += [
            "",
            "With two sites each can subtract its own weights from the mean and has the other's: "
            "no aggregation hides them.",
        ]
    return "\n".join(lines) + "\n"
