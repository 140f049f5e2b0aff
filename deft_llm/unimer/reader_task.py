"""Training of a language model to read questions, on the same questions as the small parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from deft_llm.config import read_recipe
from deft_llm.queries.language_model import QuestionReader, ReaderConfig, batched
from deft_llm.training.loop import Batch, Goal
from deft_llm.training.rendered import RenderedTask, train_rendered
from deft_llm.training.run_folder import claimed_folder
from deft_llm.unimer.question_sets import QuestionRecipe, QuestionSet
from deft_llm.weights import load_network

_EVALUATED = 64  # questions per evaluation batch
_NO_FRAME = -100  # frames that no training question has; the cross entropy ignores them


class ReaderRecipe(QuestionRecipe):
    """A file of ``train_configs/queries`` with ``task: reader``.

    Attributes:
        model: The language model, its layers that are used, and the adapters.
        batch_size: Questions per batch.
    """

    model: ReaderConfig = ReaderConfig()
    batch_size: int = Field(default=32, ge=1)


class ReaderTask(RenderedTask[ReaderRecipe, QuestionSet]):
    """The language model with adapters, its loss and the questions."""

    goal: Goal = ("right", "max")

    def __init__(
        self, recipe: ReaderRecipe, store: QuestionSet, held_out: QuestionSet | None = None
    ) -> None:
        super().__init__(recipe, store, held_out)
        self._tokens = self._encoded(store)
        number = {frame: i for i, frame in enumerate(self.reader.frames)}
        self._frames = torch.tensor([number.get(frame, _NO_FRAME) for frame in store.frames])
        # By length, so that a batch holds little but words; those of one length in any order.
        rng = np.random.default_rng(recipe.seed)
        lengths = np.array([len(ids) for ids in self._tokens])
        self._by_length = np.lexsort((rng.random(len(lengths)), lengths))

    def network(self, start: Path | None) -> torch.nn.Module:
        """The reader to start from, or a new one."""
        if start is not None:
            return load_network(start, ReaderConfig, QuestionReader, "question reader", "train.py")
        frames = tuple(sorted(set(self.store.frames)))
        return QuestionReader(self.recipe.model.model_copy(update={"frames": frames}))

    @property
    def reader(self) -> QuestionReader:
        """The network."""
        found = self.model
        assert isinstance(found, QuestionReader)
        return found

    def _encoded(self, store: QuestionSet) -> list[list[int]]:
        asked = zip(store.asked, store.earlier, strict=True)
        return [self.reader.tokens(*each) for each in asked]

    def batch(self, index: int) -> dict[str, Tensor]:
        """Questions of about one length; depends only on the seed and the index."""
        rng = np.random.default_rng([self.recipe.seed, index])
        size = min(self.recipe.batch_size, len(self.store))
        first = int(rng.integers(len(self.store) - size + 1))
        rows = self._by_length[first : first + size]
        ids, present = batched([self._tokens[row] for row in rows])
        return {"ids": ids, "present": present, "frame": self._frames[torch.from_numpy(rows)]}

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and loss."""
        scores = self.model(batch["ids"], batch["present"])
        smoothing = self.recipe.smoothing
        return {"loss": functional.cross_entropy(scores, batch["frame"], label_smoothing=smoothing)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Scores of the frames."""
        self.model.eval()
        scores: Tensor = self.model(batch["ids"], batch["present"])
        return scores

    def evaluate(self) -> dict[str, float]:
        """Scores on the held-out questions."""
        if self.held_out is None:
            return {}
        device = next(self.model.parameters()).device
        tokens = self._encoded(self.held_out)
        found: list[int] = []
        for first in range(0, len(tokens), _EVALUATED):
            ids, present = batched(tokens[first : first + _EVALUATED])
            batch = {"ids": ids.to(device), "present": present.to(device)}
            found += self.predict(batch).argmax(1).tolist()
        frames = self.reader.frames
        return self.held_out.scores([frames[i] for i in found])


def train(values: dict[str, Any], where: str) -> None:
    """Train a question reader from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: File of the recipe, for messages.

    Raises:
        UserError: If the recipe is invalid, the folder belongs to another recipe, or the language
            model is not here.
    """
    recipe = read_recipe(ReaderRecipe, values, where)
    with claimed_folder(recipe.output, recipe):
        train_rendered(recipe, recipe.output, QuestionSet.drawn, ReaderTask, "questions")
