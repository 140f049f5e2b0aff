"""The recipe of a federation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.data.sources import ClipSource
from deft_llm.federated.rules import RULES, RuleName
from deft_llm.federated.simulated_sites import SimulatedSites
from deft_llm.training.schedule import LearningRate, Shape

Engine = Literal["process", "simulation"]
_SECURE_SITES = 3


class LocalTraining(LearningRate):
    """Training at a site, with AdamW, which starts anew in each round.

    The learning rate is a function of the step in the whole run: a warm-up is not begun again in
    every round.

    Attributes:
        epochs: Passes over the site's training clips in a round.
        batch_size: Clips of a step, limited to the number of clips.
        clip: Largest norm of the gradient; 0 does not clip.
        au_weight: Weight of the AUs' losses, of a network that learns AUs.
    """

    # The public code has AdamW at 1e-5 and 50 epochs a round.
    learning_rate: float = Field(default=1e-3, gt=0)
    shape: Shape = "cosine"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=32, ge=2)
    clip: float = Field(default=1.0, ge=0)
    au_weight: float = Field(default=0.8, ge=0, lt=1)  # g of the paper


class Privacy(Settings):
    """Differential privacy of every clip, by noise in the site's own training (DP-SGD).

    Attributes:
        epsilon: What the whole run may spend.
        delta: Probability with which that may fail.
        max_norm: Norm to which the gradient of each clip is cut.
    """

    epsilon: float = Field(default=8.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    max_norm: float = Field(default=1.0, gt=0)


class FederatedRecipe(Settings):
    """A file of ``train_configs/federated``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, order, mirroring and dropout.
        engine: "process" runs all sites in this process; "simulation" runs Flower's simulation.
        rules: The rules to compare, names of ``federated.rules``.
        rounds: Rounds of every rule.
        recognizer: A network of ``RECOGNIZERS``, or "deft_lora" for adapters of DEFT-LLM.
        options: Its keyword options.
        scheme: Label scheme, a name of ``facs.SCHEMES``.
        sites: Name -> its clips (a folder, or as in other recipes); or ``simulated``.
        simulated: Sites that are rendered, in place of ``sites``.
        test_share: Share of the subjects of each site to test on.
        split_seed: Seed of that choice, apart from ``seed`` so that runs share their test clips.
        local: Training at a site.
        mu: Pull of FedProx and P-FedProx.
        own_share: Share of its own weights that a site keeps under P-FedProx.
        privacy: Differential privacy; None for none.
        secure: Secure aggregation (Flower's SecAgg+): the server sees the mean alone. Needs three
            sites, and an engine of Flower.
        largest_site: Most training clips of a site, which secure aggregation has to know.
        round_seconds: Time after which a round goes on without those who have not answered.
        at_least: Sites without whose answers a round cannot end.
        cache: Folder of simulated clips; recipes may share it.
    """

    output: Path
    seed: int = 0
    engine: Engine = "process"
    rules: list[RuleName] = Field(default_factory=lambda: list(RULES), min_length=1)  # type: ignore[arg-type]
    rounds: int = Field(default=10, ge=1)
    recognizer: str = "psyau"
    options: dict[str, Any] = Field(default_factory=dict)
    scheme: str = Field(default="3", coerce_numbers_to_str=True)  # YAML reads 3 as a number
    sites: dict[str, ClipSource] = Field(default_factory=dict)
    simulated: SimulatedSites | None = None
    test_share: float = Field(default=0.3, gt=0, lt=1)
    split_seed: int = 0
    local: LocalTraining = LocalTraining()
    mu: float = Field(default=0.01, ge=0)  # as released for two of its three sites
    own_share: float = Field(default=0.9, ge=0, le=1)  # as released
    privacy: Privacy | None = None
    secure: bool = False
    largest_site: int = Field(default=1000, ge=1)
    round_seconds: float = Field(default=3600.0, gt=0)
    at_least: int = Field(default=1, ge=1)
    cache: Path = Path("runs/clips")

    @field_validator("scheme")
    @classmethod
    def _known_scheme(cls, scheme: str) -> str:
        if scheme not in facs.SCHEMES:
            raise ValueError(f"expected one of {', '.join(facs.SCHEMES)}")
        return scheme

    @field_validator("sites")
    @classmethod
    def _plain_names(cls, sites: dict[str, ClipSource]) -> dict[str, ClipSource]:
        for name in sites:  # they become names of files
            if not re.fullmatch(r"[\w .-]*\w", name):
                raise ValueError(f"name {name!r}; expected letters, digits, blanks, . _ and -")
        return sites

    @model_validator(mode="after")
    def _two_sites(self) -> Self:
        if (self.simulated is None) == (not self.sites):
            raise ValueError("expected either sites (name: folder) or simulated")
        if self.sites and len(self.sites) < 2:
            raise ValueError(f"{len(self.sites)} site; a federation has two or more")
        count = len(self.sites) or (self.simulated.sites if self.simulated else 0)
        if self.secure and count < _SECURE_SITES:
            raise ValueError(
                "secure aggregation of 2 sites hides nothing: each can subtract its own weights "
                "from the mean and has the other's; take three sites, or secure: false"
            )
        return self
