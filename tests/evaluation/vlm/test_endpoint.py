"""A model behind an endpoint, and what goes wrong there."""

from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.base import VlmChoice
from deft_llm.evaluation.vlm.loading import load_vlm
from tests.evaluation.conftest import Server, said

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def choice(server: Server, **more: object) -> VlmChoice:
    return VlmChoice.model_validate({"model": "m", "endpoint": server.url, **more})


def test_a_question_with_a_picture(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    vlm = load_vlm(choice(server, api_key_variable="MY_KEY"))
    assert vlm.write([PICTURE], "Which?", 7) == "negative"
    assert vlm.log_likelihoods([PICTURE], "Which?", ["a"]) is None
    (asked,) = server.asked
    assert asked["path"] == "/v1/chat/completions" and asked["headers"]["Authorization"] == (
        "Bearer secret"
    )
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("m", 7, 0)
    picture, text = asked["messages"][0]["content"]
    assert text == {"type": "text", "text": "Which?"}
    data = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    read = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read[..., ::-1], PICTURE)


def test_a_busy_server_is_asked_again(server: Server) -> None:
    states = iter([(503, b"busy"), (200, said(" positive\n"))])
    server.reply = lambda _: next(states)
    assert load_vlm(choice(server)).write([], "?", 1) == "positive"


@pytest.mark.parametrize(
    ("state", "body", "named", "tries"),
    [
        (404, {"error": {"message": "no model\nm"}}, "status 404: no model m", 1),
        (500, "x" * 500, "status 500: x{200}\\)", 3),
        (200, {"choices": []}, "expected a chat completion, got '{", 1),
        (200, {"choices": [{"message": {"content": None}}]}, "expected a chat completion", 1),
        (200, "<html>", "expected a chat completion, got '<html>'", 1),
    ],
)
def test_what_is_no_answer(
    server: Server, state: int, body: object, named: str, tries: int
) -> None:
    reply = body if isinstance(body, str) else json.dumps(body)
    server.reply = lambda _: (state, reply.encode())
    with pytest.raises(UserError, match=named):
        load_vlm(choice(server)).write([], "?", 1)
    assert len(server.asked) == tries


def test_nobody_listens(server: Server) -> None:
    vlm = load_vlm(choice(server, endpoint="http://127.0.0.1:9/v1"))
    with pytest.raises(UserError, match=r"no answer of m \(.*refused.*start the server"):
        vlm.write([], "?", 1)
    with pytest.raises(UserError, match="expected an address such as"):
        load_vlm(choice(server, endpoint="localhost:8000"))
