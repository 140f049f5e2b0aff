"""The OpenAI-compatible server: its limits, and what it never opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import httpx
import pytest

from deft_llm.deft.inference.answer import Answer
from deft_llm.errors import UserError
from deft_llm.service.clip_service import ClipResult
from deft_llm.service.limits import Limits
from deft_llm.service.sessions import MOST

pytest.importorskip("fastapi", reason="serving needs the extra serve (or demo)")
import uvicorn
from starlette.testclient import TestClient

from deft_llm.service.address import bind, url_of
from deft_llm.service.clip_store import StoredClip
from deft_llm.service.server import build

from .serving import (
    FOUND,
    VIDEO,
    Served,
    ask,
    body,
    clip,
    data,
    upload,
    user,
)


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
    # As curl sends it: the bytes of the terminal.
    umlaut = {b"authorization": "Bearer Schlüssel".encode()}
    assert served.client(key="Schlüssel").get("/v1/models", headers=umlaut).status_code == 200


def test_other_names_and_other_sites_are_refused(served: Served) -> None:
    local, shared = served.client(), served.client(local=False)
    for host in ("example.org", "127.0.0.1.example.org", "0.0.0.0", "", "["):
        assert local.get("/healthz", headers={"host": host}).status_code == 403
    # Every address of 127.0.0.0/8 is this machine, and a server may listen on any of them.
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "127.0.0.2:8000"):
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


def test_an_answer_does_not_wait_for_the_clips_behind_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, goes_on = Event(), Event()
    explain = served.service.explain

    def second_is_slow(path: Path) -> ClipResult:
        if started.is_set():
            goes_on.wait(30)
        started.set()
        # The other request is in the queue before the first clip is done.
        sleep(0.3)
        return explain(path)

    monkeypatch.setattr(served.service, "explain", second_is_slow)
    found: list[Any] = []
    other = user(clip(data(VIDEO + b"\0\0\0\x08free")), "Why?")
    with served.client() as client:
        threads = [Thread(target=lambda: found.append(ask(client)))]
        threads[0].start()
        started.wait(30)
        threads.append(Thread(target=lambda: ask(client, other)))
        threads[1].start()
        threads[0].join(10)
        answered = [response.status_code for response in found]
        goes_on.set()
        threads[1].join(30)
    assert answered == [200]


def test_the_end_of_the_server_is_told_in_openais_form(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started, goes_on = Event(), Event()

    def slow(path: Path) -> ClipResult:
        started.set()
        goes_on.wait(30)
        raise UserError("too late")

    monkeypatch.setattr(served.service, "explain", slow)
    app = build(served.service, served.store)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    bound = bind("127.0.0.1", 0)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    found: list[Any] = []
    address = f"{url_of(bound)}/v1/chat/completions"
    client = Thread(target=lambda: found.append(httpx.post(address, json=body(), timeout=30)))
    client.start()
    started.wait(30)
    server.should_exit = True
    client.join(30)
    goes_on.set()
    thread.join(30)
    assert found[0].status_code == 503 and found[0].json()["error"]["type"] == "server_error"
    assert not any(record.exc_info for record in caplog.records)


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
