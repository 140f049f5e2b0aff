"""Steps of one answer in a conversation: check the request, build the prompt, draw tokens.

A generation loop of our own instead of ``generate``: the caller gets each token as soon as it is
drawn and can stop at any time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import CLIP_TOKEN, DeftProcessor
from deft_llm.errors import UserError
from deft_llm.queries.query import MOST_CHARACTERS

_MARKS = re.compile(r"[<>|]")  # models mark places and turns by words between these
HALF_A_LETTER = "\ufffd"  # tokenizers decode the bytes of an incomplete character to this


def untagged(text: str) -> str:
    """Some text without the marks of a model's own tags, which could pass for a clip or a turn."""
    # Bytes of a command line that are no text arrive as surrogates, which no tokenizer takes.
    return _MARKS.sub(" ", text.encode("utf-8", "replace").decode()).strip()


def check_request(question: str, temperature: float, ablate: Sequence[str]) -> None:
    """Check a request before doing any work.

    Raises:
        UserError: If the question is empty or too long, the temperature negative, or an expert
            unknown.
    """
    if not untagged(question):
        raise UserError("the question is empty; ask for example: Which action units are active?")
    if len(question) > MOST_CHARACTERS:
        raise UserError(f"question of {len(question)} characters; expected 1 to {MOST_CHARACTERS}")
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
    tools: Sequence[dict[str, Any]] = (),
) -> Tensor:
    """Token ids (1, L) of a conversation about one clip; drops the oldest turns if it is too long.

    Args:
        processor: The model's processor.
        turns: Earlier (question, answer) pairs.
        question: The new question.
        limit: Context length of the language model, tokens.
        room: Tokens reserved for the answer, at most half of the limit.
        tools: Schemas of the tools that the model may call.

    Raises:
        UserError: If the question alone is too long.
    """
    longest = limit - min(room, limit // 2)
    for first in range(len(turns) + 1):
        messages: list[dict[str, str]] = []
        for asked, answered in turns[first:]:
            messages += [{"role": "user", "content": untagged(asked)}]
            messages += [{"role": "assistant", "content": untagged(answered)}]
        messages.append({"role": "user", "content": untagged(question)})
        # The clip stays in the first turn that is left, so dropping turns never drops the clip.
        messages[0] = {"role": "user", "content": CLIP_TOKEN + messages[0]["content"]}
        prompt = processor.chat(messages, tools).replace(CLIP_TOKEN, processor.span)
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
    """Yield the tokens of an answer; never ends, so the caller has to stop at the end token.

    Args:
        model: The model.
        prompt: (1, L) token ids with the placeholders of one clip.
        expert_tokens: ``model.get_clip_features`` of that clip.
        temperature: 0 takes the likeliest token; above 0, tokens are sampled.
    """
    step, cache = prompt.to(model.device), None
    clip: dict[str, Any] = {"expert_tokens": expert_tokens}
    while True:
        out = model(input_ids=step, past_key_values=cache, use_cache=True, **clip)
        token = _draw(out.logits[0, -1], temperature)
        yield token
        # After the first step the cache holds prompt and clip.
        step, cache, clip = torch.full_like(step[:, :1], token), out.past_key_values, {}


def _draw(logits: Tensor, temperature: float) -> int:
    """The next token from its scores (V,)."""
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits.float() / temperature).softmax(-1), 1))
