"""What a site trains: a network of the registry, or adapters of DEFT-LLM, by one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deft_llm import facs
from deft_llm.data.au_graph import GRAPH_AUS
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.federated.exchange import names_of, taken
from deft_llm.federated.rules import RULES, Arrays
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.layers import grouped_norms
from deft_llm.recognizers.psyau_task import PsyAUTask
from deft_llm.recognizers.task import RecognizerTask
from deft_llm.registry import resolve

Inputs = dict[str, Tensor]


class Learner(Protocol):
    """A network with its training clips at one site.

    Attributes:
        model: What is trained; its trained parameters are what may be exchanged.
        batch_size: Clips of a step.
    """

    model: nn.Module
    batch_size: int

    def batch(self, index: int) -> Inputs:
        """Training batch number ``index``; the same at every call."""

    def training_step(self, batch: Inputs) -> Inputs:
        """Losses by name; "loss" is minimised."""

    def probabilities(self, clips: LabelledClips) -> NDArray[np.float32]:
        """Class probabilities (N, classes)."""


@runtime_checkable
class Chooses(Protocol):
    """A learner whose batches can be drawn clip by clip, as privacy needs."""

    def chosen(self, rows: Tensor, flipped: Tensor, index: int) -> Inputs:
        """The batch of some training clips (B,), some of them mirrored (B,)."""


MakeLearner = Callable[[FederatedRecipe, LabelledClips, int, int], Learner]
#: Name of a recognizer -> what makes its learner; all others are trained by their classes alone.
LEARNERS: dict[str, str] = {
    "psyau": "deft_llm.federated.learners:psyau_learner",
    "deft_lora": "deft_llm.federated.adapters:adapter_learner",
}
_MODELS: dict[str, str] = {"deft_lora": "deft_llm.federated.adapters:adapted_model"}
#: Inputs of those that are no networks of the registry.
_INPUTS: dict[str, tuple[str, ...]] = {"deft_lora": ("onset", "texture", "flow", "regions")}


def inputs_of(recipe: FederatedRecipe) -> tuple[str, ...]:
    """Inputs that the network reads.

    Raises:
        UserError: If the recognizer is unknown, or has no weights that could be exchanged.
    """
    if recipe.recognizer in _INPUTS:
        return _INPUTS[recipe.recognizer]
    return network_of(recipe).inputs


def network_of(recipe: FederatedRecipe) -> Recognizer:
    """A new network, with the same initial weights at every site.

    Raises:
        UserError: As for :func:`inputs_of`.
    """
    with torch.random.fork_rng(devices=[]):
        # One beginning for all: networks that began apart have a poor mean (McMahan et al., 2017).
        torch.manual_seed(recipe.seed)
        classes = len(facs.SCHEMES[recipe.scheme])
        made = load_recognizer(recipe.recognizer, classes, **recipe.options)
        if not isinstance(made, Recognizer):
            raise UserError(
                f"recognizer {recipe.recognizer!r} is no network: it has no weights to exchange; "
                "take a network, such as psyau, ststnet or fmanet"
            )
        return grouped_norms(made) if recipe.privacy else made  # batch norms mix clips


def first_weights(recipe: FederatedRecipe, rule: str) -> Arrays:
    """The exchanged weights before the first round, for a server that has no clips.

    Raises:
        UserError: As for :func:`inputs_of`.
    """
    if recipe.recognizer in _INPUTS:
        model: nn.Module = resolve(_MODELS, recipe.recognizer, "model")(recipe)
    else:
        model = network_of(recipe)
    return taken(model, names_of(model, RULES[rule]).sent)


def make_learner(recipe: FederatedRecipe, clips: LabelledClips, seed: int, batches: int) -> Learner:
    """A learner for some training clips.

    Args:
        recipe: The federation.
        clips: Training clips of the site.
        seed: Of clip order and mirroring.
        batches: Batches of the whole run.

    Raises:
        UserError: If the clips lack what the network reads.
    """
    if recipe.recognizer in LEARNERS:
        make: MakeLearner = resolve(LEARNERS, recipe.recognizer, "learner")
        return make(recipe, clips, seed, batches)
    size, saved = recipe.local.batch_size, description(recipe)
    return RecognizerTask(network_of(recipe), clips, size, seed, description=saved)


def description(recipe: FederatedRecipe) -> dict[str, Any]:
    """What is saved beside the weights, so that they can be opened (``recognizers/saved.py``)."""
    told: dict[str, Any] = {"recognizer": recipe.recognizer, "options": recipe.options}
    return told | ({"group_norms": True} if recipe.privacy else {})


def psyau_learner(
    recipe: FederatedRecipe, clips: LabelledClips, seed: int, batches: int
) -> Learner:
    """FED-PsyAU's network with its AUs and, except under privacy, the site's own prior."""
    task = PsyAUTask(
        network_of(recipe),
        clips,
        recipe.local.batch_size,
        seed,
        description=description(recipe),
        batches=batches,
        au_weight=recipe.local.au_weight,
    )
    if recipe.privacy:
        # A prior counted from the clips would get into the weights without any noise.
        task.psyau.take_prior(torch.full((1, len(GRAPH_AUS)), torch.nan))
    return task
