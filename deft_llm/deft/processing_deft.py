"""Convert clips and text to model inputs.

``DeftProcessor`` combines the feature extractor with a tokenizer, expands ``<clip>`` into the
experts' placeholder spans, renders conversations, and encodes them with labels on the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from deft_llm import facs
from deft_llm.deft.configuration_deft import EXPERTS, IGNORE_INDEX, SCAN, DeftConfig
from deft_llm.deft.content_parts import CLIP_TOKEN, Conversation, flatten
from deft_llm.deft.feature_extraction_deft import ClipSource, DeftFeatureExtractor, listed
from deft_llm.errors import UserError


def _tokens_of(expert: str) -> tuple[str, str, str]:
    return (f"<{expert}>", f"<{expert}_token>", f"</{expert}>")


SPECIAL_TOKENS: tuple[str, ...] = tuple(t for name in EXPERTS for t in _tokens_of(name))
_MARK = "\ue000"  # a character of private use: no text and no template holds it
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHAT_TOKENS: tuple[str, ...] = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")


def special_tokens(config: DeftConfig) -> list[str]:
    """The tokens of a model's experts."""
    return [token for name in config.experts for token in _tokens_of(name)]


def placeholder(expert: str) -> str:
    """The placeholder token for one token of an expert."""
    return f"<{expert}_token>"


def clip_span(config: DeftConfig) -> str:
    """The text that represents one clip: every expert's placeholders inside its tags."""
    return "".join(
        f"<{name}>{placeholder(name) * count}</{name}>"
        for name, count in config.token_counts().items()
    )


class DeftProcessor(ProcessorMixin):
    """Tokenizer and feature extractor combined."""

    def __init__(
        self,
        feature_extractor: DeftFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        span: str = "",
        prompts: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Combine a feature extractor and a tokenizer.

        Args:
            feature_extractor: Scales features.
            tokenizer: Must know the placeholder tokens (``add_expert_tokens``).
            span: Text that replaces ``<clip>`` (``clip_span``).
            prompts: Name -> question text.
            **kwargs: For ``ProcessorMixin``.

        Raises:
            UserError: If the tokenizer lacks a token of the span.
        """
        known = tokenizer.get_vocab()
        wanted = (*SPECIAL_TOKENS, *_tokens_of(SCAN))
        if missing := [t for t in wanted if t in span and t not in known]:
            raise UserError(
                f"the tokenizer has no token {missing[0]}; take the tokenizer that was saved with "
                "the model, or teach it the experts' tokens (add_expert_tokens)"
            )
        self.span = span
        self.prompts = prompts or {}
        super().__init__(feature_extractor, tokenizer, **kwargs)

    def __call__(
        self,
        text: str | Sequence[str],
        clips: ClipSource | Sequence[ClipSource] | None = None,
        padding: bool | str = True,
        padding_side: str = "left",
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Rendered text with ``<clip>``, and those clips -> model inputs.

        Args:
            text: One text, or one for each row of the batch.
            clips: The clips in order of appearance.
            padding: As for a tokenizer.
            padding_side: "left" lets ``generate`` go on directly after each prompt.
            return_tensors: "pt"; there are no others.

        Returns:
            ``input_ids`` and ``attention_mask`` (B, L), and the clip inputs.

        Raises:
            UserError: If the numbers of ``<clip>`` marks and clips differ, or a clip cannot be
                read.
        """
        if return_tensors != "pt":
            raise UserError(f"return_tensors={return_tensors!r}: expected 'pt', torch's tensors")
        texts = [text] if isinstance(text, str) else list(text)
        marks = sum(t.count(CLIP_TOKEN) for t in texts)
        clips = [] if clips is None else listed(clips)
        if marks != len(clips):
            raise UserError(
                f"{marks} {CLIP_TOKEN} marks in the text, but {len(clips)} clips; "
                f"write {CLIP_TOKEN} once for each clip"
            )
        encoded = self.tokenizer(
            [t.replace(CLIP_TOKEN, self.span) for t in texts],
            # The chat template has written the special tokens already.
            add_special_tokens=False,
            padding=padding,
            padding_side=padding_side,
            return_tensors="pt",
        )
        data = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        if clips:
            data.update(self.feature_extractor(clips))
        return BatchFeature(data)

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        chat_template: str | None = None,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Render one or several conversations, and make the model's inputs of them.

        The content of a message is text, or a list of parts: ``{"type": "text", "text": …}`` and
        ``{"type": "video", "path": …}``; "video" may also be called "clip", and "path" be "clip",
        "video" or "url" with anything that the feature extractor reads.

        Args:
            conversation: Messages with role and content, or a list of such lists.
            chat_template: Another template than the tokenizer's.
            tokenize: Measure the clips and encode the text; otherwise only render.
            return_dict: Return all model inputs, not the token ids alone.
            return_tensors: "pt", or None for the same.
            processor_kwargs: For ``__call__``: padding and padding_side.
            **kwargs: For the template: ``add_generation_prompt``, ``continue_final_message`` …

        Returns:
            The rendered text or texts, with ``<clip>`` for each clip; with ``tokenize``, the token
            ids (B, L) or all inputs.

        Raises:
            UserError: If a part has another type, or a clip is missing or cannot be read.
        """
        batched = not conversation or not isinstance(conversation[0], Mapping)
        talks: Any = conversation if batched else [conversation]
        options = dict(processor_kwargs or {})
        # Many callers pass these beside the template's own arguments.
        options |= {n: kwargs.pop(n) for n in ("padding", "padding_side") if n in kwargs}
        flat = [flatten(talk) for talk in talks]
        texts = self.tokenizer.apply_chat_template(
            [messages for messages, _ in flat],
            chat_template=chat_template,
            tokenize=False,
            **kwargs,
        )
        if not tokenize:
            return texts if batched else texts[0]
        clips = [clip for _, clips in flat for clip in clips]
        inputs = self(texts, clips, return_tensors=return_tensors or "pt", **options)
        return inputs if return_dict else inputs["input_ids"]

    def chat(self, messages: list[dict[str, str]], tools: Sequence[dict[str, Any]] = ()) -> str:
        """Render messages (role, content), followed by the start of an assistant turn.

        Args:
            messages: The conversation.
            tools: Schemas of tools, for templates that know of them.
        """
        return self.tokenizer.apply_chat_template(
            messages, tools=list(tools) or None, tokenize=False, add_generation_prompt=True
        )

    def encode_conversation(self, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
        """Token ids and labels of a conversation; only the assistant's text is labelled.

        Each turn is tokenized separately, so that no token spans question and answer, whatever
        the tokenizer. Templates may render the last answer differently from earlier ones (Qwen3
        opens it with an empty thought), so the labels cover the answer and its end token, after
        the prompt that ``chat`` renders.
        """
        ids: list[int] = []
        labels: list[int] = []
        last, end = -1, ""  # number of the previous answer, and what the template puts after it
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            asked = self.chat(messages[:i] if last < 0 else _marked(messages[:i], last))
            if last >= 0:
                # What the template puts after an answer was learned with that answer.
                asked = asked[asked.rindex(_MARK) + len(_MARK) :].removeprefix(end)
            place, closed = (
                self.tokenizer.apply_chat_template(turns, tokenize=False)
                for turns in (_marked(messages[: i + 1], i), messages[: i + 1])
            )
            at = place.rindex(_MARK)
            answer, last, end = closed[at:], i, place[at + len(_MARK) :]
            for piece, learn in ((asked, False), (answer, True)):
                tokens = self.tokenizer(
                    piece.replace(CLIP_TOKEN, self.span), add_special_tokens=False
                )["input_ids"]
                ids += tokens
                labels += tokens if learn else [IGNORE_INDEX] * len(tokens)
        return ids, labels


def _marked(messages: list[dict[str, str]], number: int) -> list[dict[str, str]]:
    """The messages with a mark for one of them, by which its place in the template is found.

    Its own words would not do: they may stand in a question, and "end" in a template's "<|end|>".
    """
    return [*messages[:number], {**messages[number], "content": _MARK}, *messages[number + 1 :]]


def add_expert_tokens(tokenizer: PreTrainedTokenizerBase, config: DeftConfig) -> int:
    """Add the placeholder tokens to a tokenizer; store their ids and the motion names in config.

    Returns:
        Number of new tokens; resize the model's embeddings if it is not zero.
    """
    added = tokenizer.add_special_tokens(
        {"extra_special_tokens": special_tokens(config)}, replace_extra_special_tokens=False
    )
    for name in config.experts:
        setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(placeholder(name)))
    names = [*(f"AU{number}" for number in config.aus), *facs.REGIONS]
    config.motion_names = [tokenizer(n, add_special_tokens=False)["input_ids"] for n in names]
    return added


AutoProcessor.register(DeftConfig, DeftProcessor)


def padded(talks: Sequence[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """Ids, labels and mask of B conversations, padded on the right, each (B, L)."""
    lengths = torch.tensor([len(ids) for ids, _ in talks])
    longest = int(lengths.max())

    def fill(row: list[int], value: int) -> list[int]:
        return row + [value] * (longest - len(row))

    return {
        "input_ids": torch.tensor([fill(ids, pad) for ids, _ in talks]),
        "labels": torch.tensor([fill(labels, IGNORE_INDEX) for _, labels in talks]),
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
    }
