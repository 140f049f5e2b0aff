"""The demo in a real browser (headless Chromium): what people do, with mouse, keys and thumbs."""

from __future__ import annotations

import base64
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import pytest

from deft_llm.data.measuring import measure_video
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.media.video import write_video
from deft_llm.stages import STAGES
from deft_llm.viz.report import ClipInfo, write_report

from .conftest import ROOT, Visit
from .pages import LOW_CONTRAST, ask, background, explain_example, onset_at, photograph

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"
ALL = slice(None)
# Keeps every stage that is marked, however short it is shown.
NOTE_STAGES = """() => {
  window.stages = [];
  new MutationObserver(() => {
    const now = document.querySelector(".working [aria-current]")?.textContent;
    if (now && window.stages.at(-1) !== now) window.stages.push(now);
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""
pytestmark = pytest.mark.slow


def test_upload_explain_ask_and_look_at_the_evidence(visit: Visit) -> None:
    page = visit()
    page.locator(".clip input[type=file]").first.set_input_files(CLIP)
    page.locator(".clip video").first.wait_for(state="attached")
    page.evaluate(NOTE_STAGES)
    page.locator("#explain").click()
    page.locator(".reading .answer").wait_for()
    assert page.locator(".reading .answer").inner_text() == "surprise"
    # A stage that is over before the page could show it is left out.
    stages = page.evaluate("() => window.stages")
    assert stages and stages == [stage for stage in STAGES if stage in stages]
    assert page.locator(".working").count() == 0

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

    # The place for the film is there before the film.
    box = page.locator("#film").bounding_box()
    assert box is not None and box["width"] >= 300
    page.locator("#magnify").click()
    page.locator(".film video").wait_for()
    box = page.locator(".film video").bounding_box()
    assert box is not None and box["width"] > 300 and box["height"] > 150
    photograph(page, "desktop_dark")
    assert page.evaluate(LOW_CONTRAST) == []


def test_typed_frames_stay_as_typed_and_are_refused_out_of_order(visit: Visit) -> None:
    page = visit()
    explain_example(page)
    typed = {"onset": "22", "apex": "11", "offset": "16"}
    for name, frame in typed.items():
        page.locator(f"#{name} input").fill("")
        page.locator(f"#{name} input").press_sequentially(frame)
    assert {name: page.locator(f"#{name} input").input_value() for name in typed} == typed
    page.locator("#again").click()
    page.get_by_text("interval onset 22, apex 11, offset 16: expected 0 <= onset").first.wait_for()
    assert page.locator(".timeline .verdict").inner_text() == "interval found"


def test_each_moment_shows_its_frame(visit: Visit) -> None:
    """The pictures below onset, apex and offset are these frames, to the last of the clip."""
    aligned = measure_video(CLIP)[1].aligned
    page = visit()
    explain_example(page)

    def shown(name: str) -> int:
        """The frame of the clip that is most like the picture."""
        picture = background(page.locator(f".shot.{name} i")).astype(float)
        size = (picture.shape[1], picture.shape[0])
        frames = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in aligned.pictures(ALL)]
        return int(np.argmin([np.abs(frame - picture).mean() for frame in frames]))

    last = len(aligned) - 1
    for name, frame in (("offset", last), ("onset", 0), ("apex", 9), ("offset", 20)):
        mark = page.get_by_role("slider", name=name, exact=True)
        mark.focus()
        page.keyboard.press("Home" if frame == 0 else "End")
        if name == "apex":  # the offset goes along with it, and stays where it was taken
            assert shown("offset") == last
        for _ in range(0 if frame in (0, last) else last - frame):
            page.keyboard.press("ArrowLeft")
        assert mark.get_attribute("aria-valuenow") == str(frame)
        assert shown(name) == frame, name


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
    remark = page.get_by_role("cell").get_by_text("no face found").first
    remark.wait_for()
    assert "15 % of the frame" in (remark.get_attribute("title") or "")
    heights = page.locator(".clips tbody tr").evaluate_all("rows => rows.map(r => r.offsetHeight)")
    assert len(heights) == 2 and max(heights) < 45, "a row is one line"
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
    # Beside the message, one mark at the place of the work; no stage is left there.
    page.locator(".stage-line .error").wait_for()
    assert page.locator("[data-testid='status-tracker'] .error").count() == 1
    assert page.locator(".working").count() == 0
    photograph(page, "no_face", whole=False)


def test_a_scan_a_sequence_and_a_wrong_file(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="3D scan").click()
    for example, expression in (("smile", "happiness"), ("surprise, over time", "surprise")):
        page.get_by_role("button", name=example, exact=True).click()
        page.locator("#scan-files .file-preview").get_by_text(example[:5]).first.wait_for()
        page.locator("#read-scan").click()
        page.locator(".scan .answer").get_by_text(expression).wait_for()
        for width, scheme in itertools.product((1280, 800, 390), ("light", "dark")):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            cut = page.locator(".scan .scroll").evaluate("e => e.scrollWidth - e.clientWidth")
            assert cut == 0, f"the table of prompts is cut at {width} px"
            # Some colours of gradio's fade into those of the other scheme.
            page.wait_for_function(f"() => ({LOW_CONTRAST})().length === 0")
            photograph(page, f"{example[:5]}_{width}_{scheme}")
    assert page.locator(".scan .plot .x").all_inner_texts() == ["1", "5", "9"]
    (tmp_path / "page.obj").write_text("hello")
    page.get_by_label("Clear").first.click()
    page.locator("#scan-files input[type=file]").set_input_files(tmp_path / "page.obj")
    page.locator("#scan-files").get_by_text("page").first.wait_for()
    page.locator("#read-scan").click()
    page.get_by_text("page.obj: not a scan").first.wait_for()
    page.locator(".stage-line .error").wait_for()
    assert page.locator(".scan .answer").inner_text() == "surprise", "what was there stays"


def test_a_telephone(visit: Visit) -> None:
    page = visit(390, 844)
    explain_example(page)
    page.locator(".why .claim").first.tap()
    page.locator("polygon.lit").first.wait_for(state="attached")
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 390, "the page scrolls sideways"
    marks = page.locator(".mark b").evaluate_all(
        "all => all.map(b => b.getBoundingClientRect()).map(b => [b.left, b.right, b.top])"
    )
    for (left, right, top), (other, _, height) in itertools.pairwise(marks):
        assert right <= other or abs(top - height) > 10, "names of moments overlap"
        assert left >= 0 and right <= 390
    photograph(page, "phone_light")


def test_the_table_of_regions_fits_at_any_width(visit: Visit) -> None:
    page = visit(1280, 844)
    explain_example(page, "happiness")
    for width in (1280, 1000, 800, 721, 600, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        boxes = page.locator(".scroll:has(.by-region)")
        cut = boxes.evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")
        assert cut == [0], f"cut at {width} px"
        # A number stands in the column of its heading, and no cell over another one.
        px = page.locator(".by-region thead tr:last-child .n").first.bounding_box()
        row = page.locator(".by-region tr.moved").first.locator("th, td")
        boxes = row.evaluate_all("all => all.map(e => e.getBoundingClientRect().toJSON())")
        assert px is not None and abs(boxes[2]["right"] - px["x"] - px["width"]) < 2
        for a, b in itertools.combinations(boxes, 2):
            apart = a["right"] <= b["left"] + 1 or b["right"] <= a["left"] + 1
            assert apart or a["bottom"] <= b["top"] + 1 or b["bottom"] <= a["top"] + 1
        photograph(page, f"regions_{width}")
    # Of a large movement, as wide as numbers get.
    over = page.locator(".by-region tr.moved .n").evaluate_all(
        """all => all.filter((e) => {
          e.innerText = "100.0";
          return e.scrollWidth > e.clientWidth;
        }).length"""
    )
    assert over == 0, "a number stands over the next one"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_a_report_at_any_width(
    browser: Browser, report_file: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Nothing is cut, the curve included; every text can be read; the figure is beside it."""
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(report_file.as_uri())
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    cut = page.locator(".scroll").evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")
    assert max(cut) <= 0, "a table is cut"
    plot, card = page.locator(".chart .plot"), page.locator("section:has(.chart)")
    inner, outer = plot.bounding_box(), card.bounding_box()
    assert inner is not None and outer is not None
    assert inner["width"] > 0.6 * width if width < 1000 else inner["width"] > 600
    for place in plot.locator("*").evaluate_all(
        "all => all.filter(e => e.offsetWidth).map(e => e.getBoundingClientRect())"
        ".map(b => [b.left, b.right])"
    ):
        assert place[0] >= outer["x"] and place[1] <= outer["x"] + outer["width"]
    # The mark of the apex stands at the highest place of the curve.
    apex = page.locator(".mark.apex").evaluate("e => parseFloat(e.style.left)")
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", page.locator(".curve").get_attribute("d") or "")
    assert float(min(points, key=lambda p: float(p[1]))[0]) / 10 == pytest.approx(apex, abs=0.1)
    assert page.evaluate(LOW_CONTRAST) == []
    photograph(page, f"report_{width}_{scheme}")
    page.close()


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip, measurement = measure_video(CLIP)
    explanation = Explainer.load().explain(measurement)
    folder = tmp_path_factory.mktemp("report")
    info = ClipInfo.of(clip)
    return write_report(folder, measurement, explanation, clip_info=info, figure=True)
