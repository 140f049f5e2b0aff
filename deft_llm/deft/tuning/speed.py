"""How fast this machine trains the networks of a recipe: a few passes, measured."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.tuning.cost import (
    conversation_tokens,
    expert_operations,
    text_operations,
)
from deft_llm.deft.tuning.sizes import empty_clips
from deft_llm.machine import takes_bfloat16, use_all_cores

_ROWS = 8  # enough for the speed of a batch, at a fraction of its memory
_PASSES = 3  # the first one warms up


def measured_speed(model: DeftForConditionalGeneration, name: str, bf16: bool) -> float:
    """FLOP/s of passes forwards and backwards on this machine's CPU.

    Weights are random and the inputs zeros, which take as long as others. The optimizer's step is
    not in it, nor is what reads the data.

    Args:
        model: The recipe's ``skeleton``.
        name: The stage: "experts" for the experts, another for the language model.
        bf16: Whether the stage asks for bfloat16.
    """
    use_all_cores()
    with torch.random.fork_rng(devices=[]):
        real = DeftForConditionalGeneration(model.config).train()
    loss_of, operations_of = (
        (_expert_loss, expert_operations) if name == "experts" else (_text_loss, text_operations)
    )
    seconds = []
    for _ in range(_PASSES):
        # Of this thread, which has its share of all parallel work: what else the machine is busy
        # with for the moment does not count.
        began = time.thread_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=takes_bfloat16(bf16)):
            loss = loss_of(real)
        loss.backward()
        seconds.append(time.thread_time() - began)
    # A pass backwards takes twice the operations of one forwards.
    return 3 * _ROWS * operations_of(model) / min(seconds[1:])


def _expert_loss(model: DeftForConditionalGeneration) -> Tensor:
    emotions, aus = model.heads(model.experts(**empty_clips(model.config, _ROWS)))
    loss: Tensor = emotions.float().sum() + aus.float().sum()
    return loss


def _text_loss(model: DeftForConditionalGeneration) -> Tensor:
    words = torch.zeros(_ROWS, conversation_tokens(model), dtype=torch.long)
    loss: Tensor = model.language_model(input_ids=words, labels=words).loss
    return loss
