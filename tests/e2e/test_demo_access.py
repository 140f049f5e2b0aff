"""The demo at first sight, by keys alone, and for several at once, in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .conftest import Visit
from .pages import LOW_CONTRAST, UNNAMED, explain_example, photograph

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
TABS = ("Batch", "Long video", "Compare", "3D scan", "What the numbers mean")
# Keeps every text that says a place in the queue, however short it is shown.
NOTE_QUEUE = """() => {
  window.queued = new Set();
  new MutationObserver(() => {
    for (const text of document.body.innerText.match(/queue: \\d+\\/\\d+/g) || []) {
      window.queued.add(text);
    }
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


# Whether the focus is seen: an outline, or the thick line of a region.
MARKED = """(e) => {
  const style = getComputedStyle(e);
  return style.outlineStyle !== "none" || parseFloat(style.strokeWidth) > 2;
}"""


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_a_first_visit(visit: Visit, width: int, scheme: str) -> None:
    """Nothing is there that cannot be used yet; everything has a name and can be read."""
    page = visit(width, 844, scheme)
    assert page.locator(".start li").count() == 4
    for later in ("#again", "#magnify", "#question", "#onset"):
        assert not page.locator(later).is_visible()
    for tab in ("One clip", *TABS) if width > 600 else ("One clip",):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("tab", name=tab, selected=True).wait_for()
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(LOW_CONTRAST) == []
        photograph(page, f"first_{width}_{scheme}_{tab.split()[0].lower()}")
    page.get_by_text("Model and settings").click()
    page.get_by_label("texture").wait_for()
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is on it, where it has to be seen."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            assert page.locator(":focus").evaluate(MARKED), selector
            return
    raise AssertionError(f"Tab does not reach {selector}")


def test_by_keys_alone(visit: Visit) -> None:
    """An example is explained, a sentence chosen, a question asked and sent."""
    page = visit()
    tab_to(page, "#explain")
    tab_to(page, ".gallery-item")
    page.keyboard.press("Enter")
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").focus()
    page.keyboard.press("Enter")
    page.locator(".reading .answer").wait_for()
    assert page.evaluate(UNNAMED) == []
    tab_to(page, ".claim")
    page.keyboard.press("Enter")
    assert page.locator("polygon.lit").count() > 0
    page.keyboard.press("Escape")
    tab_to(page, "#question textarea")
    page.keyboard.type("Which emotion?")
    page.keyboard.press("Enter")
    page.locator(".turn:not(.open)").wait_for()
    for selector in ("polygon.region", "tr[data-region] button", ".mark.apex", "#again"):
        tab_to(page, selector)


def test_three_at_once_see_their_place(visit: Visit) -> None:
    """Two are served together, the third is told where it stands; all get their answer."""
    pages = [visit() for _ in range(3)]
    for page in pages:
        page.get_by_role("button", name="surprise", exact=True).click()
        page.locator(".clip video").first.wait_for(state="attached")
        page.evaluate(NOTE_QUEUE)
    for page in pages:
        page.locator("#explain").click()
    pages[0].get_by_role("tab", name="Compare").click()  # answers while all three wait
    pages[0].locator("#compare-both").wait_for()
    for page in pages:
        page.locator(".reading .answer").wait_for(state="attached")
    queued = [page.evaluate("() => [...window.queued]") for page in pages]
    assert any(re.fullmatch(r"queue: 1/1", text) for texts in queued for text in texts), queued


def test_a_second_look_replaces_the_first(visit: Visit) -> None:
    """Nothing of the clip before is left on the page, its conversation included."""
    page = visit(scheme="dark")
    explain_example(page)
    first = page.locator(".reading .quiet").first.inner_text()
    page.locator("#question textarea").fill("Why?")
    page.keyboard.press("Enter")
    page.locator(".turn:not(.open)").wait_for()
    page.get_by_role("button", name="nothing", exact=True).click()
    page.wait_for_function("() => document.querySelector('.clip video').src.includes('nothing')")
    page.locator("#explain").click()
    page.get_by_text("none named").first.wait_for()
    assert page.locator(".reading .quiet").first.inner_text() != first
    assert page.locator(".turn").count() == 0
    assert "No emotion is named" in page.locator(".reading").inner_text()
    assert page.evaluate(LOW_CONTRAST) == []
