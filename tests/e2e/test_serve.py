"""``deft-llm serve`` as a process: what its page in docs/ says, from the start to Ctrl-C."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deft_llm import resources

pytest.importorskip("fastapi", reason="serving needs the extra serve (or demo)")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
CLIP = resources.clips() / "01_surprise.mp4"
UNITS = "AU1 inner brow raiser, AU2 outer brow raiser, AU5 upper lid raiser"


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "deft_llm", "serve", *options]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


@dataclass(frozen=True)
class Server:
    """A server that serves."""

    url: str
    client: httpx.Client

    def example(self, language: str) -> str:
        """The page's example, with this server's address."""
        (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
        assert "http://127.0.0.1:8000" in code
        return code.replace("http://127.0.0.1:8000", self.url)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Started from an empty folder; Ctrl-C ends it with one line, and nothing is left."""
    temporary, empty = tmp_path_factory.mktemp("tmp"), tmp_path_factory.mktemp("empty")
    process = subprocess.Popen(
        command("--port", "0"),
        env=environment(TMPDIR=str(temporary)),
        cwd=empty,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("serving   http://127.0.0.1:"), first
    url = first.split()[1].removesuffix("/v1")
    with httpx.Client(base_url=url, timeout=120) as client:
        for _ in range(100):
            try:
                assert client.get("/healthz").json() == {"status": "ok"}
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield Server(url, client)
    process.send_signal(signal.SIGINT)
    assert process.wait(180) == 130
    assert process.stdout.read() == "stopped   all clips are deleted\n"
    # torch leaves an empty folder for its compiler.
    left = [path for folder in (temporary, empty) for path in folder.rglob("*") if path.is_file()]
    assert left == [] and not list(temporary.glob("deft-*"))


def question(text: str, **more: Any) -> dict[str, Any]:
    url = f"data:video/mp4;base64,{base64.b64encode(CLIP.read_bytes()).decode()}"
    parts = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": text}]
    return {"model": "deft-llm", "messages": [{"role": "user", "content": parts}], **more}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_pages_example_with_curl(server: Server) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", server.example("bash")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == UNITS


def test_the_pages_example_with_the_openai_package(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the package openai is not installed")
    (tmp_path / "example.py").write_text(server.example("python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "example.py")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, *evidence = done.stdout.splitlines()
    assert "inner brows move up" in said
    assert evidence[0].startswith("True left inner brow: up")


def test_a_stream_says_what_the_whole_answer_says(server: Server) -> None:
    asked = question("Describe the motion of the face, region by region.")
    whole = server.client.post("/v1/chat/completions", json=asked).json()
    path, asked = "/v1/chat/completions", {**asked, "stream": True}
    with server.client.stream("POST", path, json=asked) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    *chunks, end = lines
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert end == "[DONE]"
    assert "".join(deltas) == whole["choices"][0]["message"]["content"]
    assert json.loads(chunks[-1])["evidence"] == whole["evidence"]
    assert all(sentence["supported"] for sentence in whole["evidence"])


def test_nothing_is_claimed_about_the_person(server: Server) -> None:
    found = server.client.post("/v1/chat/completions", json=question("Is he lying?")).json()
    assert not found["choices"][0]["message"]["content"].lower().startswith("yes")


def test_what_is_wrong_is_told(server: Server) -> None:
    asked = question("Why?")
    asked["messages"][0]["content"][0]["video_url"]["url"] = CLIP.as_uri()
    refused = server.client.post("/v1/chat/completions", json=asked)
    assert refused.status_code == 400
    assert "opens no address and no path" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--port", "PORT"], "give another with --port"),
        (["--port", "99999"], "expected 1 to 65535"),
        (["--host", "0.0.0.0"], "give a --key"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    server: Server, options: list[str], reason: str
) -> None:
    port = server.url.rpartition(":")[2]
    options = [option.replace("PORT", port) for option in options]
    done = subprocess.run(command(*options), env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("deft-llm: ") and reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_sigterm_ends_it_as_ctrl_c_does(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--port", "0", "--key", "secret"),
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("serving")
    process.send_signal(signal.SIGTERM)
    assert process.wait(180) == 130
    assert "stopped" in process.stdout.read() and not list(tmp_path.glob("deft-*"))
