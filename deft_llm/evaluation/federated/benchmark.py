"""Benchmarks of federated training: rules compared over seeds, on the same splits."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from deft_llm.config import validate_settings
from deft_llm.data.flow_images import read_flow_images
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.federated.tables import site_scores, table_rows, write_tables
from deft_llm.evaluation.tables import markdown
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.rules import RULE_NAMES
from deft_llm.federated.run import federate
from deft_llm.federated.settings import FederatedRecipe, Privacy
from deft_llm.federated.sites import Site, make_site
from deft_llm.metrics.figures import Figure

_ALONE, _TOGETHER, _PRIVATE = "local", "central", "private"
Seeds = Sequence[Mapping[str, RuleRun]]


class FederatedBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: federated``.

    Figures of every rule, means over seeds: ``<rule>_uf1`` (mean of the sites), ``<rule>_gain``
    over training alone, ``<rule>_worst_site`` (the smallest gain of a site), ``<rule>_of_central``
    (a share) and ``<rule>_membership_auc``. With ``privacy`` the rule that it names is run once
    more: ``private_uf1``, ``private_loss`` (what privacy costs), ``private_membership_auc`` and
    ``private_epsilon``.

    Attributes:
        federation: Settings of the recipe, without its output.
        data: Folder of flow images, relative to the environment variable DEFT_DATA, whose corpora
            are the sites; None takes those of the federation.
        seeds: Runs of every rule.
        resplit: Hold out other subjects for each seed: for few clips.
        privacy: Differential privacy of a further run.
        private_rule: Its rule.
    """

    federation: dict[str, Any]
    data: Path | None = None
    seeds: int = Field(default=3, ge=1)
    resplit: bool = False
    privacy: Privacy | None = None
    private_rule: str = "p_fedprox"

    def figure_names(self) -> Collection[str]:
        """See the base."""
        kinds = ("uf1", "gain", "worst_site", "of_central", "membership_auc")
        named = [f"{rule}_{kind}" for rule in RULE_NAMES for kind in kinds]
        private = ("uf1", "loss", "membership_auc", "epsilon")
        return [*named, *(f"{_PRIVATE}_{kind}" for kind in private)]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        recipes = [self._recipe(seed) for seed in range(self.seeds)]
        seeds = [self._run(recipe) for recipe in recipes]
        tables = [_mean_table([list(runs.values()) for runs in seeds])]
        values = rule_values(seeds)
        if self.privacy is not None:
            changes = {"privacy": self.privacy, "rules": [self.private_rule]}
            private = [
                self._run(r.model_copy(update={**changes, "output": r.output / _PRIVATE}))
                for r in recipes
            ]
            values |= private_values(private, values, self.private_rule)
            tables.append(_mean_table([list(runs.values()) for runs in private]))
        return self.with_bars(values), "\n".join(tables)

    def _recipe(self, seed: int) -> FederatedRecipe:
        values = {**self.federation, "seed": seed, "output": self.output / f"seed{seed}"}
        if self.resplit:
            values["split_seed"] = seed
        if self.data is not None:
            # The sites are the corpora of one folder; the recipe has to name some.
            values["sites"] = {name: str(self.data) for name in ("first", "second")}
        return validate_settings(FederatedRecipe, values, "federation")

    def _run(self, recipe: FederatedRecipe) -> dict[str, RuleRun]:
        sites = None if self.data is None else corpora_as_sites(self.data, recipe)
        runs = federate(recipe, sites)
        write_tables(recipe, runs)
        return {run.rule: run for run in runs}


def corpora_as_sites(data: Path, recipe: FederatedRecipe) -> list[Site]:
    """The corpora of a folder of flow images, a site each.

    Raises:
        UserError: If the folder is missing, relative without DEFT_DATA, or of one corpus.
    """
    root = os.environ.get("DEFT_DATA")
    if not root and not data.is_absolute():
        raise UserError(f"data {data}: set DEFT_DATA to the folder that holds it")
    clips = read_flow_images(Path(root or ".") / data)
    names = sorted(set(clips.datasets.tolist()))
    if len(names) < 2:
        raise UserError(f"{data}: clips of {', '.join(names)} alone; a federation has two sites")
    return [
        make_site(
            name,
            clips.subset(np.flatnonzero(clips.datasets == name)),
            recipe.scheme,
            recipe.test_share,
            recipe.split_seed,
        )
        for name in names
    ]


def rule_values(seeds: Seeds) -> dict[str, float]:
    """Figures of the rules, from the runs of every seed."""
    values: dict[str, float] = {}
    sites = {rule: _by_site([runs[rule] for runs in seeds]) for rule in seeds[0]}
    for rule, scores in sites.items():
        own = float(np.mean(list(scores.values())))
        values[f"{rule}_uf1"] = own
        aucs = [score.membership_auc for runs in seeds for score in runs[rule].scores]
        values[f"{rule}_membership_auc"] = float(np.nanmean(aucs))
        if _ALONE in sites and rule != _ALONE:
            gains = [scores[name] - sites[_ALONE][name] for name in scores]
            values[f"{rule}_gain"] = float(np.mean(gains))
            values[f"{rule}_worst_site"] = min(gains)
        if _TOGETHER in sites and rule != _TOGETHER:
            most = float(np.mean(list(sites[_TOGETHER].values())))
            values[f"{rule}_of_central"] = own / most if most else float("nan")
    return values


def private_values(private: Seeds, values: Mapping[str, float], rule: str) -> dict[str, float]:
    """Figures of the run under differential privacy."""
    runs = [found[rule] for found in private]
    own = float(np.mean(list(_by_site(runs).values())))
    aucs = [score.membership_auc for run in runs for score in run.scores]
    spent = max(float(row["epsilon"]) for run in runs for row in run.log)
    return {
        f"{_PRIVATE}_uf1": own,
        f"{_PRIVATE}_loss": values.get(f"{rule}_uf1", float("nan")) - own,
        f"{_PRIVATE}_membership_auc": float(np.nanmean(aucs)),
        f"{_PRIVATE}_epsilon": spent,
    }


def _by_site(runs: Sequence[RuleRun]) -> dict[str, float]:
    """UF1 of each site, the mean over seeds."""
    scores = [site_scores(run) for run in runs]
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _mean_table(seeds: Sequence[Sequence[RuleRun]]) -> str:
    """The table of a federation, means over seeds; gains are of the means."""
    tables = [table_rows(runs) for runs in seeds]
    rows = []
    for same in zip(*tables, strict=True):
        row: dict[str, object] = {}
        for column in same[0]:
            cells = [cells[column] for cells in same]
            numbers = [cell for cell in cells if isinstance(cell, float)]
            row[column] = float(np.mean(numbers)) if len(numbers) == len(cells) else cells[0]
        rows.append(row)
    return markdown(rows)
