"""A vision-language model behind an OpenAI-compatible endpoint, such as a local vLLM.

Pictures are sent in the request, as PNG. The endpoint writes; it does not tell the likelihood of
whole answers, so what it writes is read.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import cv2

from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.base import NoAnswer, VlmChoice
from deft_llm.evaluation.vlm.views import Image

_TRIES = 3
_PAUSE_S = 1.0  # before the second try, and twice that before the third
_SHOWN = 200  # characters of an error that the server sends
_FOR_LATER = frozenset({408, 429, 500, 502, 503, 504})  # states of a server that may pass


class EndpointVlm:
    """A model on a server.

    Args:
        choice: The server, and the model's name there.

    Raises:
        UserError: If the address is none of http.
    """

    def __init__(self, choice: VlmChoice) -> None:
        base = (choice.endpoint or "").rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise UserError(
                f"endpoint {choice.endpoint!r}: expected an address such as "
                "http://localhost:8000/v1"
            )
        self.url, self.choice = f"{base}/chat/completions", choice
        self.pause = _PAUSE_S

    def write(self, pictures: Sequence[Image], question: str, tokens: int) -> str:
        """See ``Vlm``; a server that is busy is asked again, twice.

        Raises:
            NoAnswer: If it does not answer, refuses, or answers something else.
        """
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures
        ]
        content.append({"type": "text", "text": question})
        request = {
            "model": self.choice.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": tokens,
        }
        reply = self._sent(json.dumps(request).encode())
        try:
            text = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            shown = reply[:_SHOWN].decode("utf-8", "replace")
            raise NoAnswer(f"{self.url}: expected a chat completion, got {shown!r}")
        return text.strip()

    def log_likelihoods(
        self, pictures: Sequence[Image], question: str, labels: Sequence[str]
    ) -> None:
        """See ``Vlm``: it does not tell them."""
        return None

    def _sent(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.choice.api_key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, body, headers)
        reason = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(attempt * self.pause)
            try:
                with urllib.request.urlopen(request, timeout=self.choice.timeout_s) as response:
                    reply: bytes = response.read()
                    return reply
            except urllib.error.HTTPError as error:
                reason = f"status {error.code}: {_message(error)}"
                if error.code not in _FOR_LATER:
                    break
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise NoAnswer(
            f"{self.url}: no answer of {self.choice.model} ({reason}); start the server, then give "
            "the same command: it goes on"
        )


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says of an error, in one line."""
    text = error.read(10 * _SHOWN).decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["error"]["message"]
    return " ".join(str(text).split())[:_SHOWN]


def _data_url(picture: Image) -> str:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"
