"""The OpenAI-compatible server: its forms, its limits, and what it never opens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from deft_llm.clip import Explanation
from deft_llm.deft.inference.answer import Answer
from deft_llm.errors import UserError
from deft_llm.media.video import encode_h264
from deft_llm.motion.measure import Measurement
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import Query
from deft_llm.service.clip_service import ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import LIMITS, Limits, check_video
from deft_llm.service.models import Models
from deft_llm.service.sessions import MOST
from deft_llm.viz.report import ClipInfo

pytest.importorskip("fastapi", reason="serving needs the extra serve (or demo)")
import uvicorn
from starlette.testclient import TestClient

from deft_llm.service.address import bind, url_of
from deft_llm.service.clip_store import ClipStore, StoredClip
from deft_llm.service.server import build

VIDEO = encode_h264(np.full((4, 64, 64, 3), 90, np.uint8), 10)
SAID = ("Yes.", "Yes. The left inner brow moves up.")
FOUND = Findings(Query("moved", polar=True), True)
LIMITED = replace(LIMITS, file_bytes=3_000_000, inline_bytes=100_000, waiting=1)


@dataclass
class Served:
    """A server whose clips are not really measured and whose answers are given."""

    service: ClipService
    store: ClipStore
    explained: list[Path] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    fault: Exception | None = None

    def client(self, **options: Any) -> TestClient:
        app = build(self.service, self.store, **options)
        return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)

    def files(self) -> list[str]:
        found = self.store.folder.rglob("*")
        return sorted(p.relative_to(self.store.folder).as_posix() for p in found if p.is_file())


@pytest.fixture(scope="module")
def models(tiny_checkpoint: Path) -> Models:
    return Models(tiny_checkpoint)


@pytest.fixture
def served(
    models: Models,
    tmp_path: Path,
    make_measurement: Callable[..., Measurement],
    monkeypatch: pytest.MonkeyPatch,
) -> Served:
    here = Served(ClipService(models, LIMITED), ClipStore(tmp_path / "clips"))
    here.store.folder.mkdir()
    explanation = Explanation("surprise", {"surprise": 0.9, "none": 0.1}, {"1": 0.9}, ())
    seen = ClipResult(ClipInfo("clip", 12, 200.0, 0.06), make_measurement(), explanation)

    def explain(path: Path) -> ClipResult:
        here.explained.append(path)
        if here.fault is not None:
            raise here.fault
        check_video(path, here.service.limits)
        return seen

    def answer(_: ClipResult, turns: Any, question: str, choice: ModelChoice) -> Answer:
        here.asked.append((list(turns), question, choice.temperature))
        return Answer(SAID[1], FOUND)

    monkeypatch.setattr(here.service, "explain", explain)
    monkeypatch.setattr(here.service, "answer", answer)
    return here


@pytest.fixture
def client(served: Served) -> TestClient:
    return served.client()


def data(content: bytes = VIDEO, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def clip(url: Any = None) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url or data()}}


def user(*parts: Any) -> dict[str, Any]:
    words = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "content": words}


def body(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "deft-llm", "messages": list(messages or (user(clip(), "Why?"),)), **more}


def ask(client: TestClient, *messages: Any, **more: Any) -> Any:
    return client.post("/v1/chat/completions", json=body(*messages, **more))


def events(response: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def upload(client: TestClient, content: bytes = VIDEO, name: str = "clip.mp4") -> Any:
    files = {"file": (name, content, "video/mp4")}
    return client.post("/v1/files", files=files, data={"purpose": "user_data"})


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


# ---------------------------------------------------------------------------------- safety


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:1/clip.mp4", "https://example.org/clip.mp4", "ftp://example.org/a"),
        *("file:///etc/hostname", "/etc/hostname", "../clip.mp4", "concat:/etc/hostname", ""),
        *("data:", "DATA:video/mp4;base64,AAAA", "pipe:0"),
    ],
)
def test_no_address_and_no_path_is_opened(
    served: Served, client: TestClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
    for kind in ("video_url", "image_url", "file"):
        inner = {"file_data": url} if kind == "file" else {"url": url}
        response = ask(client, user({"type": kind, kind: inner}, "Why?"))
        assert response.status_code == 400 and served.explained == []


@pytest.mark.parametrize(
    "playlist",
    [
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n",
        b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>',
    ],
)
def test_a_playlist_that_calls_itself_a_video(
    served: Served, client: TestClient, playlist: bytes
) -> None:
    """FFmpeg would open what it names."""
    for response in (upload(client, playlist), ask(client, user(clip(data(playlist)), "a"))):
        assert response.status_code == 400
        assert "expected a video" in response.json()["error"]["message"]
    assert served.files() == []


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("mp4", ".mp4"), ("x-matroska", ".mkv"), ("vnd.avi", ".avi"), ("mp2t", ".ts")],
)
def test_a_clip_in_a_request_has_the_suffix_of_its_type(
    served: Served, client: TestClient, kind: str, suffix: str
) -> None:
    found = ask(client, user(clip(data(kind=f"video/{kind}")), "Why?"))
    assert found.status_code == 200 and served.explained[-1].name == f"clip{suffix}"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../../x.mp4", "x.mp4"),
        ("/etc/x.mp4", "x.mp4"),
        ("C:\\Users\\me\\x.mp4", "x.mp4"),
        ("a b:c?*.mp4", "a_b_c_.mp4"),
        ("表情.mp4", "表情.mp4"),
        ("..mp4.mp4", "mp4.mp4"),
        ("x" * 400 + ".mp4", "x" * 56 + ".mp4"),
    ],
)
def test_names_of_uploads_lead_nowhere(
    served: Served, client: TestClient, name: str, kept: str
) -> None:
    stored = upload(client, name=name).json()
    assert stored["filename"] == kept and served.files() == [f"{stored['id']}/{kept}"]


def test_uploads_over_a_limit_leave_nothing(
    served: Served, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upload(client, b"\0" * 3_000_001).status_code == 413
    assert upload(client, b"\0" * 5_100_000).status_code == 413, "before it is read"
    assert upload(client, name="page.html").status_code == 400
    assert client.post("/v1/files", data={"file": "no file"}).status_code == 400
    assert client.post("/v1/files", json={}).status_code == 400
    limits = replace(served.service.limits, clip_seconds=0.1)
    monkeypatch.setattr(served.service, "limits", limits)
    assert "at most 0 s are read" in upload(client).json()["error"]["message"]
    assert served.files() == []


def test_a_body_of_unstated_length_is_cut_off(client: TestClient) -> None:
    pieces = (b" " * 500_000 for _ in range(6))
    headers = {"content-type": "application/json"}
    response = client.post("/v1/chat/completions", content=pieces, headers=headers)
    assert "content-length" not in response.request.headers
    assert response.status_code == 413 and "too large" in response.json()["error"]["message"]


def test_clips_do_not_pile_up(served: Served, client: TestClient) -> None:
    stored = [upload(client).json()["id"] for _ in range(MOST + 2)]
    assert len(served.files()) == MOST
    named = [{"type": "file", "file": {"file_id": key}} for key in stored]
    assert ask(client, user(named[0], "Why?")).status_code == 404
    assert ask(client, user(named[2], "Why?")).status_code == 200
    upload(client)
    assert client.get(f"/v1/files/{stored[2]}").status_code == 200, "used last, so kept"
    assert client.get(f"/v1/files/{stored[3]}").status_code == 404


def test_a_clip_whose_file_is_gone(served: Served, client: TestClient, tmp_path: Path) -> None:
    served.store.add(StoredClip("file-x", tmp_path / "gone.mp4", 1))
    response = ask(client, user({"type": "file", "file": {"file_id": "file-x"}}, "Why?"))
    assert response.status_code == 400 and "send it again" in response.json()["error"]["message"]


def test_a_key_is_asked_of_everybody(served: Served) -> None:
    client = served.client(key="secret")
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "secret"}):
        response = client.get("/v1/models", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
    assert client.get("/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_other_names_and_other_sites_are_refused(served: Served) -> None:
    local, shared = served.client(), served.client(local=False)
    for host in ("example.org", "127.0.0.1.example.org", "", "["):
        assert local.get("/healthz", headers={"host": host}).status_code == 403
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert local.get("/healthz", headers={"host": host}).status_code == 200
    assert shared.get("/healthz", headers={"host": "lab.example.org"}).status_code == 200
    for client in (local, shared):
        for origin in ("https://example.org", "null", "http://127.0.0.1:9999"):
            response = client.post("/v1/files", headers={"origin": origin})
            assert response.status_code == 403
        same = {"origin": "http://127.0.0.1:8000"}
        assert client.get("/healthz", headers=same).status_code == 200


def test_a_full_queue_refuses_and_is_free_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is served and one waits; a third is told to come back."""
    started, goes_on = Event(), Event()
    explain = served.service.explain

    def slow(path: Path) -> ClipResult:
        started.set()
        goes_on.wait(30)
        return explain(path)

    monkeypatch.setattr(served.service, "explain", slow)
    found: list[Any] = []
    with served.client() as client:
        threads = [Thread(target=lambda: found.append(ask(client))) for _ in "abc"]
        for thread in threads:
            thread.start()
        started.wait(30)
        while not found:  # the third one comes back at once
            sleep(0.01)
        goes_on.set()
        for thread in threads:
            thread.join(30)
        refused, *answered = found
        assert refused.status_code == 429 and refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert [response.status_code for response in answered] == [200, 200]
        assert len(served.explained) == 1, "both asked about the same clip"
        for _ in range(4):  # streams and failures give their places back
            assert ask(client, stream=True).status_code == 200
            assert ask(client, user(clip(data(b"other")), "Why?")).status_code == 400


def test_a_client_that_leaves_gives_its_place_back(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a stream, over a real connection."""

    class Endless(Answer):
        def growing(self) -> Iterator[str]:
            for number in range(10_000):
                yield "." * number

    server = uvicorn.Server(uvicorn.Config(build(served.service, served.store), log_config=None))
    bound = bind("127.0.0.1", 0)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        address = f"{url_of(bound)}/v1/chat/completions"
        with httpx.Client(base_url=url_of(bound), timeout=30) as real:
            while not server.started:
                sleep(0.01)
            with monkeypatch.context() as patch:
                patch.setattr(served.service, "answer", lambda *_: Endless("", FOUND))
                for _ in range(4):
                    with real.stream("POST", address, json=body(stream=True)) as response:
                        assert next(response.iter_lines()).startswith("data: ")
            while (last := real.post(address, json=body())).status_code == 429:
                sleep(0.05)
            assert last.status_code == 200
    finally:
        server.should_exit = True
        thread.join(30)


def test_limits_of_the_demo_hold_by_default() -> None:
    assert Limits().question == 500 and Limits().waiting == 24
