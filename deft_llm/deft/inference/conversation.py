"""The steps of one answer in a conversation: request, prompt, one token after the other.

Own loop over the cache instead of ``generate``: the caller gets each token when it is there, and
may stop asking for more at any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import CLIP_TOKEN, DeftProcessor
from deft_llm.errors import UserError

HALF_A_LETTER = "\ufffd"  # what tokenizers make of bytes whose letter is not complete


def check_request(question: str, temperature: float, ablate: Sequence[str]) -> None:
    """Refuse what cannot be answered.

    Raises:
        UserError: If the question is empty, the temperature negative, or an expert unknown.
    """
    if not question.strip():
        raise UserError("the question is empty; ask for example: Which action units are active?")
    if not 0 <= temperature < math.inf:
        raise UserError(f"temperature {temperature}: expected 0 (the likeliest words) or above")
    if unknown := sorted(set(ablate) - set(EXPERTS)):
        raise UserError(f"expert {unknown[0]!r}: expected one of {', '.join(EXPERTS)}")


def fitting_prompt(
    processor: DeftProcessor,
    turns: Sequence[tuple[str, str]],
    question: str,
    limit: int,
    room: int,
) -> Tensor:
    """Token ids (1, L) of a conversation about one clip, its oldest turns left out if it must be.

    Args:
        processor: Of the model.
        turns: Earlier (question, answer) pairs.
        question: The new question.
        limit: Tokens that the language model can read.
        room: Tokens that are kept for the answer, but at most half of the limit.

    Raises:
        UserError: If the question alone is too long.
    """
    longest = limit - min(room, limit // 2)
    for first in range(len(turns) + 1):
        messages: list[dict[str, str]] = []
        for asked, answered in turns[first:]:
            messages += [{"role": "user", "content": asked}]
            messages += [{"role": "assistant", "content": answered}]
        messages.append({"role": "user", "content": question})
        messages[0] = {"role": "user", "content": CLIP_TOKEN + messages[0]["content"]}
        prompt = processor.chat(messages).replace(CLIP_TOKEN, processor.span)
        ids: Tensor = processor(prompt)["input_ids"]
        if ids.shape[1] <= longest:
            return ids
    raise UserError(
        f"question of {len(question)} characters: with the clip it has {ids.shape[1]} tokens; "
        f"expected at most {longest}; ask something shorter"
    )


def draw_tokens(
    model: DeftForConditionalGeneration,
    prompt: Tensor,
    expert_tokens: dict[str, Tensor],
    temperature: float,
) -> Iterator[int]:
    """The tokens of an answer without end: stop asking at the end token.

    Args:
        model: The model.
        prompt: (1, L) token ids with the placeholders of one clip.
        expert_tokens: ``model.get_clip_features`` of that clip.
        temperature: 0 takes the likeliest token; above, tokens are drawn.
    """
    step, cache = prompt.to(model.device), None
    clip: dict[str, Any] = {"expert_tokens": expert_tokens}
    while True:
        out = model(input_ids=step, past_key_values=cache, use_cache=True, **clip)
        token = _draw(out.logits[0, -1], temperature)
        yield token
        step, cache, clip = torch.full_like(step[:, :1], token), out.past_key_values, {}


def _draw(logits: Tensor, temperature: float) -> int:
    """The next token from its scores (V,)."""
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits.float() / temperature).softmax(-1), 1))
