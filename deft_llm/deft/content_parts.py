"""Messages whose content is a list of parts, as transformers and OpenAI's API write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deft_llm.errors import UserError

CLIP_TOKEN = "<clip>"
Conversation = Sequence[Mapping[str, Any]]
_CLIP_TYPES = ("video", "clip")
_SOURCES = ("path", "video", "clip", "url")


def flatten(conversation: Conversation) -> tuple[list[dict[str, Any]], list[Any]]:
    """Write the parts of each message as one text, which every chat template can render.

    Args:
        conversation: Messages; content is text, or a list of text and clip parts.

    Returns:
        The messages, with ``<clip>`` in place of each clip, and what the clip parts name, in order
        of appearance; parts that name nothing add nothing.

    Raises:
        UserError: If a message or part is malformed, or a part has another type.
    """
    messages: list[dict[str, Any]] = []
    clips: list[Any] = []
    for message in conversation:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise UserError(f"message {message!r:.80}: expected a mapping with role and content")
        content = message["content"]
        parts = [content] if isinstance(content, str) else content
        if not isinstance(parts, list | tuple):
            raise UserError(f"content {content!r:.80}: expected a text, or a list of parts")
        text = "".join(_text_of(part, clips) for part in parts)
        messages.append({**message, "content": text})
    return messages, clips


def _text_of(part: Any, clips: list[Any]) -> str:
    """The text of a part; what a clip part names is added to ``clips``."""
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind in _CLIP_TYPES:
        clips += [part[name] for name in _SOURCES if part.get(name) is not None][:1]
        return CLIP_TOKEN
    raise UserError(
        f"content part {part!r:.80}: expected {{'type': 'text', 'text': …}} or "
        "{'type': 'video', 'path': …}; the model reads clips, no single images and no sound"
    )
