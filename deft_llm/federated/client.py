"""A site's work in a round: take the mean, train on the own clips, give weights back.

The client keeps nothing between two rounds: what stays at the site is handed to it and back as
``memory``. So every engine gets the same weights, and a process that was started again goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.federated.checks import Update
from deft_llm.federated.exchange import Names, counters, names_of, put, restart_dropout, taken
from deft_llm.federated.learners import Learner, make_learner
from deft_llm.federated.membership import losses, membership_auc
from deft_llm.federated.private import PrivateSteps
from deft_llm.federated.rules import RULES, Arrays, personalised
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site
from deft_llm.files import replacing_folder
from deft_llm.metrics.classification import confusion_matrix, likeliest
from deft_llm.recognizers.psyau import PsyAU
from deft_llm.recognizers.task import RecognizerTask

_KEPT, _OWN = "kept/", "own/"  # prefixes of a memory's names


@dataclass(frozen=True)
class Order:
    """What the server sends to all sites, the same to each.

    Attributes:
        number: Number of the round, from 1.
        state: The mean.
        clips: N, training clips of all sites in the mean; 0 before the first round.
        included: The sites in the mean.
    """

    number: int
    state: Arrays
    clips: int = 0
    included: tuple[str, ...] = ()


@dataclass(frozen=True)
class SiteScores:
    """How the weights of a round do at one site.

    Attributes:
        site: Its name.
        counts: Confusion matrix (classes, classes + 1) of its test clips.
        membership_auc: Of an attacker who knows the loss of clips (``membership.py``).
    """

    site: str
    counts: NDArray[np.int64]
    membership_auc: float


@dataclass
class Client:
    """One site under one rule.

    Attributes:
        recipe: The federation.
        rule: Name of the rule.
        site: The site's clips.
        number: Number of the site, counted from 0; part of its seeds.
        secret: What draws the noise of privacy besides (``private.secret_of``); None where one
            process has all sites, from which nothing is hidden.
    """

    recipe: FederatedRecipe
    rule: str
    site: Site
    number: int
    secret: int | None = None
    learner: Learner = field(init=False)
    names: Names = field(init=False)

    def __post_init__(self) -> None:
        local, clips = self.recipe.local, len(self.site.train)
        # Full batches alone, as `batch` draws them.
        self.batches = local.epochs * max(1, clips // min(local.batch_size, clips))
        seed = 1_000 * self.recipe.seed + self.number  # apart for up to 1,000 sites
        whole = self.batches * self.recipe.rounds  # of the run, over which rates and priors fall
        self.learner = make_learner(self.recipe, self.site.train, seed, whole)
        self.names = names_of(self.learner.model, RULES[self.rule])
        self.start = taken(self.learner.model, (*self.names.sent, *self.names.kept))
        self.counters = counters(self.learner.model)
        self.private = PrivateSteps.of(self.recipe, self.learner, clips, whole)

    def initial(self) -> Arrays:
        """The weights that the first round begins with, equal at all sites."""
        return {name: self.start[name] for name in self.names.sent}

    def train(self, order: Order, memory: Mapping[str, NDArray[Any]]) -> tuple[Update, Arrays]:
        """One round of training.

        Args:
            order: From the server.
            memory: What :meth:`train` returned in the last round that the site took part in;
                empty before the first.

        Returns:
            What is sent, and what stays at the site.

        Raises:
            UserError: If the server sent other weights than are exchanged here.
        """
        self.begin(order, memory)
        loss = self._steps(order)
        state = taken(self.learner.model, self.names.sent)
        kept = taken(self.learner.model, self.names.kept)
        # What diverged is sent, and refused there; the site itself goes on from the round before.
        if all(np.isfinite(x).all() for x in (*state.values(), *kept.values())):
            own = state if RULES[self.rule].personal else {}
            memory = {f"{_KEPT}{name}": x for name, x in kept.items()}
            memory |= {f"{_OWN}{name}": x for name, x in own.items()}
        spent = self.private.spent(order.number * self.batches) if self.private else 0.0
        site = self.site
        update = Update(site.name, state, len(site.train), loss, site.classes, spent)
        return update, dict(memory)

    def evaluate(self, order: Order, memory: Mapping[str, NDArray[Any]]) -> SiteScores:
        """Score what the next round would begin with, on the site's test clips."""
        self.begin(order, memory)
        return self.scores(self.site)

    def scores(self, site: Site) -> SiteScores:
        """Score the network as it is at a site."""
        found = self.learner.probabilities(site.test)
        names = site.classes
        counts = confusion_matrix(
            [names[i] for i in site.test.labels], likeliest(found, names), names
        )
        # Without dropout and mirroring, as an attacker would ask the network.
        trained = losses(self.learner.probabilities(site.train), site.train.labels)
        auc = membership_auc(trained, losses(found, site.test.labels))
        return SiteScores(site.name, counts, auc)

    def begin(self, order: Order, memory: Mapping[str, NDArray[Any]]) -> None:
        """Set the weights that a round begins with.

        Raises:
            UserError: If the server sent other weights than are exchanged here.
        """
        if set(order.state) != set(self.names.sent):
            raise UserError(
                f"site {self.site.name}: the server sent {len(order.state)} weights, rule "
                f"{self.rule} of {self.recipe.recognizer} exchanges {len(self.names.sent)}, or by "
                "other names; give the server and all clients one recipe and one rule"
            )
        if isinstance(self.learner.model, PsyAU):
            # As far as the training is, also where it is only scored.
            self.learner.model.progress((order.number - 1) / self.recipe.rounds)
        # The beginning first, so that nothing of an earlier round is left in the network; then
        # what the site kept; then the mean. Counters too: they are saved with the network, and a
        # process that goes on after a stop has not counted the rounds before.
        put(self.learner.model, {**self.start, **self.counters})
        put(self.learner.model, _part(memory, _KEPT))
        state, own = order.state, _part(memory, _OWN)
        if own:
            # Its own share of the mean can be taken out only if it is in it.
            counted = len(self.site.train) if self.site.name in order.included else 0
            state = personalised(own, state, counted, order.clips, self.recipe.own_share)
        put(self.learner.model, state)

    def _steps(self, order: Order) -> float:
        """Train for a round; returns the mean loss."""
        model, local = self.learner.model, self.recipe.local
        model.train()
        # By site and round, so that a federation that goes on after a stop draws the same.
        seeds = [self.recipe.seed, self.number, order.number]
        rng = np.random.default_rng(seeds)
        noise = rng if self.secret is None else np.random.default_rng([*seeds, self.secret])
        restart_dropout(model, rng)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, weight_decay=local.weight_decay)
        # FedProx pulls to the weights as received; the public code to a server that never changes.
        anchors = [p.detach().clone() for p in trained]
        pull = self.recipe.mu if RULES[self.rule].pulled else 0.0
        first = (order.number - 1) * self.batches
        whole, total = self.recipe.rounds * self.batches, 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(1 << 40)))
            for step in range(first, first + self.batches):
                local.set_rate(optimizer, step, whole)
                optimizer.zero_grad()
                if self.private:
                    total += self.private.gradients(self.learner, trained, optimizer, step, noise)
                else:
                    loss = self.learner.training_step(self.learner.batch(step))["loss"]
                    loss.backward()
                    total += float(loss.detach())
                # After the noise: the pull reads no clips, so it costs no privacy.
                if pull:
                    _pull(trained, anchors, pull)
                # DP-SGD has cut the gradient of every clip already.
                if local.clip and not self.private:
                    torch.nn.utils.clip_grad_norm_(trained, local.clip)
                optimizer.step()
        return total / self.batches


def _part(memory: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    return {n.removeprefix(prefix): x for n, x in memory.items() if n.startswith(prefix)}


@torch.no_grad()
def _pull(
    parameters: list[torch.nn.Parameter], anchors: list[torch.Tensor], strength: float
) -> None:
    """Add the gradient of ``strength / 2 |w - anchor|²``."""
    for parameter, anchor in zip(parameters, anchors, strict=True):
        if parameter.grad is not None:
            # Of the squared norm, as FedProx has it; the public code takes the norm itself.
            parameter.grad.add_(parameter - anchor, alpha=strength)


def save(client: Client, folder: Path) -> None:
    """Write a site's network, to be opened by ``recognize --weights``; adapters as PEFT does."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder, overwrite=True) as partial:
        if isinstance(client.learner, RecognizerTask):
            client.learner.save(partial)
        else:
            learned: Any = client.learner.model
            learned.save_pretrained(partial)
