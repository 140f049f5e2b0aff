"""Training of a recognizer on measured clips, on the one loop of ``training/loop.py``.

A recipe trains on a data folder (``data/records.py``) with the three classes of MEGC2019.
Benchmarks that make their own clips use the task directly. Mirroring is the one augmentation; it
negates u, and may change the class.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from deft_llm import facs
from deft_llm.config import Settings, validate
from deft_llm.data.records import PacketStore
from deft_llm.errors import UserError
from deft_llm.metrics.classification import accuracy, confusion_matrix, uar, uf1
from deft_llm.motion.encoding import encode_flow
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.training.loop import Batch, fit
from deft_llm.training.machine import use_all_cores
from deft_llm.training.run_folder import claim_folder
from deft_llm.training.schedule import Schedule

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]

# Name of an input -> what makes it of the packets' flow (N, 2, 3, S, S).
INPUTS: dict[str, Callable[[NDArray[Any]], Floats]] = {
    "flow_uvs": lambda flow: encode_flow(flow[:, 0])[0],
    "flow_dual": lambda flow: encode_flow(flow)[0],
}


class Examples:
    """Clips as a recognizer's inputs.

    Attributes:
        inputs: Name -> tensor (N, ...).
        labels: (N,) class indices.
        classes: Names of the classes.
        mirrored: Class index -> that of the mirrored clip.
    """

    def __init__(
        self,
        flow: NDArray[Any],
        labels: Sequence[int] | NDArray[np.int64],
        classes: Sequence[str],
        names: Sequence[str],
        mirrored: Sequence[int] | None = None,
    ) -> None:
        """Encode flow.

        Args:
            flow: (N, 2, 3, S, S): u, v in px and strain, of both phases, as in a packet.
            labels: (N,) class indices.
            classes: Names of the classes.
            names: Inputs to prepare.
            mirrored: See above; None: mirroring leaves every class.

        Raises:
            UserError: If an input cannot be made of flow.
        """
        if missing := [name for name in names if name not in INPUTS]:
            raise UserError(
                f"input {missing[0]!r} cannot be made of measured flow; a recognizer on these "
                f"clips may use {', '.join(INPUTS)}"
            )
        self.inputs = {name: torch.from_numpy(INPUTS[name](flow)) for name in names}
        self.labels = torch.as_tensor(np.asarray(labels, np.int64))
        self.classes = tuple(classes)
        self.mirrored = torch.as_tensor(list(mirrored or range(len(classes))))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor, flipped: Tensor) -> dict[str, Tensor]:
        """Some clips, of which some are mirrored.

        Args:
            rows: (B,) indices.
            flipped: (B,) bool.

        Returns:
            The inputs and "labels".
        """
        labels = self.labels[rows]
        batch = {"labels": torch.where(flipped, self.mirrored[labels], labels)}
        for name, values in self.inputs.items():
            chosen = values[rows]
            mirror = chosen.flip(-1)
            mirror[..., 0, :, :] *= -1
            shape = (-1, *[1] * (chosen.ndim - 1))
            batch[name] = torch.where(flipped.view(shape), mirror, chosen)
        return batch


class RecognizerTask:
    """A recognizer under cross-entropy.

    Args:
        model: The network.
        train: Clips to learn from.
        batch_size: Clips of a batch; at most all of them.
        seed: Of the order and of mirroring.
        held_out: Clips for the scores of the log; None for no scores.
        description: What :meth:`save` writes beside the weights.
    """

    def __init__(
        self,
        model: Recognizer,
        train: Examples,
        batch_size: int,
        seed: int = 0,
        held_out: Examples | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.model: torch.nn.Module = model.train()
        self.train, self.held_out, self.seed = train, held_out, seed
        self.batch_size = min(batch_size, len(train))
        self.description = description or {}

    def batch(self, index: int) -> dict[str, Tensor]:
        """Batch number ``index``: every clip once an epoch, the last few left out."""
        epoch, place = divmod(index, len(self.train) // self.batch_size)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
        rows = order[place * self.batch_size :][: self.batch_size]
        flipped = np.random.default_rng([self.seed, index, 1]).random(len(rows)) < 0.5
        return self.train.batch(torch.from_numpy(rows), torch.from_numpy(flipped))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and the share of right answers."""
        labels = batch["labels"]
        logits = self.model(_inputs(batch))
        right = (logits.argmax(1) == labels).float().mean()
        return {"loss": F.cross_entropy(logits.float(), labels), "accuracy": right}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Class probabilities (B, classes)."""
        self.model.eval()
        return torch.softmax(self.model(_inputs(batch)).float(), dim=1)

    def probabilities(self, examples: Examples) -> NDArray[np.float32]:
        """Class probabilities (N, classes) of a whole set, unmirrored."""
        device = next(self.model.parameters()).device
        parts = []
        for rows in torch.arange(len(examples)).split(self.batch_size):
            batch = examples.batch(rows, torch.zeros(len(rows), dtype=torch.bool))
            parts.append(self.predict({name: x.to(device) for name, x in batch.items()}).cpu())
        return np.asarray(torch.cat(parts).numpy(), np.float32)

    def evaluate(self) -> dict[str, float]:
        """UF1, UAR and accuracy on the held-out clips."""
        if self.held_out is None:
            return {}
        names = self.held_out.classes
        guesses = [names[i] for i in self.probabilities(self.held_out).argmax(1)]
        matrix = confusion_matrix([names[i] for i in self.held_out.labels], guesses, names)
        return {"uf1": uf1(matrix), "uar": uar(matrix), "accuracy": accuracy(matrix)}

    def save(self, folder: Path) -> None:
        """Weights, and a configuration that tells what they are of."""
        state = {name: x.contiguous() for name, x in self.model.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        text = json.dumps({"classes": self.train.classes, **self.description}, indent=1)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def _inputs(batch: Batch) -> dict[str, Tensor]:
    return {name: x for name, x in batch.items() if name != "labels"}


class RecognizerRecipe(Settings):
    """A file of ``train_configs/recognizers``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, order and augmentation.
        recognizer: A name of ``RECOGNIZERS``.
        options: Its keyword options.
        data: Data folder to learn from, as ``instruction_data/build.py`` writes it.
        validation: Data folder of other subjects for the scores of the log; None for none.
        batch_size: Clips of a batch.
        schedule: How long and how fast.
    """

    output: Path
    seed: int = 0
    recognizer: str
    options: dict[str, Any] = Field(default_factory=dict)
    data: Path
    validation: Path | None = None
    batch_size: int = Field(default=32, ge=2)
    schedule: Schedule


def read_examples(store: PacketStore, names: Sequence[str], where: Path) -> Examples:
    """The clips of a data folder whose emotion is one of the three classes.

    Raises:
        UserError: If there is none.
    """
    labelled = {
        clip: facs.THREE_CLASSES.index(label)
        for clip, record in store.records.items()
        if record.emotion_known and (label := facs.to_three(record.emotion))
    }
    if not labelled:
        raise UserError(
            f"{where}: no clip with an emotion of {', '.join(facs.THREE_CLASSES)}; "
            "expected a data folder with labelled clips"
        )
    flow = np.stack([store[clip]["flow"] for clip in labelled])
    return Examples(flow, list(labelled.values()), facs.THREE_CLASSES, names)


def train(values: dict[str, Any], where: str) -> None:
    """Train a recognizer from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, a folder belongs to another recipe, or training and
            validation share a subject.
    """
    recipe = validate(RecognizerRecipe, values, where)
    set_seed(recipe.seed)
    model = load_recognizer(recipe.recognizer, len(facs.THREE_CLASSES), **recipe.options)
    if not isinstance(model, Recognizer):
        raise UserError(f"{where}: recognizer {recipe.recognizer!r} has no gradients to train by")
    folders = [recipe.data, *([recipe.validation] if recipe.validation else [])]
    stores = [PacketStore(folder) for folder in folders]
    _must_be_apart(stores, where)
    examples = [read_examples(s, model.inputs, f) for s, f in zip(stores, folders, strict=True)]
    claim_folder(recipe.output, recipe)
    use_all_cores()
    task = RecognizerTask(
        model,
        examples[0],
        recipe.batch_size,
        recipe.seed,
        examples[1] if recipe.validation else None,
        {"recognizer": recipe.recognizer, "options": recipe.options},
    )
    logger.info(
        "%s · %d clips · %.2f M parameters · %s · effective batch %d · %d steps",
        recipe.recognizer,
        len(examples[0]),
        sum(p.numel() for p in model.parameters()) / 1e6,
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        task.batch_size * recipe.schedule.accumulate,
        recipe.schedule.steps,
    )
    logger.info("finished: %s", fit(task, recipe.schedule, recipe.output))


def _must_be_apart(stores: Sequence[PacketStore], where: str) -> None:
    subjects = [{record.subject for record in store.records.values()} for store in stores]
    both = set.intersection(*subjects) if len(subjects) > 1 else set()
    if both:
        raise UserError(
            f"{where}: data and validation share subject {min(both)} and {len(both) - 1} more; "
            "use folders of other subjects"
        )
