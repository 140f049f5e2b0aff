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
WINDOW = {"width": 896, "height": 688}  # of the animation
PAGE = {"width": 960, "height": 900}
LOOK, FILM = 1200, 80  # ms for which a picture of the animation stays; a frame of the film


def report_picture(service: ClipService, folder: Path) -> None:
    """The strip of the report."""
    seen = service.explain(CLIP)
    write_report(folder / "r", seen.measurement, seen.explanation, clip_info=seen.info)
    _save(Image.open(folder / "r" / PICTURE).convert("RGB"), ASSETS / "report.png")


def page_pictures(page: Page) -> None:
    """The page as a whole, and how it is used as an animation."""
    seen: list[tuple[Image.Image, int]] = []

    def look(milliseconds: int = LOOK, **options: Any) -> None:
        shot = page.screenshot(**options)
        seen.append((Image.open(io.BytesIO(shot)).convert("RGB"), milliseconds))

    page.set_viewport_size(WINDOW)  # type: ignore[arg-type]
    look()
    page.get_by_role("button", name="surprise", exact=True).click()
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").click()
    page.locator(".reading .answer").wait_for()
    page.get_by_role("link", name="Report (HTML)").wait_for()
    look()
    page.locator(".reading h3").first.scroll_into_view_if_needed()
    page.locator(".reading h3").first.evaluate("e => e.scrollIntoView()")
    claims = page.locator(".reading .claim")
    for number in range(claims.count()):
        claims.nth(number).click()
        look()
    for turn, question in enumerate(("Which action units are active?", "What moved?"), 1):
        page.locator("#question textarea").fill(question)
        page.locator("#question textarea").press("Enter")
        page.locator(f".turn:nth-child({turn}):not(.open)").wait_for()
    look()
    page.locator("#magnify").click()
    page.locator(".film video").wait_for()
    page.locator(".timeline").evaluate("e => e.scrollIntoView()")
    video = page.locator(".film video")
    video.evaluate("e => e.pause()")
    for share in (0.0, 0.3, 0.5, 0.6, 0.5, 0.3):
        video.evaluate(
            "(e, share) => new Promise(done => { e.onseeked = done; "
            "e.currentTime = share * e.duration + 1e-3; })",
            share,
        )
        look(LOOK // 3)
    first, *rest = [picture for picture, _ in seen]
    first.save(
        ASSETS / "demo.webp",
        save_all=True,
        append_images=rest,
        duration=[milliseconds for _, milliseconds in seen],
        loop=0,
        quality=60,
        method=6,
    )
    page.set_viewport_size(PAGE)  # type: ignore[arg-type]
    claims.first.click()
    page.mouse.wheel(0, -9999)
    shot = page.screenshot(full_page=True)
    _save(Image.open(io.BytesIO(shot)).convert("RGB"), ASSETS / "demo.png")


def _save(picture: Image.Image, path: Path) -> None:
    """Write a picture with 256 colours, a third of the size."""
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(path, picture.size, f"{path.stat().st_size / 1000:.0f} kB")


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
            page = browser.new_page()
            page.goto(address)
            page.locator("#explain").wait_for()
            page_pictures(page)
            browser.close()
        blocks.close()


if __name__ == "__main__":
    main()
