"""Several conversations in one row, in place of padding, without seeing each other.

The language model is told where each begins by position ids that start again at 0, from which
transformers makes the attention mask. What is learned is what separate rows would teach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deft_llm.deft.configuration_deft import IGNORE_INDEX
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftFeatureExtractor, DeftProcessor
from deft_llm.deft.tuning.datasets import Collator
from deft_llm.deft.tuning.model import evaluating
from deft_llm.deft.tuning.stage_settings import Stage
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.errors import UserError

_PROBE = (7, 5, 6)  # tokens of the conversations that a language model is tried with
_TOLERANCE = 0.05  # of the largest logit; kernels of other shapes round differently in bfloat16


def make_collator(processor: DeftProcessor, stage: Stage, text: TextModel) -> Collator:
    """The collator of a stage: with a row for each conversation, or with packed rows."""
    extractor, pad = processor.feature_extractor, processor.tokenizer.pad_token_id
    if not stage.packing:
        return Collator(extractor, pad)
    # FlashAttention looks for the beginnings in a single row only; its cost does not grow with it.
    one_row = text.attention == "flash_attention_2"
    return PackedCollator(extractor, pad, None if one_row else stage.packing)


class PackedCollator(Collator):
    """Puts conversations into shared rows.

    Args:
        extractor: Scales features.
        pad_token_id: Fills the ends of rows.
        tokens: Largest length of a shared row; None puts all into one.
    """

    def __init__(
        self, extractor: DeftFeatureExtractor, pad_token_id: int, tokens: int | None
    ) -> None:
        super().__init__(extractor, pad_token_id)
        self.tokens = tokens

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows of a data set -> one batch; clips stay in the order of their conversations."""
        groups = shared_rows([len(row["input_ids"]) for row in rows], self.tokens)
        batch = super().__call__([rows[i] for group in groups for i in group])
        # The mask would hide the beginnings from transformers, and a cache does as well.
        del batch["attention_mask"]
        talks = [[(rows[i]["input_ids"], rows[i]["labels"]) for i in group] for group in groups]
        return {**batch, **packed(talks, self.pad), "use_cache": False}


def shared_rows(lengths: Sequence[int], limit: int | None) -> list[list[int]]:
    """Which conversations share a row: each in turn goes to the first row that has room.

    Args:
        lengths: Tokens of each conversation.
        limit: Tokens of a row; a longer conversation has one alone. None puts all into one row.
    """
    if limit is None:
        return [list(range(len(lengths)))]
    groups: list[list[int]] = []
    room: list[int] = []
    for i, length in enumerate(lengths):
        place = next((k for k, free in enumerate(room) if length <= free), None)
        if place is None:
            groups.append([i])
            room.append(limit - length)
        else:
            groups[place].append(i)
            room[place] -= length
    return groups


def packed(rows: Sequence[Sequence[tuple[list[int], list[int]]]], pad: int) -> dict[str, Tensor]:
    """Ids, labels and position ids (R, L) of R rows of conversations.

    Padding at the end of a row is a conversation of its own that nothing is learned from.
    """
    ids, labels, positions = [], [], []
    longest = max(sum(len(tokens) for tokens, _ in row) for row in rows)
    for row in rows:
        length = sum(len(tokens) for tokens, _ in row)
        filled = [*row, ([pad] * (longest - length), [IGNORE_INDEX] * (longest - length))]
        ids.append([token for tokens, _ in filled for token in tokens])
        # Nothing is learned of a first token: the one before it is another conversation's.
        labels.append([x for _, known in filled for x in [IGNORE_INDEX, *known[1:]][: len(known)]])
        positions.append([i for tokens, _ in filled for i in range(len(tokens))])
    return {
        "input_ids": torch.tensor(ids),
        "labels": torch.tensor(labels),
        "position_ids": torch.tensor(positions),
    }


@torch.no_grad()
def require_separate(model: DeftForConditionalGeneration) -> None:
    """Check that the language model keeps conversations apart that share a row.

    Raises:
        UserError: If one sees another, as in models with recurrent layers.
    """
    text: Any = model.language_model
    ids = torch.arange(1, 1 + sum(_PROBE), device=model.device)[None]
    positions = torch.cat([torch.arange(n) for n in _PROBE]).to(model.device)[None]
    with evaluating(text):
        found = text(input_ids=ids, position_ids=positions, use_cache=False).logits[0].float()
        alone = [text(input_ids=x, use_cache=False).logits[0].float() for x in ids.split(_PROBE, 1)]
    expected = torch.cat(alone)
    if (found - expected).abs().max() > _TOLERANCE * expected.abs().max():
        raise UserError(
            f"packing: in {type(text).__name__} conversations that share a row see each other; "
            "say packing=0"
        )
