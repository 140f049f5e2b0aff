"""Continue training a finished DEFT-LLM on simulated flow images in the form of published ones.

Such images (``simulator/flow/images.py``) show the direction of motion, but neither its amplitude,
nor the region table, nor a face, so only the motion expert is used
(``deft/inference/flow_classifier.py``). Questions ask for the class of three and for the AUs, in
the wording of the instruction data; the AU and emotion heads are trained as well. No real clip is
used.
"""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import set_seed

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.config import read_recipe
from deft_llm.data.disturbed_flow import LabelledFlow, SimulatedFlowData, disturbed
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.flow_classifier import ABLATED, clip_inputs
from deft_llm.deft.processing_deft import CLIP_TOKEN, padded
from deft_llm.machine import use_all_cores
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.simulator.flow.images import AUS
from deft_llm.training.loop import Batch, Goal, fit
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import Schedule
from deft_llm.unimer.answer_writer import AnswerWriter, Templates

logger = logging.getLogger(__name__)
_SCORED = 64  # held-out images scored at a time


class DeftFlowRecipe(SimulatedFlowData):
    """A file of ``train_configs/deft`` with ``task: deft_flow``.

    Attributes:
        output: Folder of the run.
        checkpoint: The model to continue training.
        seed: Seed of order, disturbances and wording.
        templates: Folder with the wording; None for the package's own.
        batch_size: Images per step, one question each.
        class_share: Share of the questions that ask for the class; the others ask for AUs.
        schedule: Training settings.
    """

    output: Path
    checkpoint: Path
    seed: int = 0
    templates: Path | None = None
    batch_size: int = Field(default=32, ge=1)
    class_share: float = Field(default=0.6, ge=0, le=1)
    schedule: Schedule


def train(values: dict[str, Any], where: str) -> None:
    """Train from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, or the checkpoint or a head's file is missing.
    """
    recipe = read_recipe(DeftFlowRecipe, values, where)
    with claimed_folder(recipe.output, recipe):
        explainer = Explainer.load(recipe.checkpoint)
        use_all_cores()
        set_seed(recipe.seed)
        task = FlowInstructionTask(recipe, explainer, *recipe.simulated(recipe.output / "data"))
        fit(task, recipe.schedule, recipe.output, cpu=not torch.cuda.is_available())


class FlowInstructionTask:
    """Questions about flow images and their answers, for ``training/loop.py``.

    Args:
        recipe: The recipe.
        explainer: Model and processor.
        images: Training images.
        held_out: Images of other faces.
    """

    goal: Goal = ("uf1", "max")

    def __init__(
        self,
        recipe: DeftFlowRecipe,
        explainer: Explainer,
        images: LabelledFlow,
        held_out: LabelledFlow,
    ) -> None:
        self.recipe, self.explainer, self.processor = recipe, explainer, explainer.processor
        self.images, self.held_out = images, held_out
        self.config: DeftConfig = explainer.model.config
        self.model: torch.nn.Module = explainer.model.train()
        self.writer = AnswerWriter(Templates(recipe.templates))
        # A set smaller than a batch would otherwise have no complete batch.
        self.batch_size = min(recipe.batch_size, len(images))
        known = {number: k for k, number in enumerate(AUS)}
        self.columns = [known.get(number) for number in self.config.aus]
        three = {name: i for i, name in enumerate(facs.THREE_CLASSES)}
        self.coarse = torch.tensor(
            # -1 for emotions outside the three classes, and for "none", which is last.
            [three.get(facs.to_three(e) or "", -1) for e in self.config.emotions[:-1]] + [-1]
        )

    def batch(self, index: int) -> dict[str, Tensor]:
        """Batch number ``index``: each image once per epoch; an incomplete batch is dropped."""
        images = self.images
        epoch, place = divmod(index, len(images) // self.batch_size)
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(images))
        rows = torch.from_numpy(order[place * self.batch_size :][: self.batch_size])
        # A large step, so that neighbouring seeds do not share the disturbances of their batches.
        rng = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + index)
        flow, aus = disturbed(images.flow[rows], images.aus[rows], self.recipe, rng)
        labels = images.labels[rows]
        # A separate stream, so that changes of the wording do not change the disturbances.
        words = random.Random(f"{self.recipe.seed}/{index}")
        conversations = [
            self._conversation(int(label), acting, words)
            for label, acting in zip(labels, aus, strict=True)
        ]
        return {
            **clip_inputs(self.config, flow.numpy()),
            **padded(conversations, self.processor.tokenizer.pad_token_id),
            "classes": labels,
            "au_labels": self._au_labels(aus),
        }

    def _conversation(
        self, label: int, aus: Tensor, rng: random.Random
    ) -> tuple[list[int], list[int]]:
        """One question and its answer: ids and labels."""
        facts = Facts(facs.THREE_CLASSES[label], codes(aus), ())
        kind = "class" if rng.random() < self.recipe.class_share else "aus"
        question, answer = self.writer.turn(kind, facts, rng)
        return self.processor.encode_conversation(
            [
                {"role": "user", "content": CLIP_TOKEN + question},
                {"role": "assistant", "content": answer},
            ]
        )

    def _au_labels(self, aus: Tensor) -> Tensor:
        """(B, K', 2) for the model's AUs; -1 for AUs without labels in the images."""
        labels = torch.full((len(aus), len(self.columns), 2), -1.0)
        for row, column in enumerate(self.columns):
            if column is not None:
                labels[:, row] = aus[:, column]
        return labels

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The model's loss plus the emotion head's cross-entropy over the three classes."""
        given = {name: x for name, x in batch.items() if name != "classes"}
        output = self.model(**given, ablate=ABLATED)
        fine = output.emotion_logits.float().log_softmax(-1)
        coarse = self.coarse.to(fine.device)
        # The probability of a class is the sum over its emotions.
        groups = [fine[:, coarse == c].logsumexp(1) for c in range(len(facs.THREE_CLASSES))]
        emotion = torch.nn.functional.nll_loss(torch.stack(groups, 1), batch["classes"])
        return {"loss": output.loss + emotion, "emotion": emotion}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Likeliest of the three classes (B,) by label likelihood."""
        self.explainer.model.eval()
        clip = {n: batch[n] for n in ("structure", "texture", "flow", "flow_scale", "regions")}
        tokens = self.explainer.model.get_clip_features(ABLATED, **clip)
        return self.explainer.likelihoods(tokens, "three").argmax(1)

    def evaluate(self) -> dict[str, float]:
        """UF1 on the held-out images."""
        device = self.explainer.model.device
        predicted: list[int] = []
        for flow in self.held_out.flow.split(_SCORED):
            inputs = clip_inputs(self.config, flow.numpy())
            predicted += self.predict({n: x.to(device) for n, x in inputs.items()}).tolist()
        names = facs.THREE_CLASSES
        truth = [names[i] for i in self.held_out.labels]
        return {"uf1": uf1(confusion_matrix(truth, [names[i] for i in predicted], names))}

    def save(self, folder: Path) -> None:
        """Save a checkpoint folder without calibration; temperatures must be fitted again."""
        self.explainer.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def codes(aus: Tensor) -> tuple[str, ...]:
    """AU codes for (K, 2) flags of ``AUS``, left and right."""
    side = {(1, 1): "", (1, 0): "L", (0, 1): "R"}
    marks = [(number, (int(row[0]), int(row[1]))) for number, row in zip(AUS, aus, strict=True)]
    # (0, 0), an AU that is not active, is not in the table.
    return facs.sort_aus(f"{side[both]}{number}" for number, both in marks if both in side)
