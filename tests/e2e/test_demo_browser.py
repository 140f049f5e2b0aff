"""The demo in a real browser (headless Chromium): what people do, with mouse, keys and thumbs."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from deft_llm.media.video import write_video

from .conftest import ROOT, Visit
from .pages import LOW_CONTRAST, ask, explain_example, onset_at, photograph

CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"
pytestmark = pytest.mark.slow


def test_upload_explain_ask_and_look_at_the_evidence(visit: Visit) -> None:
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


def test_the_timeline_by_keys_and_by_mouse(visit: Visit) -> None:
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


def test_a_batch_with_a_bad_clip(visit: Visit, tmp_path: Path) -> None:
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
    page.get_by_role("gridcell").get_by_text("no face found").first.wait_for()
    photograph(page, "batch")


def test_a_clip_without_a_face(visit: Visit, tmp_path: Path) -> None:
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


def test_a_telephone(visit: Visit) -> None:
    page = visit(390, 844)
    explain_example(page)
    page.locator(".why .claim").first.tap()
    page.locator("polygon.lit").first.wait_for(state="attached")
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 390, "the page scrolls sideways"
    photograph(page, "phone_light")
