"""Train a recognizer on measured clips; all recognizers share one recipe format.

Networks use the shared training loop (``training/loop.py``); classical recognizers are fitted in
one call. A recognizer declares the inputs that it reads (``data/inputs.py``). The classes are the
three of MEGC2019; benchmarks with other classes use the task directly. Mirroring is the only
augmentation.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_model
from torch import Tensor

from deft_llm import facs
from deft_llm.clip import UNREAD, Prediction
from deft_llm.config import Settings, read_recipe
from deft_llm.data.labelled import LabelledClips, labelled, three_class
from deft_llm.data.sources import ClipSource
from deft_llm.errors import UserError
from deft_llm.files import replacing_folder, write_lines, write_text
from deft_llm.leaks import require_disjoint
from deft_llm.machine import first_process_first, processes, use_all_cores
from deft_llm.metrics.classification import accuracy, confusion_matrix, likeliest, uar, uf1
from deft_llm.recognizers.base import (
    RECOGNIZERS,
    CanBeSaved,
    ClassicalRecognizer,
    Recognizer,
    load_recognizer,
    side_of,
)
from deft_llm.recognizers.saved import save_recognizer
from deft_llm.registry import resolve
from deft_llm.simulator.scene.sets import shared_numbers
from deft_llm.training.loop import Batch, Goal, fit
from deft_llm.training.run_folder import FINAL, claimed_folder
from deft_llm.training.schedule import Schedule

logger = logging.getLogger(__name__)
_SCORES = "scores.json"


class RecognizerTask:
    """Trains a recognizer with cross-entropy.

    Args:
        model: The network.
        train: Training clips.
        batch_size: Clips per batch, limited to the number of clips.
        seed: Seed of clip order and mirroring.
        held_out: Clips for the logged scores; None for no scores.
        description: Extra entries of the ``config.json`` that :meth:`save` writes.
    """

    goal: Goal = ("uf1", "max")

    def __init__(
        self,
        model: Recognizer,
        train: LabelledClips,
        batch_size: int,
        seed: int = 0,
        held_out: LabelledClips | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        # A task may train more of a network than ``forward``: then its model is a wrapper.
        self.model: torch.nn.Module = model.train()
        self.network = model
        self.train, self.held_out, self.seed = train, held_out, seed
        self.examples = train.batches(model.inputs, model.side)
        self.inputs, self.side = model.inputs, model.side
        # A site or a fold may have fewer clips than a batch.
        self.batch_size = min(batch_size, len(train))
        self.description = description or {}

    def batch(self, index: int) -> dict[str, Tensor]:
        """Batch number ``index``: each clip at most once an epoch, without a partial last batch."""
        return self.chosen(*self.drawn(index), index)

    def chosen(self, rows: Tensor, flipped: Tensor, index: int) -> dict[str, Tensor]:
        """The batch of some clips (B,), some of them mirrored (B,).

        Args:
            rows: Rows of the training clips.
            flipped: Which of them are mirrored.
            index: Number of the batch, for tasks that change over a training.
        """
        return self.examples.batch(rows, flipped)

    def drawn(self, index: int) -> tuple[Tensor, Tensor]:
        """The clips (B,) of a batch, and which of them are mirrored (B,)."""
        # A pure function of the index: a resumed run gets the same batches without replaying them.
        epoch, place = divmod(index, len(self.train) // self.batch_size)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
        rows = order[place * self.batch_size :][: self.batch_size]
        # The third number separates this stream from the one of the order.
        flipped = np.random.default_rng([self.seed, index, 1]).random(len(rows)) < 0.5
        return torch.from_numpy(rows), torch.from_numpy(flipped)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and accuracy."""
        labels = batch["labels"]
        logits = self.model(_inputs(batch))
        right = (logits.argmax(1) == labels).float().mean()
        # float(): under mixed precision the logits may be half precision.
        return {"loss": F.cross_entropy(logits.float(), labels), "accuracy": right}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Class probabilities (B, classes)."""
        self.network.eval()
        return torch.softmax(self.network(_inputs(batch)).float(), dim=1)

    def probabilities(self, clips: LabelledClips) -> NDArray[np.float32]:
        """Class probabilities (N, classes) of a whole set, without mirroring."""
        examples = clips.batches(self.inputs, self.side)
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
        return class_scores(self.held_out, self.probabilities(self.held_out))

    def save(self, folder: Path) -> None:
        """Write the weights, and a configuration that describes them."""
        save_recognizer(self.network, folder, self.train.classes, self.description)


MakeTask = Callable[..., RecognizerTask]


def _inputs(batch: Batch) -> dict[str, Tensor]:
    return {name: x for name, x in batch.items() if name != "labels"}


class RecognizerRecipe(Settings):
    """A file of ``train_configs/recognizers`` with ``task: recognizer``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, clip order and augmentation.
        recognizer: A name of ``RECOGNIZERS``.
        options: Its keyword options.
        data: Training clips.
        validation: Clips of other subjects for the logged scores; None for none.
        test: Clips of yet other subjects to score the finished recognizer on; None for none.
        batch_size: Clips per batch.
        schedule: Training length and learning rate of a network; classical recognizers need none.
        cache: Folder for simulated clips; recipes may share it.
    """

    output: Path
    seed: int = 0
    recognizer: str
    options: dict[str, Any] = Field(default_factory=dict)
    data: ClipSource
    validation: ClipSource | None = None
    test: ClipSource | None = None
    batch_size: int = Field(default=32, ge=2)
    schedule: Schedule | None = None
    cache: Path = Path("runs/clips")


def class_scores(clips: LabelledClips, probabilities: NDArray[np.floating]) -> dict[str, float]:
    """UF1, UAR and accuracy of class probabilities (N, classes)."""
    names = clips.classes
    truth = [names[i] for i in clips.labels]
    matrix = confusion_matrix(truth, likeliest(probabilities, names), names)
    return {"uf1": uf1(matrix), "uar": uar(matrix), "accuracy": accuracy(matrix)}


def train(values: dict[str, Any], where: str) -> None:
    """Train a recognizer from a recipe and score it; ``training/tasks.py`` calls this.

    The folder ``final`` gets a network's weights and configuration and, with ``test`` clips,
    ``predictions.jsonl`` (one row for each clip) and ``scores.json``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, a folder belongs to another recipe, or two sets share a
            subject.
    """
    train_recipe(read_recipe(RecognizerRecipe, values, where), where, RecognizerTask)


def train_recipe(recipe: RecognizerRecipe, where: str, make_task: MakeTask) -> None:
    """Train and score what a recipe describes; see :func:`train`.

    Args:
        recipe: The recipe.
        where: Its file, for messages.
        make_task: Takes the arguments of ``RecognizerTask``.
    """
    set_seed(recipe.seed)  # before the model is built: the initial weights depend on it
    model = load_recognizer(recipe.recognizer, len(facs.THREE_CLASSES), **_options(recipe))
    if isinstance(model, Recognizer) and recipe.schedule is None:
        raise UserError(f"{where}: {recipe.recognizer} is a network; give it a schedule (steps, …)")
    # Check for shared subjects before any clip is rendered or measured.
    sources = _sources(recipe, where)
    with claimed_folder(recipe.output, recipe):
        _train_and_score(recipe, model, sources, make_task)


def _options(recipe: RecognizerRecipe) -> dict[str, Any]:
    """The recognizer's options, with the recipe's seed for one that draws by a seed of its own."""
    made = resolve(RECOGNIZERS, recipe.recognizer, "recognizer")
    seed = inspect.signature(made).parameters.get("seed")
    # Without a seed by default, one would choose among networks that were trained before.
    if seed is None or seed.default is None:
        return recipe.options
    return {"seed": recipe.seed, **recipe.options}


def _train_and_score(
    recipe: RecognizerRecipe,
    model: Recognizer | ClassicalRecognizer,
    sources: dict[str, ClipSource],
    make_task: MakeTask,
) -> None:
    """Open the clips, train on them, and score the result on the test clips, if there are any."""
    if not isinstance(model, Recognizer) and _is_finished(recipe):
        logger.info("already finished: %s", recipe.output / FINAL)
        return
    with first_process_first():  # one process measures; the others then find the clips
        clips = {n: s.open(model.inputs, recipe.cache) for n, s in sources.items()}
    sets = {n: labelled(c, facs.THREE_CLASSES, three_class) for n, c in clips.items()}
    _require_other_clips(sets)
    answer: Callable[[LabelledClips], NDArray[np.floating]]
    if isinstance(model, Recognizer):
        answer = _train_network(recipe, model, sets, make_task).probabilities
    else:
        answer = _fit_classical(recipe, model, sets["data"])
    if "test" in sets:
        _score(recipe, sets["test"], answer)


def _sources(recipe: RecognizerRecipe, where: str) -> dict[str, ClipSource]:
    """The clip sources of a recipe by name.

    Raises:
        UserError: If two sources share a subject, or the seeds of their expressions.
    """
    names = ("data", "validation", "test")
    sources = {n: s for n in names if (s := getattr(recipe, n)) is not None}
    subjects = {name: source.subjects() for name, source in sources.items()}
    for first, second in combinations(subjects, 2):
        if both := subjects[first] & subjects[second]:
            raise UserError(
                f"{where}: {first} and {second} share subject {min(both)} and {len(both) - 1} "
                "more; use clips of other subjects"
            )
        one, other = sources[first].simulated, sources[second].simulated
        if one and other and (seeds := shared_numbers(one, other, "seed", "clips")):
            raise UserError(
                f"{where}: {first} and {second} draw {len(seeds)} clips from the same seeds, from "
                f"{seeds.start} on, which show the same expressions; give another seed"
            )
    return sources


def _require_other_clips(sets: dict[str, LabelledClips]) -> None:
    """Check that no clip is in two sets, under whatever name.

    Raises:
        UserError: If one is.
    """
    contents = {n: {"content": {r.content for r in s.clips.records}} for n, s in sets.items()}
    for first, second in combinations(contents, 2):
        what = f"{first} and {second}"
        require_disjoint(contents[first], contents[second], what, "leave those clips out of one")


def _is_finished(recipe: RecognizerRecipe) -> bool:
    """Whether a classical recognizer's run has written the last of its files."""
    last = "config.json" if recipe.test is None else _SCORES
    return (recipe.output / FINAL / last).is_file()


def _train_network(
    recipe: RecognizerRecipe,
    model: Recognizer,
    sets: dict[str, LabelledClips],
    make_task: MakeTask,
) -> RecognizerTask:
    """Train a network, or resume a stopped run."""
    assert recipe.schedule is not None
    use_all_cores()
    description = {"recognizer": recipe.recognizer, "options": recipe.options}
    task = make_task(
        model, sets["data"], recipe.batch_size, recipe.seed, sets.get("validation"), description
    )
    logger.info(
        "%s · %d clips · %.2f M parameters · %s · effective batch %d · %d steps",
        recipe.recognizer,
        len(sets["data"]),
        sum(p.numel() for p in model.parameters()) / 1e6,
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        task.batch_size * recipe.schedule.accumulate * processes(),
        recipe.schedule.steps,
    )
    final = fit(task, recipe.schedule, recipe.output)
    # If the run was already finished, fit() returns without training: load what it saved.
    load_model(task.network, final / "model.safetensors")
    logger.info("finished: %s", final)
    return task


def _fit_classical(
    recipe: RecognizerRecipe, model: ClassicalRecognizer, clips: LabelledClips
) -> Callable[[LabelledClips], NDArray[np.floating]]:
    """Fit a classical recognizer and return the function that predicts with it."""
    logger.info("%s · %d clips", recipe.recognizer, len(clips))
    side = side_of(model)
    model.fit(clips.clips.inputs(model.inputs, side), clips.labels)
    if isinstance(model, CanBeSaved):
        with replacing_folder(recipe.output / FINAL, overwrite=True) as partial:
            model.save(partial, clips.classes)
    return lambda asked: model.predict_proba(asked.clips.inputs(model.inputs, side))


def _score(
    recipe: RecognizerRecipe,
    clips: LabelledClips,
    answer: Callable[[LabelledClips], NDArray[np.floating]],
) -> None:
    """Write predictions and scores on the test clips."""
    started = time.perf_counter()
    probabilities = answer(clips)
    seconds = (time.perf_counter() - started) / len(clips)  # the mean, because clips run in batches
    rows = []
    named = likeliest(probabilities, clips.classes)
    columns = (clips.clips.records, clips.labels, probabilities, named)
    for record, label, row, name in zip(*columns, strict=True):
        prediction = Prediction(
            dataset=record.dataset,
            subject=record.subject,
            clip=record.clip,
            fold=0,
            seed=recipe.seed,
            label=clips.classes[label],
            predicted=UNREAD if name is None else name,
            probabilities=dict(zip(clips.classes, row.tolist(), strict=True)),
            seconds=seconds,
        )
        rows.append(json.dumps(asdict(prediction)))
    final = recipe.output / FINAL
    final.mkdir(exist_ok=True)
    write_lines(final / "predictions.jsonl", rows)
    scores = class_scores(clips, probabilities)
    # Last: a run that has them is finished.
    write_text(final / _SCORES, json.dumps(scores, indent=1) + "\n")
    shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    logger.info("test: %d clips, %s", len(clips), shown)
