"""Requests of OpenAI's chat API: what they may hold, and the conversation in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deft_llm.service.openai_errors import ApiError

MODEL = "deft-llm"
_MOST_TEXT = 100_000  # characters of a conversation; a model of this kind reads a few thousand
# Fields that change nothing about an answer; of others, only neutral values are taken.
_HARMLESS = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("parallel_tool_calls", "modalities", "reasoning_effort", "verbosity"),
    }
)
_NEUTRAL: dict[str, Any] = {"n": 1, "top_p": 1, "tool_choice": "none"}


class Part(BaseModel):
    """A content part; which other fields it has depends on its type."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None


class Message(BaseModel):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class ResponseFormat(BaseModel):
    """The form of the answer: a sentence, or all results of the clip as JSON."""

    type: Literal["text", "json_object"]


class StreamOptions(BaseModel):
    """What a stream has besides the answer."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a request for an answer."""

    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    response_format: ResponseFormat | None = None

    @property
    def wants_json(self) -> bool:
        """Whether all results are asked for instead of an answer."""
        return self.response_format is not None and self.response_format.type == "json_object"

    def check(self) -> None:
        """Refuse another model, and fields that would change the answer but are not supported.

        Raises:
            ApiError: Names the field.
        """
        if self.model != MODEL:
            message = f"model {self.model!r}: expected {MODEL!r}, the only one that is served"
            raise ApiError(message, 404, "model_not_found", "model")
        for name, value in (self.model_extra or {}).items():
            # A client may send its defaults: null, 0, false and empty lists ask for nothing.
            if value and name not in _HARMLESS and value != _NEUTRAL.get(name):
                message = f"{name}: not supported; leave it out"
                raise ApiError(message, 400, "unsupported_parameter", name)


@dataclass(frozen=True)
class Conversation:
    """A conversation about one clip.

    Attributes:
        turns: Earlier (question, answer) pairs.
        question: The new question; may be empty when all results are asked for.
        clips: The parts that hold or name a clip, in order of appearance.
    """

    turns: tuple[tuple[str, str], ...]
    question: str
    clips: tuple[Part, ...]


def conversation_of(request: ChatRequest) -> Conversation:
    """Sort the messages of a request into turns and clips; system messages are passed over.

    Raises:
        ApiError: If roles do not alternate, the last is not the user's, or a part is none of ours.
    """
    # The conversation has a system prompt of its own, with what was measured.
    spoken = [m for m in request.messages if m.role in ("user", "assistant")]
    roles = [message.role for message in spoken]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        message = (
            f"messages: roles {', '.join(roles) or 'of no user'}; expected user and assistant in "
            "turn, the user first and last"
        )
        raise ApiError(message, param="messages")
    clips: list[Part] = []
    texts = [" ".join(_texts(message, clips)) for message in spoken]
    if sum(map(len, texts)) > _MOST_TEXT:
        message = f"messages: expected at most {_MOST_TEXT} characters in all; leave the oldest out"
        raise ApiError(message, param="messages")
    # Questions are at even places, answers between them, the new question last.
    turns = tuple(zip(texts[:-1:2], texts[1::2], strict=True))
    return Conversation(turns, texts[-1], tuple(clips))


def _texts(message: Message, clips: list[Part]) -> Iterator[str]:
    """The texts of a message; parts with clips are added to ``clips``."""
    if isinstance(message.content, str):
        yield message.content
        return
    for part in message.content:
        if part.type == "text":
            if part.text is None:
                raise ApiError("content part of type 'text': no field text", param="messages")
            yield part.text
        elif part.type in ("video_url", "image_url", "file") and message.role == "user":
            clips.append(part)
        else:
            message_text = (
                f"content part of type {part.type!r} from the {message.role}: expected text, and "
                "from the user also video_url, image_url or file"
            )
            raise ApiError(message_text, param="messages")


def data_url(value: Any) -> str:
    """The base64 text of a ``data:`` URL, after its comma.

    Raises:
        ApiError: If it is another URL: nothing is fetched, and no file of this machine is read.
    """
    if not isinstance(value, str) or not value.startswith("data:"):
        message = (
            "url: expected a data: URL that holds the clip; this server opens no address and no "
            "path; upload the clip with POST /v1/files instead"
        )
        raise ApiError(message, param="messages")
    head, comma, data = value.partition(",")
    if not comma or not head.endswith(";base64"):
        message = "url: expected data:video/mp4;base64,… with the clip's bytes"
        raise ApiError(message, param="messages")
    return data
