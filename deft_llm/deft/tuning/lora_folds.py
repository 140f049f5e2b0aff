"""DEFT-LLM on flow images, tuned by LoRA inside each fold of a benchmark.

The embedded model asks, in the words of stage 3, which class a clip shows; the folds' own clips are
the answers. Experts stay as they are, so that their tokens are computed once for a fold; adapters
go on the language model, and are merged into a copy of it for the fold's test clips.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.deft.inference.calibration import LABEL_SETS
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.flow_classifier import DeftOnFlow, Fall
from deft_llm.deft.inference.scoring import answered
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import padded
from deft_llm.deft.tuning.model import with_adapters
from deft_llm.deft.tuning.recipe import TextModel
from deft_llm.motion.encoding import mirror

LABELS = "three"
_ENCODED = 64  # images at a time


class DeftLora(DeftOnFlow):
    """A classical recognizer (``recognizers/base.py``): LoRA tuning on what a fold may see.

    Every step draws each class as often as the others: the score is a mean over classes. Images
    and their mirror images are seen alike. Settings are our own, chosen on simulated people.

    Args:
        classes: Must be the three of MEGC2019.
        checkpoint: Folder of the model that each fold begins with.
        fall: See ``DeftOnFlow``.
        rank: Of the adapters; their scale is twice the rank.
        steps: Steps of AdamW on a cosine.
        batch_size: Images a step.
        learning_rate: Its peak.
        seed: Of adapters and order.

    Raises:
        UserError: If the checkpoint cannot be read, or classes or fall are others.
    """

    def __init__(
        self,
        classes: int,
        checkpoint: str,
        fall: Fall = "opposite",
        rank: int = 8,
        steps: int = 60,
        batch_size: int = 24,
        learning_rate: float = 1.5e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(classes, checkpoint, fall)
        self.rank, self.steps, self.batch_size = rank, steps, batch_size
        self.learning_rate, self.seed = learning_rate, seed
        self.start = self.explainer

    def fit(self, inputs: dict[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        """Tune a copy of the model on N clips; labels are class indices (N,)."""
        torch.manual_seed(self.seed)
        tokens, processor = self._encoded(inputs["flow_uvs"]), self.start.processor
        model = copy.deepcopy(self.start.model)
        text = TextModel(lora_rank=self.rank, lora_alpha=2 * self.rank)
        tuned = with_adapters(model, text, processor.tokenizer, freeze_experts=True)
        trained = [p for p in tuned.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / self.steps))
        )
        kind, names = LABEL_SETS[LABELS]
        talks = answered(processor, processor.prompts[kind], names)
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            rows = self._drawn(labels, rng)
            # Mirror images lie behind the images themselves.
            seen = torch.from_numpy(rows + len(labels) * rng.integers(0, 2, len(rows)))
            batch = padded([talks[labels[row]] for row in rows], processor.tokenizer.pad_token_id)
            given = {name: part[seen] for name, part in tokens.items()}
            loss = tuned(**batch, expert_tokens=given).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
        merged: DeftForConditionalGeneration = tuned.merge_and_unload()
        self.explainer = Explainer(merged, processor, self.start.calibration)

    @torch.no_grad()
    def _encoded(self, flow_uvs: NDArray[np.float32]) -> dict[str, Tensor]:
        """Expert tokens of N images and, behind them, of their mirror images."""
        both = np.concatenate([flow_uvs, mirror(flow_uvs)])
        parts = [self.encode(both[i : i + _ENCODED]) for i in range(0, len(both), _ENCODED)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _drawn(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of one step: of each class in turn, whichever the fold has."""
        present = np.unique(labels)
        kinds = present[np.arange(self.batch_size) % len(present)]
        return np.array([rng.choice(np.flatnonzero(labels == kind)) for kind in kinds])
