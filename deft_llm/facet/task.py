"""Training of FACET-VLM on rendered sets of views."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from deft_llm.config import Settings, read_recipe
from deft_llm.errors import UserError
from deft_llm.facet.au_text import AuTextTower, au_phrase
from deft_llm.facet.augment import disturb, drop_views, mirror
from deft_llm.facet.configuration import (
    FacetConfig,
    Prompts,
    TextConfig,
    VisualConfig,
    in_class_order,
)
from deft_llm.facet.corpus_views import CorpusViews
from deft_llm.facet.files import load_facet
from deft_llm.facet.losses import consistency_loss, contrastive_loss
from deft_llm.facet.network import Facet, FacetOutput
from deft_llm.facet.texts import class_vectors, default_prompts, load_text_tower
from deft_llm.facet.view_sets import ViewData
from deft_llm.facet.view_store import ViewSet, ViewStore, restored
from deft_llm.metrics.classification import binary_f1
from deft_llm.simulator.scene.sets import require_apart
from deft_llm.training.loop import Batch, Goal
from deft_llm.training.rendered import RenderedTask, train_rendered
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import Schedule

_EVALUATED = 32  # scans per evaluation batch


class ModelSettings(Settings):
    """Sizes and parts of the network; see `FacetConfig`."""

    dim: int = Field(default=96, ge=8)
    visual: VisualConfig = VisualConfig()
    text: TextConfig = TextConfig()
    temporal: Literal["none", "rank", "transformer"] = "none"
    cvsa: bool = True
    mtgf: bool = True


class LossSettings(Settings):
    """Weights of the losses.

    Attributes:
        consistency: Of the multiview consistency loss.
        relational: Of its relational term.
        language: Of the contrastive loss between faces and the texts of their action units.
        views: Of the same loss of each single view, as a share of `language`.
    """

    # Our choice: the paper's weights are not public.
    consistency: float = Field(default=0.5, ge=0)
    relational: float = Field(default=0.1, ge=0)
    language: float = Field(default=1.0, ge=0)
    views: float = Field(default=0.5, ge=0)


class FacetRecipe(Settings):
    """A file of ``train_configs/facet``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, data order and augmentation.
        data: Scans to render: simulated, or of a dataset (`corpus`, `folder`).
        views: Folder of the rendered views, which recipes may share; None: inside ``output``.
        validation: Scans for the scores in the log; None for no scores.
        start: Folder of a trained network to start from; None starts from scratch.
        model: Sizes and parts of the network.
        prompts: Texts of each class; empty for ours.
        style: Style of our texts, one of `facet.texts.STYLES`.
        used_yaws: Train with these views alone; empty for all of the set.
        used_heads: Train with scans of these heads alone; empty for all of the set.
        losses: Weights of the losses.
        drop_views: Probability with which a view is missing in training.
        schedule: Steps, optimizer and learning rate of the training.
        batch_size: Scans per batch.
        save_dtype: Type of the saved weights.
    """

    output: Path
    seed: int = 0
    data: ViewData | CorpusViews
    views: Path | None = None
    validation: ViewData | CorpusViews | None = None
    start: Path | None = None
    model: ModelSettings = ModelSettings()
    prompts: Prompts = {}
    style: str = "ensemble"
    # validate_default: the views of both sets have to fit where it is left out as well.
    used_yaws: tuple[float, ...] = Field(default=(), validate_default=True)
    used_heads: tuple[str, ...] = ()
    losses: LossSettings = LossSettings()
    drop_views: float = Field(default=0.2, ge=0, lt=1)
    schedule: Schedule
    batch_size: int = Field(default=32, ge=2)
    save_dtype: Literal["float32", "float16"] = "float16"

    @field_validator("prompts")
    @classmethod
    def _of_classes(cls, prompts: Prompts, info: ValidationInfo) -> Prompts:
        data = info.data.get("data")  # None if it is wrong itself
        return in_class_order(prompts, data.classes) if prompts and data is not None else prompts

    @field_validator("validation")
    @classmethod
    def _alike(
        cls, scored: ViewData | CorpusViews | None, info: ValidationInfo
    ) -> ViewData | CorpusViews | None:
        data = info.data.get("data")
        for name in ("classes", "channels", "side") if scored and data is not None else ():
            wanted, found = getattr(data, name), getattr(scored, name)
            if found != wanted:
                raise ValueError(f"{name} {found}; expected {wanted}, as the data has")
        return scored

    @field_validator("used_yaws")
    @classmethod
    def _of_views(cls, used: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        sets = {n: s for n in ("data", "validation") if (s := info.data.get(n)) is not None}
        for name, views in sets.items():
            for yaw in used or next(iter(sets.values())).yaws:
                _require_view(yaw, views, name)
        return used

    @model_validator(mode="after")
    def _apart(self) -> FacetRecipe:
        if isinstance(self.data, ViewData) and isinstance(self.validation, ViewData):
            ranges = (("first_identity", "identities"), ("seed", "scans"))
            require_apart(self.data, self.validation, ranges)
        return self

    def config(self) -> FacetConfig:
        """The network's configuration."""
        data = self.data
        return FacetConfig(
            classes=list(data.classes),
            prompts=self.prompts or default_prompts(data.classes, self.style),
            channels=list(data.channels),
            yaws=list(self.used_yaws or data.yaws),
            side=data.side,
            frames=data.frames,
            multi_label=data.multi_label,
            **{name: getattr(self.model, name) for name in ModelSettings.model_fields},
        )


def _require_view(yaw: float, data: ViewSet, name: str) -> None:
    """Check that a set has a view.

    Raises:
        ValueError: If not.
    """
    if yaw not in data.yaws:
        there = ", ".join(f"{each:g}" for each in data.yaws)
        raise ValueError(f"no view at {yaw:g} degrees in {name}; there are {there}")


def _require_fit(config: FacetConfig, data: ViewSet, start: Path) -> None:
    """Check that a network knows the classes of a set, and looks at what it holds.

    Raises:
        UserError: If not.
    """
    classes = list(data.classes)
    if config.classes != classes:
        raise UserError(
            f"{start}: the network knows {', '.join(config.classes)}; expected "
            f"{', '.join(classes)}, as the data has; leave out start, or take other data"
        )
    alike = (config.channels, config.side) == (list(data.channels), data.side)
    if not alike or not set(config.yaws) <= set(data.yaws):
        raise UserError(
            f"{start}: the network sees {_pictures(config)}; the data has {_pictures(data)}; give "
            "data.channels, side and yaws as the network has them"
        )


def _pictures(of: FacetConfig | ViewSet) -> str:
    yaws = ", ".join(f"{yaw:g}" for yaw in of.yaws)
    return f"{', '.join(of.channels)} of {of.side} px at {yaws} degrees"


class FacetTask(RenderedTask[FacetRecipe, ViewStore]):
    """The network, its losses and the views.

    Args:
        recipe: The recipe.
        store: Training set.
        held_out: Set for the scores in the log.
        rows: Train with these scans of the set alone, as in a fold; None for all.
    """

    def __init__(
        self,
        recipe: FacetRecipe,
        store: ViewStore,
        held_out: ViewStore | None = None,
        rows: NDArray[np.integer] | None = None,
    ) -> None:
        self._text_tower = load_text_tower(recipe.model.text)
        super().__init__(recipe, store, held_out)
        self._config = cast(Facet, self.model).config
        self._texts = class_vectors(self._config.prompts, self._text_tower)
        used = store.good & store.of_heads(recipe.used_heads)
        self._rows = np.flatnonzero(used) if rows is None else np.asarray(rows)[used[rows]]
        if not len(self._rows):
            raise UserError(
                f"no scan to learn from in {store.data.title}: none of those that are used could "
                "be read"
            )
        # Mirroring needs the opposite of each view.
        self._mirrors = all(-yaw in self._config.yaws for yaw in self._config.yaws)

    @property
    def goal(self) -> Goal:
        """By which the best network is chosen."""
        return ("f1" if self._config.multi_label else "accuracy", "max")

    def network(self, start: Path | None) -> torch.nn.Module:
        """The network to start from, or a new one.

        Raises:
            UserError: If the network to start from knows other classes, or looks at other
                pictures, than the data has.
        """
        if start is not None:
            network = load_facet(start).network
            _require_fit(network.config, self.recipe.data, start)
            return network
        return Facet(self.recipe.config(), self._text_tower.width)

    def views(self, store: ViewStore, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """The views of scans that this network looks at."""
        # By their angle: another set may hold them in another order, or more of them.
        every = list(store.data.yaws)
        chosen = [every.index(yaw) for yaw in self._config.yaws]
        return restored(store.views(indices)[..., chosen, :, :, :])

    def batch(self, index: int) -> dict[str, Tensor]:
        """Augmented scans drawn with replacement; depends only on the seed and the index."""
        # By index, so that a resumed run draws the batches that it would have drawn.
        rng = np.random.default_rng([self.recipe.seed, index])
        chosen = self._rows[rng.integers(len(self._rows), size=self.recipe.batch_size)]
        views, config = self.views(self.store, chosen), self._config
        for i in range(len(views)):
            if self._mirrors and rng.random() < 0.5:
                views[i] = mirror(views[i], config.yaws, config.channels)
            views[i] = disturb(views[i], rng)
        present = drop_views(len(views), len(config.yaws), self.recipe.drop_views, rng)
        return {
            "views": torch.from_numpy(views),
            "present": torch.from_numpy(present),
            "label": torch.from_numpy(self.store.label[chosen].astype(bool)),
            "aus": torch.from_numpy(self.store.aus[chosen] > 0),  # a text tells no strengths
        }

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and losses."""
        # Scans of one combination share its text: as two texts, each would be the other's negative.
        shown, index = torch.unique(batch["aus"], dim=0, return_inverse=True)
        spoken = self._spoken(shown).to(batch["views"].device)
        classes = self._texts.to(spoken.device)
        named, described = self.model(batch["views"], [classes, spoken], batch["present"])
        weights = self.recipe.losses
        losses = {
            "linear": self._naming_loss(named.linear_logits, batch["label"]),
            "text": self._naming_loss(self._text_logits(named), batch["label"]),
            "consistency": consistency_loss(named.views, batch["present"], weights.relational),
            "language": self._language_loss(described, spoken, index, batch["present"]),
        }
        # Both heads alike, as `probabilities` takes their mean.
        total = losses["linear"] + losses["text"]
        total = total + weights.consistency * losses["consistency"]
        return {"loss": total + weights.language * losses["language"], **losses}

    def _spoken(self, shown: Tensor) -> Tensor:
        """Text vectors of combinations of units (K, AUS) bool."""
        combinations = [[int(n) for n in row.nonzero()[:, 0]] for row in shown.cpu()]
        if isinstance(self._text_tower, AuTextTower):
            return self._text_tower.of_aus(combinations)
        return self._text_tower.encode([au_phrase(aus) for aus in combinations])

    def _text_logits(self, output: FacetOutput) -> Tensor:
        # On several GPUs the network is wrapped, and its own attributes lie one level down.
        network = cast(Facet, getattr(self.model, "module", self.model))
        return output.text_logits + (network.offset if self._config.multi_label else 0.0)

    def _naming_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Of the scans that show an expression; 0 if none does."""
        if self._config.multi_label:
            return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype))
        shown = label.any(dim=1)
        if not shown.any():
            return logits.sum() * 0.0  # 0 with a graph, which backward needs
        return F.cross_entropy(logits[shown], label[shown].long().argmax(dim=1))

    def _language_loss(
        self, output: FacetOutput, texts: Tensor, index: Tensor, present: Tensor
    ) -> Tensor:
        network = cast(Facet, getattr(self.model, "module", self.model))
        anchors, scale = network.of_text(texts), network.scale
        loss = contrastive_loss(output.face, anchors, index, scale)
        for v in range(output.views.shape[1]):
            there = present[:, v]
            if there.any():
                alone = contrastive_loss(output.views[there, v], anchors, index[there], scale)
                loss = loss + self.recipe.losses.views / output.views.shape[1] * alone
        return loss

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Probabilities (B, Y) of the classes."""
        self.model.eval()
        network = cast(Facet, self.model)
        texts = self._texts.to(batch["views"].device)
        output = network(batch["views"], [texts], batch.get("present"))[0]
        return network.probabilities(output, trained=True)

    def probabilities(
        self, store: ViewStore, rows: NDArray[np.integer] | None = None
    ) -> NDArray[np.float64]:
        """Probabilities (N, Y) of the classes for every scan of a set, or for some."""
        rows = np.arange(len(store)) if rows is None else rows
        device = next(self.model.parameters()).device
        found = []
        for first in range(0, len(rows), _EVALUATED):
            views = self.views(store, rows[first : first + _EVALUATED])
            batch = {"views": torch.from_numpy(views).to(device)}
            found.append(self.predict(batch).double().cpu().numpy())
        return np.concatenate(found)

    def evaluate(self) -> dict[str, float]:
        """Scores on held-out scans: accuracy, in all and at each intensity, or mean F1."""
        if self.held_out is None:
            return {}
        store = self.held_out
        shares = self.probabilities(store)
        shares[~store.good] = 0.0  # nothing was seen of them
        if self._config.multi_label:
            return {"f1": float(binary_f1(store.label.astype(bool), shares > 0.5).mean())}
        shown = store.label.any(axis=1)
        right = store.good & (shares.argmax(axis=1) == store.label.argmax(axis=1))
        scores = {"accuracy": float(right[shown].mean())}
        for level in np.unique(store.level[shown]):
            chosen = shown & (store.level == level)
            scores[f"accuracy_at_{level}"] = float(right[chosen].mean())
        return scores


def train(values: dict[str, Any], where: str) -> None:
    """Train FACET-VLM from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: File of the recipe, for messages.

    Raises:
        UserError: If the recipe is invalid, or a folder belongs to another recipe.
    """
    recipe = read_recipe(FacetRecipe, values, where)
    folder = recipe.views or recipe.output / "views"
    with claimed_folder(recipe.output, recipe):
        train_rendered(recipe, folder, ViewStore.rendered, FacetTask, recipe.data.title)
