"""The demo in a real browser (headless Chromium): what people do, with mouse, keys and thumbs.

With DEFT_SCREENSHOTS set to a folder, pictures of the pages are left there to be looked at.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import pytest

from deft_llm.media.video import write_video

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"
WAIT = 240_000  # ms; a busy machine is no error
pytestmark = pytest.mark.slow
Open = Callable[..., "Page"]

# Visible texts whose contrast is below WCAG AA (4.5, large ones 3); pictures are left out.
LOW_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const bad = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || element.closest(".face, video, script, style, svg, .toast-wrap")) continue;
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!box.width || style.visibility === "hidden" || box.right < 0 || box.bottom < 0) continue;
    const layers = [];
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) {
      layers.push(rgba(getComputedStyle(e).backgroundColor));
      opacity *= Number(getComputedStyle(e).opacity);
    }
    if (opacity < 0.05) continue;
    const white = [255, 255, 255, 1];
    const ground = layers.reverse().reduce((below, layer) => over(layer, below), white);
    const ink = rgba(style.color);
    const [a, b] = [light(over([...ink.slice(0, 3), ink[3] * opacity], ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.add(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return [...bad];
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo as ``make demo`` starts it, in a process of its own; nothing is left of it."""
    temporary = tmp_path_factory.mktemp("tmp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "demo" / "app.py"), "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, env=environment)
    page = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            urlopen(page, timeout=5).close()
            break
        except OSError:
            assert server.poll() is None, "the demo ended by itself"
            time.sleep(0.5)
    yield page
    server.send_signal(2)  # Ctrl-C
    server.wait(60)
    assert list(temporary.glob("deft*")) == [], "temporary files are left"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium found; install Debian's package, or set CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Open]:
    """``visit()`` -> the page in a fresh session; no request may leave this machine."""
    contexts: list[Any] = []
    foreign: list[str] = []

    def note(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            foreign.append(request.url)

    def opened(width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            is_mobile=width < 600,
            has_touch=width < 600,
            accept_downloads=True,
        )
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: foreign.append(f"script error: {error}"))
        page.goto(address)
        page.locator("#explain").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert foreign == []


def photograph(page: Page, name: str, whole: bool = True) -> None:
    if folder := os.environ.get("DEFT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def explain_example(page: Page, name: str = "surprise") -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").click()
    page.locator(".reading .answer").wait_for()


def ask(page: Page, question: str, turns: int) -> None:
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")
    page.locator(f".turn:nth-child({turns}):not(.open)").wait_for()
    assert box.input_value() == ""


def onset_at(page: Page) -> int:
    return int(page.locator(".mark.onset").get_attribute("aria-valuenow") or -1)


def test_upload_explain_ask_and_look_at_the_evidence(visit: Open) -> None:
    page = visit()
    page.locator(".clip input[type=file]").first.set_input_files(CLIP)
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").click()
    page.locator(".reading .answer").wait_for()
    assert page.locator(".reading .answer").inner_text() == "surprise"

    claim = page.locator(".why .claim").first
    claim.click()
    regions = set((claim.get_attribute("data-region") or "").split("|"))
    lit = page.locator("polygon.lit")
    assert {e.get_attribute("data-region") for e in lit.all()} == regions
    shown = page.locator(".stage .numbers").inner_text()
    assert all(f"{name}: up" in shown for name in regions) and "px" in shown
    photograph(page, "evidence", whole=False)
    page.keyboard.press("Escape")
    assert lit.count() == 0

    ask(page, "Which action units are active?", 1)
    ask(page, "Why?", 2)
    assert page.locator(".turn").count() == 2
    assert page.locator(".answered").last.inner_text().removeprefix("Model").strip()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Report (HTML)").click()
    report = Path(saved.value.path()).read_text(encoding="utf-8")
    assert saved.value.suggested_filename == "01_surprise.html" and "Not for decisions" in report
    photograph(page, "desktop_light")
    assert page.evaluate(LOW_CONTRAST) == []


def test_the_timeline_by_keys_and_by_mouse(visit: Open) -> None:
    page = visit(scheme="dark")
    explain_example(page)
    apex = page.get_by_role("slider", name="apex", exact=True)
    before = int(apex.get_attribute("aria-valuenow") or -1)
    picture = page.locator(".shot.apex i")
    position = picture.evaluate("e => e.style.backgroundPosition")
    apex.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#apex input").input_value() == str(before + 2)
    assert picture.evaluate("e => e.style.backgroundPosition") != position

    onset = page.get_by_role("slider", name="onset", exact=True).bounding_box()
    plot = page.locator(".plot").bounding_box()
    assert onset is not None and plot is not None
    page.mouse.move(onset["x"] + onset["width"] / 2, onset["y"] + 40)
    page.mouse.down()
    page.mouse.move(plot["x"] + 0.1 * plot["width"], onset["y"] + 40, steps=4)
    page.mouse.up()
    moved = int(page.locator("#onset input").input_value())
    assert moved == pytest.approx(0.1 * 35, abs=1)

    first = page.locator(".stage .onset").get_attribute("src")
    page.locator("#again").click()
    page.wait_for_function(
        "old => { const face = document.querySelector('.stage .onset');"
        "return face && face.src !== old; }",
        arg=first,
    )
    assert onset_at(page) == moved
    slider = page.get_by_role("slider", name="From the onset frame to the apex frame")
    slider.focus()
    page.keyboard.press("End")
    assert page.locator(".stage").evaluate("e => e.style.getPropertyValue('--apex')") == "100%"

    page.locator("#magnify").click()
    page.locator(".film video").wait_for()
    photograph(page, "desktop_dark")
    assert page.evaluate(LOW_CONTRAST) == []


def test_a_batch_with_a_bad_clip(visit: Open, tmp_path: Path) -> None:
    grey = tmp_path / "grey.mp4"
    write_video(grey, np.full((12, 120, 160, 3), 90, np.uint8), 30)
    page = visit()
    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-files input[type=file]").set_input_files([CLIP, grey])
    page.locator("#batch-files").get_by_text("grey").first.wait_for()
    page.locator("#explain-all").click()
    link = page.get_by_role("link", name="Table (CSV)")
    link.wait_for()
    href = link.get_attribute("href") or ""
    lines = base64.b64decode(href.partition("base64,")[2]).decode().splitlines()
    assert lines[1].startswith("01_surprise.mp4,surprise,")
    assert lines[2].startswith("grey.mp4,") and "no face found" in lines[2]
    photograph(page, "batch")


def test_a_clip_without_a_face(visit: Open, tmp_path: Path) -> None:
    grey = tmp_path / "grey.mp4"
    write_video(grey, np.full((12, 120, 160, 3), 90, np.uint8), 30)
    page = visit()
    page.locator(".clip input[type=file]").first.set_input_files(grey)
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").click()
    message = page.get_by_text("no face found").first
    message.wait_for()
    assert "/" not in message.inner_text()
    photograph(page, "no_face", whole=False)


def test_a_telephone(visit: Open) -> None:
    page = visit(390, 844)
    explain_example(page)
    page.locator(".why .claim").first.tap()
    page.locator("polygon.lit").first.wait_for(state="attached")
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 390, "the page scrolls sideways"
    photograph(page, "phone_light")
