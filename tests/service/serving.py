"""A server without a real model, and what is sent to it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.media.video import encode_h264
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import Query
from deft_llm.service.clip_service import ClipService
from deft_llm.service.limits import LIMITS

pytest.importorskip("fastapi", reason="serving needs the extra serve (or demo)")
from starlette.testclient import TestClient

from deft_llm.service.clip_store import ClipStore
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
