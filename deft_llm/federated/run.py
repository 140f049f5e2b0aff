"""Run a recipe of a federation: every rule on the same sites and splits."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deft_llm.claims import begin_again, claim, locked
from deft_llm.config import apply_overrides, read_recipe, read_yaml
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.sources import sizes_for
from deft_llm.errors import UserError
from deft_llm.federated.checkpoint import begun
from deft_llm.federated.client import save
from deft_llm.federated.engine import RuleRun, run_rule
from deft_llm.federated.flower import needed
from deft_llm.federated.learners import inputs_of, network_of
from deft_llm.federated.rules import RULES
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.simulated_sites import simulated_site
from deft_llm.federated.sites import Site, make_site, require_apart, require_same_shapes
from deft_llm.files import write_text
from deft_llm.machine import use_all_cores
from deft_llm.training.run_folder import FINAL

logger = logging.getLogger(__name__)
# What may change between two calls: it changes nothing of a rule that is trained.
FREE = {"output", "rules", "engine", "round_seconds", "at_least"}


def recipe_of(path: Path, overrides: Sequence[str] = ()) -> FederatedRecipe:
    """The recipe in a file.

    Raises:
        UserError: If it is wrong.
    """
    values = apply_overrides(read_yaml(path), overrides)
    if (task := values.pop("task", "federated")) != "federated":
        raise UserError(f"{path}: task {task!r}; expected a recipe with task: federated")
    return read_recipe(FederatedRecipe, values, str(path))


def federate(recipe: FederatedRecipe, sites: Sequence[Site] | None = None) -> list[RuleRun]:
    """Run every rule of a recipe; a stopped run goes on after its last finished round.

    Args:
        recipe: The federation.
        sites: Its sites; None opens those of the recipe.

    Raises:
        UserError: If sites share a subject or do not fit each other, the folder belongs to another
            recipe, or Flower is needed and not installed.
    """
    inputs_of(recipe)  # a wrong recognizer is told before any clip is rendered
    if recipe.secure and recipe.engine == "process":
        raise UserError(
            "secure: one process sees all weights anyway; set engine=simulation, or run a server "
            "and clients"
        )
    if any(_by_flower(recipe, rule) for rule in recipe.rules):
        needed("ray")  # here, not in its turn: the rules before it may train for hours
    with locked(recipe.output):
        note, remedy = recipe.output / "recipe.json", "set output=… to a new folder"
        # As in other trainings: a run that failed before its first round has nothing to lose.
        if not begun(recipe.output):
            begin_again(note, recipe, FREE)
        claim(note, recipe, FREE, "holds a federation of another recipe", remedy)
        sites = open_sites(recipe) if sites is None else sites
        for site in sites:
            logger.info("%s", described(site))
        return [_finished(recipe, rule, sites) for rule in recipe.rules]


def _finished(recipe: FederatedRecipe, rule: str, sites: Sequence[Site]) -> RuleRun:
    use_all_cores()
    folder = recipe.output / rule
    if _by_flower(recipe, rule):
        from deft_llm.federated.flower.simulation import simulate

        return simulate(recipe, rule, sites, folder)
    done = run_rule(recipe, rule, sites, folder)
    for client in done.clients:
        save(client, folder / FINAL / client.site.name)
    write_text(folder / "scores.json", json.dumps(_scores(done), indent=1) + "\n")
    return done


def _by_flower(recipe: FederatedRecipe, rule: str) -> bool:
    """Whether Flower runs the rounds; a rule that sends nothing needs no engine."""
    return recipe.engine == "simulation" and RULES[rule].sends


def _scores(done: RuleRun) -> list[dict[str, Any]]:
    return [{**asdict(s), "counts": s.counts.tolist()} for s in done.scores]


def open_sites(recipe: FederatedRecipe) -> list[Site]:
    """The sites of a recipe, split and checked against each other.

    Raises:
        UserError: If one cannot be read, is empty, or does not fit the others.
    """
    inputs = inputs_of(recipe)
    sites = [
        make_site(name, clips, recipe.scheme, recipe.test_share, recipe.split_seed)
        for name, clips in _datasets(recipe, inputs).items()
    ]
    require_apart(sites)
    side = None if recipe.recognizer == "deft_lora" else network_of(recipe).side
    require_same_shapes({site.name: _shapes(site, inputs, side) for site in sites})
    return sites


def _datasets(recipe: FederatedRecipe, inputs: Sequence[str]) -> dict[str, ClipDataset]:
    if (simulated := recipe.simulated) is not None:
        names, sizes = enumerate(simulated.names), sizes_for(inputs)
        return {name: simulated_site(simulated, k, recipe.cache, sizes) for k, name in names}
    return {name: source.open(inputs, recipe.cache) for name, source in recipe.sites.items()}


def _shapes(site: Site, inputs: Sequence[str], side: int | None) -> dict[str, tuple[int, ...]]:
    try:
        one = site.train.clips.subset([0]).inputs(inputs, side)  # one clip has the shapes of all
    except UserError as error:
        raise UserError(f"site {site.name}: {error}") from error
    return {name: x.shape[1:] for name, x in one.items()}


def described(site: Site) -> str:
    """A site in a line: clips by class, subjects."""
    parts = []
    for what, clips in (("train", site.train), ("test", site.test)):
        counts = [int((clips.labels == i).sum()) for i in range(len(site.classes))]
        told = ", ".join(f"{n} {name}" for name, n in zip(site.classes, counts, strict=True))
        parts.append(f"{what} {told} of {len(set(clips.clips.people.tolist()))} subjects")
    return f"site {site.name}: {'; '.join(parts)}"
