"""Make the README's pictures: python demo/make_pictures.py (needs playwright and a Chromium)."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from deft_llm import resources
from deft_llm.service.app import build, serve
from deft_llm.service.clip_service import ClipService
from deft_llm.service.limits import LIMITS
from deft_llm.service.models import Models
from deft_llm.service.sessions import Sessions
from deft_llm.viz.report import PICTURE, write_report

ASSETS = Path(__file__).resolve().parent / "assets"
CLIP = Path(__file__).resolve().parent / "clips" / "01_surprise.mp4"
WINDOW = {"width": 1200, "height": 920}
SHOWN = 0.75  # of the window's size, in the pictures
WIDE = 1600  # px, of the report's strip
LOOK = 1200  # ms for which a picture of the animation stays


def report_picture(service: ClipService, folder: Path) -> None:
    """The strip of the report."""
    seen = service.explain(CLIP)
    write_report(folder / "r", seen.measurement, seen.explanation, clip_info=seen.info)
    strip = Image.open(folder / "r" / PICTURE).convert("RGB")
    _save(strip.resize((WIDE, round(strip.height * WIDE / strip.width))), "report.webp")


def page_pictures(page: Page) -> None:
    """The page as a whole, and how it is used as an animation."""
    seen: list[tuple[Image.Image, int]] = []

    def look(milliseconds: int = LOOK) -> None:
        seen.append((_shot(page), milliseconds))

    look()
    page.get_by_role("button", name="surprise", exact=True).click()
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").click()
    page.locator(".reading .answer").wait_for()
    page.get_by_role("link", name="Report (HTML)").wait_for()
    look()
    page.locator(".reading h3").first.evaluate("e => e.scrollIntoView()")
    claims = page.locator(".reading .claim")
    for number in range(claims.count()):
        # Not by the mouse, for which the page would scroll.
        claims.nth(number).evaluate("e => e.click()")
        look()
    for turn, question in enumerate(("Which action units are active?", "What moved?"), 1):
        page.locator("#question textarea").fill(question)
        page.locator("#question textarea").press("Enter")
        page.locator(f".turn:nth-child({turn}):not(.open)").wait_for()
    look()
    page.locator("#magnify").click()
    page.locator(".film video").wait_for()
    page.locator("#film").evaluate("e => e.scrollIntoView({ block: 'end' })")
    video = page.locator(".film video")
    video.evaluate("e => { e.pause(); e.controls = false; }")
    for share in (0.0, 0.3, 0.5, 0.6, 0.5, 0.3):
        video.evaluate(
            "(e, share) => new Promise(done => { e.onseeked = done; "
            "e.currentTime = share * e.duration + 1e-3; })",
            share,
        )
        look(LOOK // 3)
    first, *rest = [picture for picture, _ in seen]
    stays = [milliseconds for _, milliseconds in seen]
    _save(first, "demo.webp", 60, save_all=True, append_images=rest, duration=stays, loop=0)
    claims.first.evaluate("e => e.click()")
    page.evaluate("scrollTo(0, 0)")
    _save(_shot(page, full_page=True), "page.webp")


def _shot(page: Page, **options: Any) -> Image.Image:
    picture = Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")
    return picture.resize((round(picture.width * SHOWN), round(picture.height * SHOWN)))


def _save(picture: Image.Image, name: str, quality: int = 80, **options: Any) -> None:
    """Write a picture, or several as an animation."""
    picture.save(ASSETS / name, quality=quality, **options)
    print(name, picture.size, f"{(ASSETS / name).stat().st_size / 1000:.0f} kB", flush=True)


def main() -> None:
    """Start the demo, look at it, and stop it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
        service = ClipService(Models(resources.checkpoint()))
        report_picture(service, folder)
        blocks = build(service, Sessions(folder / "uploads"))
        address = serve(blocks, LIMITS, None, wait=False)
        program = os.environ.get("CHROMIUM") or shutil.which("chromium")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
            page.goto(address)
            page.locator("#explain").wait_for()
            page_pictures(page)
            browser.close()
        blocks.close()


if __name__ == "__main__":
    main()
