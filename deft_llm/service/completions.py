"""Answers in the form of OpenAI's chat API, whole or as a stream of server-sent events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import torch

from deft_llm.deft.inference import explainer as inference
from deft_llm.deft.inference.conversation import fitting_prompt
from deft_llm.errors import UserError
from deft_llm.service.chat_request import MODEL, ChatRequest, Conversation
from deft_llm.service.clip_service import ClipResult, ClipService, ModelChoice
from deft_llm.service.clip_store import ClipStore, StoredClip
from deft_llm.service.evidence import sentence_rows
from deft_llm.service.models import EMBEDDED


def look_at(clip: StoredClip, service: ClipService, store: ClipStore) -> ClipResult:
    """Measure and explain a clip when it is asked about for the first time; delete its file.

    Raises:
        UserError: If it cannot be read or shows no face, or its file is gone.
    """
    if clip.seen is None:
        if not clip.path.exists():
            raise UserError("the clip is gone, as newer ones took its place; send it again")
        try:
            clip.seen = service.explain(clip.path)
        # A clip that cannot be read once cannot be read twice.
        except UserError:
            store.remove(clip.id)
            raise
        store.delete_file(clip)
    return clip.seen


@dataclass
class Answer:
    """An answer that is being written.

    Attributes:
        request: What was asked for.
        seen: The clip.
        prompt_tokens: Tokens of the conversation, the clip's among them.
        id: Of the completion.
        created: Unix time, seconds.
        text: What has been written.
        tokens: Tokens of the text.
        finish: Why it ended, "stop" or "length"; None while it is written.
        found: Its query and facts, JSON-ready (``Findings.to_dict``); empty for all results.
    """

    request: ChatRequest
    seen: ClipResult
    prompt_tokens: int = 0
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    text: str = ""
    tokens: int = 0
    finish: str | None = None
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def usage(self) -> dict[str, int]:
        """Numbers of tokens."""
        total = self.prompt_tokens + self.tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": total,
        }

    @property
    def evidence(self) -> list[dict[str, Any]]:
        """Each sentence with the measurements that it rests on, and whether they bear it out."""
        if self.request.wants_json:
            return []
        return sentence_rows(self.text, self.seen)

    def completion(self) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return {
            **self._head("chat.completion", [choice]),
            "usage": self.usage,
            "evidence": self.evidence,
            **self.found,
        }

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> str:
        """An event with the next piece of the answer; the last one has the reason of its end."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head("chat.completion.chunk", [choice]), **more})

    def usage_chunk(self) -> str:
        """An event with the numbers of tokens alone."""
        return event({**self._head("chat.completion.chunk", []), "usage": self.usage})

    def _head(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            **{"id": self.id, "object": kind, "created": self.created, "model": MODEL},
            "choices": choices,
        }


def event(values: Any) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(values, ensure_ascii=False)}\n\n"


def write(answer: Answer, asked: Conversation, service: ClipService) -> Iterator[str]:
    """Write an answer; fills it in, and yields each new piece of its text.

    Raises:
        UserError: If the question is empty or too long.
    """
    request = answer.request
    if request.wants_json:
        yield _all_results(answer)
        return
    explainer = service.models.get(EMBEDDED)
    question = service.question(asked.question)
    tokenizer = explainer.processor.tokenizer
    context = explainer.model.config.text_config.max_position_embeddings
    room = inference.MAX_NEW_TOKENS
    prompt = fitting_prompt(explainer.processor, asked.turns, question, context, room)
    answer.prompt_tokens = prompt.shape[1]
    limits = (request.max_completion_tokens, request.max_tokens, room)
    # The new name, and the one that older clients send.
    most = min(limit for limit in limits if limit is not None)
    if request.seed is not None:
        # Exact while nobody else asks, as draws of other answers come in between.
        torch.manual_seed(request.seed)
    choice = ModelChoice(temperature=request.temperature or 0.0)
    written = service.answer(answer.seen, asked.turns, question, choice)
    answer.found = written.findings.to_dict()
    for text in written.growing():
        new, answer.text = text[len(answer.text) :], text
        # Counted anew: the last token of the piece before may have become another.
        answer.tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        yield new
        if answer.tokens >= most:
            break
    answer.finish = "length" if answer.tokens >= most else "stop"


def _all_results(answer: Answer) -> str:
    """Everything that was measured and explained, as in a report's explanation.json."""
    answer.text = json.dumps(answer.seen.record(), ensure_ascii=False)
    answer.finish = "stop"
    return answer.text
