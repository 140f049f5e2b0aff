"""DEFT-LLM's LoRA adapters at a site: only the adapters are trained, and so only they are sent.

Experts, projectors, heads and the language model itself are those of the checkpoint, which every
site has. The training question is that of ``deft/tuning/lora_folds.py``: the class of a clip.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from pydantic import Field
from torch import Tensor

from deft_llm import facs
from deft_llm.config import Settings, validate_settings
from deft_llm.data.inputs import mirror_inputs
from deft_llm.data.labelled import LabelledClips
from deft_llm.deft.inference.clip_classifier import DeftClipClassifier
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.lora_folds import FoldTask, LoraTuning
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.resources import EMBEDDED

_ADAPTER = "lora_"  # in the names of PEFT's parameters


class AdapterOptions(Settings):
    """The ``options`` of a federation of adapters.

    Attributes:
        checkpoint: Folder of the model; "embedded" is the one that comes along.
        rank: Rank of the adapters; their scale is twice the rank.
        targets: Layers with adapters, by their short names.
    """

    checkpoint: str = EMBEDDED
    rank: int = Field(default=4, ge=1)
    targets: list[str] = Field(default=["q_proj", "v_proj"], min_length=1)


def adapted_model(recipe: FederatedRecipe) -> PeftModel:
    """The checkpoint with new adapters, the same at every site; all else is frozen.

    Raises:
        UserError: If the checkpoint cannot be read, or a target is no layer of it.
    """
    return _adapted(_options(recipe), _classifier(recipe).explainer, recipe.seed)


def adapter_learner(
    recipe: FederatedRecipe, clips: LabelledClips, seed: int, batches: int
) -> AdapterLearner:
    """The adapters with a site's training clips.

    Raises:
        UserError: As for :func:`adapted_model`.
    """
    del batches  # nothing falls over the training
    return AdapterLearner(recipe, clips, seed)


def _options(recipe: FederatedRecipe) -> AdapterOptions:
    return validate_settings(AdapterOptions, recipe.options, "options")


def _classifier(recipe: FederatedRecipe) -> DeftClipClassifier:
    classes = facs.SCHEMES[recipe.scheme]
    return DeftClipClassifier(len(classes), classes, _options(recipe).checkpoint)


def _adapted(options: AdapterOptions, start: Explainer, seed: int) -> PeftModel:
    text = TextModel(
        lora_rank=options.rank, lora_alpha=2 * options.rank, lora_targets=options.targets
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # A copy, because PEFT puts its layers into the model itself, which others use too.
        # float32, the type in which weights are exchanged.
        model = copy.deepcopy(start.model).float()
        adapted = with_adapters(model, text, start.processor.tokenizer, freeze_experts=True)
    for name, parameter in adapted.named_parameters():
        # Nothing else may be trained: what is trained is what is sent.
        parameter.requires_grad_(_ADAPTER in name)
    return adapted


class AdapterLearner:
    """A ``Learner`` (``learners.py``) of adapters.

    Args:
        recipe: The federation.
        clips: Training clips.
        seed: Of the order of clips.
    """

    def __init__(self, recipe: FederatedRecipe, clips: LabelledClips, seed: int) -> None:
        self.classifier = _classifier(recipe)
        self.start = self.classifier.explainer
        self.adapted = _adapted(_options(recipe), self.start, recipe.seed)
        self.model: torch.nn.Module = self.adapted
        self.batch_size = min(recipe.local.batch_size, len(clips))
        tuning = LoraTuning(batch_size=self.batch_size, seed=seed)
        asked = (self.classifier.question, self.classifier.labels)
        self.task = FoldTask(
            self.adapted, self.start.processor, self._tokens(clips), clips.labels, asked, tuning
        )

    def batch(self, index: int) -> dict[str, Tensor]:
        """Conversations about clips; every class as often."""
        return self.task.batch(index)

    def training_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The language model's loss on the answers."""
        return self.task.training_step(batch)

    @torch.no_grad()
    def probabilities(self, clips: LabelledClips) -> NDArray[np.float32]:
        """Class probabilities (N, classes), by the likelihood of each label."""
        # Explainer takes a plain model. Merged in a copy: the training goes on with the adapters.
        merged: Any = copy.deepcopy(self.adapted).eval().merge_and_unload()
        self.classifier.explainer = Explainer(merged, self.start.processor, self.start.calibration)
        try:
            inputs = clips.clips.inputs(self.classifier.inputs)
            return self.classifier.predict_proba(inputs).astype(np.float32)
        finally:
            self.classifier.explainer = self.start

    @torch.no_grad()
    def _tokens(self, clips: LabelledClips) -> dict[str, Tensor]:
        """Expert tokens of the clips, followed by those of their mirror images."""
        # Encoded once: the experts are frozen, so their tokens never change.
        inputs = clips.clips.inputs(self.classifier.inputs)
        given = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
        mirrored = {name: x.numpy() for name, x in mirror_inputs(given).items()}
        both = [self.classifier.encoded(part) for part in (inputs, mirrored)]
        return {name: torch.cat([tokens[name].float() for tokens in both]) for name in both[0]}
