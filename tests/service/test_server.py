"""The OpenAI-compatible server: its forms, and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deft_llm.deft.inference.answer import Answer
from deft_llm.errors import UserError
from deft_llm.service.clip_service import ClipResult

pytest.importorskip("fastapi", reason="serving needs the extra serve (or demo)")
from starlette.testclient import TestClient

from .serving import FOUND, SAID, VIDEO, Served, ask, body, clip, data, events, upload, user

# --------------------------------------------------------------------------------- answers


def test_an_answer_has_openais_form_and_its_evidence(served: Served, client: TestClient) -> None:
    found = ask(client).json()
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": SAID[1], "refusal": None}
    assert (found["object"], found["model"]) == ("chat.completion", "deft-llm")
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 50 and choice["finish_reason"] == "stop"
    sentence = found["evidence"][-1]
    assert sentence["supported"] and sentence["regions"] == ["left inner brow"]
    assert (found["query"], found["polarity"], found["facts"]) == ("moved?", "yes", [])


def test_a_stream_says_the_same(client: TestClient) -> None:
    whole = ask(client).json()
    response = ask(client, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage = events(response)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == whole["choices"][0]["message"]["content"] and len(pieces) == 3
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None, None, "stop"]
    assert chunks[-1]["evidence"] == whole["evidence"]
    assert chunks[-1]["query"] == whole["query"]
    assert usage["choices"] == [] and usage["usage"] == whole["usage"]
    assert len({chunk["id"] for chunk in [*chunks, usage]}) == 1


def test_a_conversation_goes_on_about_the_same_clip(served: Served, client: TestClient) -> None:
    first = user(clip(), "What", "moved?")
    ask(client, first)
    system = {"role": "system", "content": "Be brief."}
    earlier = {"role": "assistant", "content": [{"type": "text", "text": "The brow."}]}
    ask(client, system, first, earlier, user(clip(), "Why <b>?"), temperature=0.5)
    assert served.asked == [
        ([], "What moved?", 0.0),
        ([("What moved?", "The brow.")], "Why  b ?", 0.5),
    ]
    assert len(served.explained) == 1, "the clip is not measured again"
    assert served.files() == [], "a video is deleted once it is measured"


def test_a_limit_of_tokens_ends_an_answer(client: TestClient) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        found = ask(client, **{name: 1}).json()["choices"][0]
        assert found["message"]["content"] == SAID[0] and found["finish_reason"] == "length"


def test_all_results_come_as_json(served: Served, client: TestClient) -> None:
    form = {"response_format": {"type": "json_object"}}
    found = ask(client, user(clip()), **form).json()["choices"][0]["message"]["content"]
    assert json.loads(found)["explanation"]["emotion"] == "surprise"
    streamed = events(ask(client, user(clip()), stream=True, **form))
    assert streamed[0]["choices"][0]["delta"]["content"] == found
    assert served.asked == []


def test_an_uploaded_clip_is_kept_until_it_is_deleted(served: Served, client: TestClient) -> None:
    stored = upload(client).json()
    assert (stored["object"], stored["bytes"], stored["filename"]) == (
        "file",
        len(VIDEO),
        "clip.mp4",
    )
    assert served.files() == [f"{stored['id']}/clip.mp4"]
    assert client.get("/v1/files").json()["data"] == [stored]
    named = {"type": "file", "file": {"file_id": stored["id"]}}
    for _ in range(2):
        assert ask(client, user(named, "Why?")).status_code == 200
    assert len(served.explained) == 1 and served.files() == []
    assert client.get(f"/v1/files/{stored['id']}").json() == stored
    assert client.delete(f"/v1/files/{stored['id']}").json()["deleted"]
    assert ask(client, user(named, "Why?")).status_code == 404
    assert client.get(f"/v1/files/{stored['id']}").status_code == 404


def png(grey: int) -> bytes:
    return cv2.imencode(".png", np.full((64, 64, 3), grey, np.uint8))[1].tobytes()


def test_images_are_the_frames_of_a_clip(served: Served, client: TestClient) -> None:
    images = [
        {"type": "image_url", "image_url": {"url": data(png(grey), "image/png")}}
        for grey in (1, 2, 3)
    ]
    seen: list[int] = []
    keep = served.service.explain

    def explain(path: Path) -> ClipResult:
        seen.append(len(list(path.iterdir())))
        return keep(path)

    served.service.explain = explain  # type: ignore[method-assign, assignment]
    assert ask(client, user(*images, "Why?")).status_code == 200
    assert seen == [3] and served.files() == []
    assert "shows no motion" in ask(client, user(images[0], "Why?")).json()["error"]["message"]


def test_a_file_inside_the_request(served: Served, client: TestClient) -> None:
    file = {"file_data": data(kind="video/quicktime"), "filename": "a/b.mov"}
    assert ask(client, user({"type": "file", "file": file}, "Why?")).status_code == 200
    assert served.explained[0].name == "b.mov"
    assert ask(client, user(clip(data(kind="video/x-matroska")), "Why?")).status_code == 200
    assert len(served.explained) == 1, "the same bytes are the same clip"


def test_models_and_health(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert client.get(f"/v1/models/{model['id']}").json() == model
    assert client.get("/healthz").json() == {"status": "ok"}


# ---------------------------------------------------------------------------------- errors

IMAGE = {"type": "image_url", "image_url": {"url": data(b"GIF89a", "image/png")}}


@pytest.mark.parametrize(
    ("request_body", "status", "reason"),
    [
        (body(model="gpt-4o"), 404, "expected 'deft-llm'"),
        (body(n=2), 400, "n: not supported"),
        (body(tools=[{"type": "function"}]), 400, "tools: not supported"),
        (body(stop=["."]), 400, "stop: not supported"),
        (body(top_p=0.5), 400, "top_p: not supported"),
        (body(temperature=3), 400, "temperature: "),
        (body(max_tokens=0), 400, "max_tokens: "),
        (body(response_format={"type": "json_schema"}), 400, "response_format.type: "),
        (body() | {"messages": []}, 400, "messages: "),
        ({"messages": []}, 400, "model: Field required"),
        (body({"role": "tool", "content": "a"}), 400, "messages.0.role: "),
        (body({"role": "user"}), 400, "messages.0.content: Field required"),
        (body({"role": "assistant", "content": "a"}), 400, "the user first and last"),
        (body(user(clip(), "a"), user("b")), 400, "the user first and last"),
        (body({"role": "system", "content": "a"}), 400, "the user first and last"),
        (body(*([{"role": "user", "content": "a"}] * 201)), 400, "messages: List should have"),
        (body(user(clip(), "x" * 100_001)), 400, "at most 100000 characters"),
        (body(seed=2**70), 400, "seed: "),
        (body(user("Why?")), 400, "0 clips in the conversation"),
        (body(user(clip(), clip(data(b"other")), "Why?")), 400, "2 clips"),
        (body(user(clip(), "")), 400, "question of 0 characters"),
        (body(user(clip(), "x" * 501)), 400, "question of 501 characters"),
        (body(user({"type": "input_audio", "input_audio": {}}, "a")), 400, "'input_audio'"),
        (body(user({"type": "text"}, clip())), 400, "'text': no field text"),
        (body(user({"type": "video_url"}, "a")), 400, "expected a data: URL"),
        (body(user(clip([3]), "a")), 400, "expected a data: URL"),
        (body(user(clip("data:video/mp4;base64,%%"), "a")), 400, "no base64"),
        (body(user(clip("data:video/mp4,abc"), "a")), 400, "expected data:video/mp4;base64"),
        (body(user(clip(data(b"no video")), "a")), 400, "expected a video"),
        (body(user(clip(data(b"\0" * 99)), "a")), 400, "not a readable video"),
        (body(user(clip(data(kind="text/html")), "a")), 400, "expected a video"),
        (body(user(clip(data(b"\0" * 100_500)), "a")), 413, "POST /v1/files"),
        (body(user(IMAGE, IMAGE, "a")), 400, "image 0: expected a PNG or JPEG"),
        (body(user({"type": "file", "file": {"file_id": "file-1"}}, "a")), 404, "no such file"),
        (body(user({"type": "file", "file": 3}, "a")), 404, "no such file"),
    ],
)
def test_a_wrong_request_is_told_in_openais_form(
    served: Served, client: TestClient, request_body: Any, status: int, reason: str
) -> None:
    for stream in (False, True):
        response = client.post("/v1/chat/completions", json={**request_body, "stream": stream})
        error = response.json()["error"]
        assert (response.status_code, set(error)) == (status, {"message", "type", "param", "code"})
        assert reason in error["message"] and "\n" not in error["message"]
        assert str(served.store.folder) not in error["message"]
        assert served.files() == [] and served.asked == []


def test_what_is_no_json_or_has_no_such_address(client: TestClient) -> None:
    for content, kind in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
        # A form of another site may send this without being asked whether it may.
        (json.dumps(body()).encode(), "text/plain"),
    ):
        found = client.post("/v1/chat/completions", content=content, headers={"content-type": kind})
        assert found.status_code == 400 and found.json()["error"]["type"] == "invalid_request_error"
    json_of = {"content-type": "application/json"}
    cut = client.post("/v1/chat/completions", content=b'{"model": "a', headers=json_of)
    assert "body: not JSON (" in cut.json()["error"]["message"]
    missing = client.post("/v1/responses", json={})
    assert missing.status_code == 404 and "POST /v1/files" in missing.json()["error"]["message"]
    assert client.get("/v1/chat/completions").status_code == 405
    assert client.get("/docs").status_code == 404, "its page would load scripts from elsewhere"


def test_a_fault_of_ours_shows_nothing_of_the_machine(
    served: Served, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.fault = RuntimeError(f"secret of {served.store.folder}")
    found = ask(client)
    assert found.status_code == 500 and found.json()["error"]["type"] == "server_error"
    assert "secret" not in found.text
    served.fault = UserError(f"{served.store.folder}/inline/clip.mp4: no face found")
    assert ask(client).json()["error"]["message"] == "clip.mp4: no face found"
    assert served.files() == [], "a clip that cannot be read is not kept"
    served.fault = None

    class Broken(Answer):
        def growing(self) -> Iterator[str]:
            yield "The left"
            raise RuntimeError("secret")

    monkeypatch.setattr(served.service, "answer", lambda *_: Broken("", FOUND))
    response = ask(client, stream=True)
    assert response.status_code == 200 and "secret" not in response.text
    assert events(response)[-1]["error"]["type"] == "server_error"
