"""The running demo as a program meets it: names, answers, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from deft_llm.deft.inference.answer import Answer
from deft_llm.media.video import write_video
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import Query
from deft_llm.service.app import build, serve
from deft_llm.service.clip_service import ClipService
from deft_llm.service.events import asked
from deft_llm.service.limits import LIMITS
from deft_llm.service.models import Models
from deft_llm.service.page import Page
from deft_llm.service.sessions import Sessions

from .conftest import FPS, Frames

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = {
    *("/list_models", "/explain_clip", "/explain_interval", "/ask_about_clip"),
    *("/explain_batch", "/find_intervals", "/compare_clips"),
}


@dataclass(frozen=True)
class Running:
    """A demo that serves."""

    blocks: gr.Blocks
    service: ClipService
    address: str
    uploads: Path
    client: Client

    def files(self) -> set[Path]:
        return {path for path in self.uploads.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def demo(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    uploads = tmp_path_factory.mktemp("uploads")
    limits = replace(LIMITS, file_bytes=2_000_000, files=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setattr("deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8)
        service = ClipService(Models(tiny_checkpoint), limits)
        blocks = build(service, Sessions(uploads))
        address = serve(blocks, limits, None, wait=False)
        client = Client(address, verbose=False, download_files=False)
        yield Running(blocks, service, address, uploads, client)
        blocks.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, face: Frames) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_video(path, face, FPS)
    return path


@pytest.fixture(scope="module")
def faceless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grey") / "grey.mp4"
    write_video(path, np.full((12, 120, 160, 3), 90, np.uint8), FPS)
    return path


# --------------------------------------------------------------------------------- the API


def test_functions_have_names_and_the_page_has_none(demo: Running) -> None:
    api: Any = demo.client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == FUNCTIONS
    assert not api["unnamed_endpoints"]
    assert demo.client.predict(api_name="/list_models") == ["embedded"]


def test_a_clip_is_explained_as_in_the_library(demo: Running, clip: Path) -> None:
    before = demo.files()
    answers = demo.client.predict(video=handle_file(clip), api_name="/explain_clip")
    expected = demo.service.explain(clip).record()
    assert answers["interval"] == expected["interval"] and answers["found"]
    assert answers["regions"] == expected["regions"]
    assert answers["explanation"]["probabilities"].keys() == (
        expected["explanation"]["probabilities"].keys()
    )
    assert demo.files() == before, "the upload is gone once the answer is given"


def test_an_answer_comes_with_its_evidence(demo: Running, clip: Path) -> None:
    answers = demo.client.predict(
        video=handle_file(clip),
        question="What moved?",
        earlier=[["Is this a face?", "yes"]],
        ablate=["texture"],
        api_name="/ask_about_clip",
    )
    assert answers["answer"] and answers["query"] == "moved" and answers["facts"]
    assert all(
        set(row) == {"text", "regions", "supported", "contradicts", "measured"}
        for row in answers["sentences"]
    )


def test_a_bad_file_of_a_batch_gets_its_reason(demo: Running, clip: Path, faceless: Path) -> None:
    files = [handle_file(clip), handle_file(faceless)]
    good, bad = demo.client.predict(videos=files, api_name="/explain_batch")
    assert good["file"] == "clip.mp4" and good["emotion"] and good["apex s"] > good["onset s"]
    assert bad["file"] == "grey.mp4" and "no face found" in bad["remark"]
    assert "/" not in bad["remark"]


def test_other_frames_and_two_clips(demo: Running, clip: Path) -> None:
    frames = {"onset": 2, "apex": 8, "offset": 12}
    answers = demo.client.predict(video=handle_file(clip), **frames, api_name="/explain_interval")
    assert {name: m["frame"] for name, m in answers["interval"].items()} == frames
    pair = demo.client.predict(
        first=handle_file(clip), second=handle_file(clip), api_name="/compare_clips"
    )
    assert pair["first"] == pair["second"]


def test_the_interval_of_a_long_video(demo: Running, clip: Path) -> None:
    (found,) = demo.client.predict(video=handle_file(clip), api_name="/find_intervals")
    expected = demo.service.explain(clip).measurement
    apex = float(expected.aligned.timestamps[expected.interval.apex])
    assert found["apex s"] == pytest.approx(apex, abs=0.05)


# ---------------------------------------------------------------------------------- safety


@pytest.mark.parametrize(
    "path",
    [
        "/etc/hostname",
        ROOT / "demo/app.py",
        ROOT / "deft_llm/deft/checkpoint/config.json",
        "../app.py",
    ],
)
def test_no_file_of_the_server_is_served(demo: Running, path: Path | str) -> None:
    answer = httpx.get(f"{demo.address}gradio_api/file={path}")
    assert answer.status_code in {403, 404}


@pytest.mark.parametrize("kind", ["/etc/hostname", "a video"])
def test_no_file_of_the_server_is_read(
    demo: Running, clip: Path, tmp_path: Path, kind: str
) -> None:
    """The examples are everybody's; a video that lies elsewhere is not."""
    private = shutil.copy(clip, tmp_path / "private.mp4")
    path = str(private) if kind == "a video" else kind
    with pytest.raises(Exception) as refused:  # gradio's own guard, or ours
        demo.client.predict(video={"path": path}, api_name="/explain_clip")
    assert str(ROOT) not in str(refused.value) and str(demo.uploads) not in str(refused.value)


def test_errors_are_one_line_without_a_path(demo: Running, faceless: Path) -> None:
    with pytest.raises(Exception, match="no face found") as refused:
        demo.client.predict(video=handle_file(faceless), api_name="/explain_clip")
    assert str(demo.uploads) not in str(refused.value)
    for model in ("../runs", "/etc", "https://example.org/m"):
        with pytest.raises(Exception, match="expected one of embedded"):
            demo.client.predict(handle_file(faceless), model, api_name="/explain_clip")


def test_frames_out_of_order_are_told_in_plain_text(demo: Running, clip: Path) -> None:
    frames = {"onset": 8, "apex": 2, "offset": 12}
    with pytest.raises(Exception, match="expected 0 <= onset <= apex <= offset"):
        demo.client.predict(video=handle_file(clip), **frames, api_name="/explain_interval")


def test_a_fault_of_ours_shows_nothing_of_the_server(
    demo: Running, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message, no traceback, no path; and the upload is gone all the same."""

    def fail(*_: object) -> None:
        raise RuntimeError(f"secret of {ROOT}")

    before = demo.files()
    monkeypatch.setattr(demo.service, "explain", fail)
    with pytest.raises(Exception) as refused:
        demo.client.predict(video=handle_file(clip), api_name="/explain_clip")
    assert "secret" not in str(refused.value) and str(ROOT) not in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert demo.files() == before


def test_clips_that_are_too_long_and_other_types_are_refused(
    demo: Running, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.service, "limits", replace(demo.service.limits, clip_seconds=0.1))
    with pytest.raises(Exception, match=r"at most 0 s are read"):
        demo.client.predict(video=handle_file(clip), api_name="/explain_clip")
    page = tmp_path / "page.html"
    page.write_text("<script>alert(1)</script>", encoding="utf-8")
    with pytest.raises(Exception, match="expected a video"):
        demo.client.predict(video=handle_file(page), api_name="/explain_clip")


def test_large_uploads_and_foreign_hosts_are_refused(demo: Running) -> None:
    large = {"files": ("large.mp4", b"\0" * 2_100_000, "video/mp4")}
    assert httpx.post(f"{demo.address}gradio_api/upload", files=large).status_code == 413
    foreign = httpx.get(demo.address, headers={"host": "example.org"})
    assert foreign.status_code == 400, "a foreign name that points here (DNS rebinding)"


def test_loopback_only_and_never_shared(
    demo: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    blocks = build(demo.service, Sessions(tmp_path))
    try:
        serve(blocks, LIMITS, None, wait=False)
        assert blocks.server_name == "127.0.0.1"
        assert not blocks.share and blocks.share_url is None
        assert not blocks.allowed_paths
    finally:
        blocks.close()


def test_the_page_shows_no_path_and_names_no_other_host(demo: Running) -> None:
    page = httpx.get(demo.address).text
    assert str(ROOT) not in page
    assert "fonts.googleapis" not in page and "cdn" not in page


def test_model_output_is_text(
    demo: Running, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = "<script>alert(1)</script> The left inner brow moves up."
    answer = Answer(bad, Findings(Query("moved")))
    monkeypatch.setattr(demo.service, "answer", lambda *_: answer)
    page = Page(demo.service, Sessions(tmp_path))
    page.sessions.get("x").seen = demo.service.explain(clip)
    cleared, taken = page.take("x", "Why <b>?")
    *_, html = page.answer("x", "embedded", 0.0, [])
    assert cleared == "" and "<b>?" not in taken and 'class="turn open"' in taken
    assert "<script" not in html and "&lt;script&gt;" in html and 'class="turn open"' not in html
    visitor = gr.Request(session_hash="x")
    with pytest.raises(gr.Error) as error:
        asked(page.explain)(visitor, "/<img src=x>.mp4", "embedded", [])
    assert "<img" not in str(error.value)
