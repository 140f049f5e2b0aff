"""Validation on held-out people while a stage runs, and the best network by its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.deft.configuration_deft import IGNORE_INDEX
from deft_llm.deft.tuning.datasets import Collator, ExpertDataset, InstructionDataset
from deft_llm.deft.tuning.recipe import ValidationSettings
from deft_llm.errors import UserError
from deft_llm.metrics.classification import f1_per_class
from deft_llm.protocols import hold_out

LOSS = "eval_loss"
Source = ExpertDataset | InstructionDataset


class Part(Dataset):
    """Some rows of a data set."""

    def __init__(self, source: Source, rows: Sequence[int]) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> list[int]:
        """Lengths of the rows, for batches of similar length."""
        lengths = self.source.lengths()
        return [lengths[row] for row in self.rows]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.source[self.rows[index]]


def held_out_clips(
    clips: ClipDataset, settings: ValidationSettings | None, seed: int
) -> frozenset[str]:
    """The clips of the people that are held out; none without settings.

    Raises:
        UserError: If the share leaves nobody on one side.
    """
    if settings is None:
        return frozenset()
    (split,) = hold_out(clips.people, settings.share, seed=seed)
    return frozenset(clips.records[i].clip for i in split.test)


def parts(
    source: Source, held_out: frozenset[str], stage: str
) -> tuple[Source | Part, Part | None]:
    """The rows to learn from and those of held-out clips; None if no clip is held out.

    Raises:
        UserError: If clips are held out and one of the two would be empty.
    """
    if not held_out:
        return source, None
    shown = source.clip_ids()
    out = [i for i, clip in enumerate(shown) if clip in held_out]
    kept = [i for i, clip in enumerate(shown) if clip not in held_out]
    if not (out and kept):
        raise UserError(
            f"validation.share: of {len(shown)} rows of stage {stage}, {len(out)} are of people "
            "that are held out; give another share, or more people"
        )
    unchanged = source.as_measured() if isinstance(source, ExpertDataset) else source
    return Part(source, kept), Part(unchanged, out)


class Scores:
    """Sums over batches, and the scores that follow from them.

    Args:
        emotions: Number of the emotion head's classes.
        device: Where the sums are kept.
    """

    def __init__(self, emotions: int, device: torch.device) -> None:
        self.emotions = emotions
        # loss, rows · right tokens, tokens · AU hits, false alarms, misses · confusion matrix
        self.sums = torch.zeros(7 + emotions**2, dtype=torch.float64, device=device)

    def add(self, output: Any, batch: dict[str, Any], weight: int) -> None:
        """Add a batch of ``weight`` rows; a weight of 0 adds nothing."""
        counted = [output.loss.double() * weight, torch.tensor(weight), *_tokens(output, batch)]
        # Unknown labels (-1) are in none of the three counts.
        aus, labels = output.au_logits > 0, batch["au_labels"]
        hits = (aus & (labels == 1)).sum()
        counted += [hits, (aus & (labels == 0)).sum(), (~aus & (labels == 1)).sum()]
        truth, predicted = batch["emotion_labels"], output.emotion_logits.argmax(1)
        known = truth >= 0
        # Row times width plus column, so that one bincount fills the confusion matrix.
        cells = truth[known] * self.emotions + predicted[known]
        counted += list(torch.bincount(cells, minlength=self.emotions**2))
        if weight:
            self.sums += torch.stack([x.to(self.sums) for x in counted])

    def result(self) -> dict[str, float]:
        """The scores of what was added, by the names of ``transformers``' logs."""
        loss, rows, right, tokens, hits, alarms, misses, *matrix = self.sums.tolist()
        scores = {LOSS: loss / rows}
        if tokens:
            scores["eval_token_accuracy"] = right / tokens
        if hits + alarms + misses:
            scores["eval_au_f1"] = 2 * hits / (2 * hits + alarms + misses)
        confusion = np.array(matrix).reshape(self.emotions, self.emotions).astype(np.int64)
        if confusion.any():
            # Classes that no held-out clip has would only lower the mean.
            scores["eval_emotion_uf1"] = float(f1_per_class(confusion)[confusion.any(1)].mean())
        return scores


def _tokens(output: Any, batch: dict[str, Any]) -> list[Tensor]:
    """Right and all answer tokens, each predicted after the true ones before it."""
    if output.logits is None:
        return [torch.zeros(()), torch.zeros(())]
    labels = batch["labels"][:, 1:]
    answers = labels != IGNORE_INDEX
    right = (output.logits[:, :-1].argmax(-1) == labels) & answers
    return [right.sum(), answers.sum()]


def batches(
    part: Part, collator: Collator, size: int, rank: int, world: int
) -> Iterator[tuple[dict[str, Any], int]]:
    """One process's batches of held-out rows, with the number of rows that count.

    Every process gets equally many, because sharded weights are gathered by all at once; where
    there are no rows left, the first ones stand in and count nothing.
    """
    step = size * world
    for first in range(0, len(part), step):
        rows = range(first + rank * size, min(first + (rank + 1) * size, len(part)))
        shown = rows or range(min(size, len(part)))
        yield collator([part[i] for i in shown]), len(rows)
