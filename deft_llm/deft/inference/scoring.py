"""Label likelihoods, which give the class: that of each label as the whole answer text.

No parsing is involved, so a free-text model is scored like a classifier with a fixed label set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import CLIP_TOKEN, IGNORE_INDEX, DeftProcessor, padded


@dataclass
class Answers:
    """The model's outputs for a batch of clips, unchecked.

    Attributes:
        log_likelihoods: (B, L) over the label set "coarse", with what codings say.
        texts: Structured answers as generated.
        au_probabilities: (B, K, 2) from the AU head, left and right.
        emotion_probabilities: (B, E) from the emotion head.
    """

    log_likelihoods: Tensor
    texts: list[str]
    au_probabilities: Tensor
    emotion_probabilities: Tensor


def answered(
    processor: DeftProcessor, question: str, labels: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Ids and labels of a question about a clip, with each of L labels as the complete answer."""
    asked = {"role": "user", "content": CLIP_TOKEN + question}
    return [
        processor.encode_conversation([asked, {"role": "assistant", "content": label}])
        for label in labels
    ]


@torch.inference_mode()
def label_log_likelihoods(
    model: DeftForConditionalGeneration,
    processor: DeftProcessor,
    expert_tokens: dict[str, Tensor],
    question: str,
    labels: Sequence[str],
) -> Tensor:
    """Log-likelihood of every label as the complete answer, including the end of the turn.

    Args:
        model: The model.
        processor: Its processor.
        expert_tokens: ``model.get_clip_features`` of B clips.
        question: The question, asked about each clip separately.
        labels: L answers.

    Returns:
        (B, L); a softmax over L gives probabilities over the fixed labels.
    """
    clips = len(next(iter(expert_tokens.values())))
    batch = padded(answered(processor, question, labels), processor.tokenizer.pad_token_id)
    batch = {name: rows.repeat(clips, 1).to(model.device) for name, rows in batch.items()}
    wanted = batch.pop("labels")[:, 1:]
    output = model(
        **batch,
        expert_tokens={k: v.repeat_interleave(len(labels), 0) for k, v in expert_tokens.items()},
        use_cache=False,
    )
    # Logits at position t predict token t + 1, hence the shift of logits and labels.
    log_probs = output.logits[:, :-1].float().log_softmax(-1)
    # The clamp makes -100 a valid index for gather; those positions are masked out below.
    picked = log_probs.gather(-1, wanted.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    # With the end token these are likelihoods of complete answers, so none contains another.
    return (picked * (wanted != IGNORE_INDEX)).sum(1).view(clips, len(labels))
