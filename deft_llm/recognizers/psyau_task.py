"""Train FED-PsyAU's network by a recipe: classes and action units together.

The loss is the paper's, ``(1 - g) classes + g (AUs + AUs before the graphs)`` with g = 0.8. The
prior of the graphs is counted from the training clips' codings, and its share falls from 1 to 0
over the training, of every fold anew; the trained network answers without it. In the public code
the share is multiplied in place and never set back, so that the folds after the first run without
the prior.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from deft_llm.config import Settings, read_recipe
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.machine import processes
from deft_llm.recognizers.base import Recognizer
from deft_llm.recognizers.psyau import Joint, PsyAU
from deft_llm.recognizers.task import RecognizerRecipe, RecognizerTask, train_recipe
from deft_llm.training.loop import Batch

AUS, DONE = "aus", "done"


class AuLoss(Settings):
    """How AUs are learned.

    Attributes:
        au_weight: g, weight of the AUs' losses; that of the classes is 1 - g.
    """

    au_weight: float = Field(default=0.8, ge=0, lt=1)


class PsyAURecipe(RecognizerRecipe, AuLoss):
    """A file of ``train_configs/recognizers`` with ``task: psyau``.

    Attributes:
        recognizer: Always "psyau".
    """

    recognizer: Literal["psyau"] = "psyau"


def train(values: dict[str, Any], where: str) -> None:
    """Train the network from a recipe; ``training/tasks.py`` calls this.

    Raises:
        UserError: As ``recognizers.task.train``.
    """
    recipe = read_recipe(PsyAURecipe, values, where)
    batches = recipe.schedule.steps * recipe.schedule.accumulate if recipe.schedule else 1
    make = partial(PsyAUTask, batches=batches, au_weight=recipe.au_weight)
    train_recipe(recipe, where, make)


class PsyAUTask(RecognizerTask):
    """Trains ``PsyAU``.

    Args:
        model: The network; its prior is counted here from the training clips.
        train: Training clips.
        batch_size: As for ``RecognizerTask``.
        seed: As for ``RecognizerTask``.
        held_out: As for ``RecognizerTask``.
        description: As for ``RecognizerTask``.
        batches: Batches of the whole training in each process, over which the prior's share falls.
        au_weight: g.

    Raises:
        UserError: If the model is another network.
    """

    def __init__(
        self,
        model: Recognizer,
        train: LabelledClips,
        batch_size: int,
        seed: int = 0,
        held_out: LabelledClips | None = None,
        description: dict[str, Any] | None = None,
        *,
        batches: int,
        au_weight: float = 0.8,
    ) -> None:
        super().__init__(model, train, batch_size, seed, held_out, description)
        if not isinstance(model, PsyAU):
            raise UserError(f"task psyau: got {type(model).__name__}; expected the network psyau")
        self.psyau, self.batches, self.au_weight = model, batches, au_weight
        self.over = False  # whether the last batch has been trained
        self.aus = torch.from_numpy(train.clips.inputs((AUS,))[AUS])
        self.psyau.take_prior(self.aus)

    def chosen(self, rows: Tensor, flipped: Tensor, index: int) -> dict[str, Tensor]:
        """As of its base, with the coded AUs (B, 12) and the share of the training that is done."""
        # The share travels with the batch, so that a resumed run has the same one. Processes take
        # turns in the batches, and are at the same share.
        done = torch.tensor(min(1.0, index // processes() / self.batches))
        return {**self.examples.batch(rows, flipped), AUS: self.aus[rows], DONE: done}

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Losses, and the accuracy of the classes."""
        done = float(batch[DONE])
        self.psyau.progress(done)
        self.over = round(done * self.batches) + 1 >= self.batches
        # Called as ``model``, which several processes wrap to exchange their gradients.
        found: Joint = self.model({name: batch[name] for name in self.psyau.inputs}, whole=True)
        return joint_losses(found, batch, self.au_weight)

    def evaluate(self) -> dict[str, float]:
        """As of its base; behind the last batch without the prior, and so it is saved."""
        if self.over:
            # Not in the last step: its gradient still needs the share that it was taken with.
            self.psyau.progress(1.0)
        return super().evaluate()


def joint_losses(found: Joint, batch: Batch, au_weight: float) -> dict[str, Tensor]:
    """The joint loss of a batch with "labels" and "aus".

    Args:
        found: What the network answers about it.
        batch: B clips; rows of AUs that are NaN are not coded, and teach the classes alone.
        au_weight: g.

    Returns:
        "loss", "classes", "au" (the AUs' own loss) and "accuracy".
    """
    labels, aus = batch["labels"], batch[AUS]
    classes = F.cross_entropy(found.emotion.float(), labels)
    known = (~aus.isnan()).float()
    # Before the loss: NaN times 0 would still be NaN, in the gradient as well.
    right = aus.nan_to_num()
    both = sum(
        F.binary_cross_entropy_with_logits(logits.float(), right, reduction="none")
        for logits in (found.aus, found.aux)
    )
    au = (both * known).sum() / known.sum().clamp(min=1)
    accuracy = (found.emotion.argmax(1) == labels).float().mean()
    loss = (1 - au_weight) * classes + au_weight * au
    return {"loss": loss, "classes": classes, "au": au, "accuracy": accuracy}
