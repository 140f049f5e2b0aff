"""A server on loopback that answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deft_llm.evaluation.vlm import endpoint, loading


@dataclass
class Server:
    """An OpenAI-compatible server on loopback.

    Attributes:
        url: Its base.
        reply: Request -> state and body.
        asked: The requests, with their headers under "headers".
    """

    url: str = ""
    reply: Callable[[dict[str, Any]], tuple[int, bytes]] = lambda _: (200, said("negative"))
    asked: list[dict[str, Any]] = field(default_factory=list)


def said(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = {**json.loads(body), "path": self.path, "headers": dict(self.headers)}
            state.asked.append(request)
            code, reply = state.reply(request)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(endpoint, "_PAUSE_S", 0.0)
    loading._loaded.cache_clear()
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{running.server_port}/v1"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    running.shutdown()
    thread.join()
    running.server_close()
