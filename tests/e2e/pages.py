"""What the tests of the demo do and look for in a page.

With DEFT_SCREENSHOTS set to a folder, pictures of the pages are left there to be looked at.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

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


# Controls that the keyboard reaches and that have no name.
UNNAMED = """() => {
  const bad = [];
  const kinds = "button, input, select, textarea, a[href], [tabindex]";
  for (const e of document.querySelectorAll(kinds)) {
    if (e.tabIndex < 0 || !e.checkVisibility({ visibilityProperty: true })) continue;
    const labels = [...(e.labels || [])].map((label) => label.innerText).join("");
    const ids = (e.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean);
    const by = ids.map((id) => document.getElementById(id)?.innerText).join("");
    const name = [e.getAttribute("aria-label"), by, labels, e.innerText, e.title];
    if (!name.some((words) => words && words.trim())) bad.push(e.outerHTML.slice(0, 120));
  }
  return bad;
}"""


def photograph(page: Page, name: str, whole: bool = True) -> None:
    if folder := os.environ.get("DEFT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def explain_example(page: Page, name: str = "surprise") -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.locator(".clip video").first.wait_for(state="attached")
    page.locator("#explain").click()
    page.locator(".reading .answer").wait_for()


# The colours of a picture that is the background of an element, at a few places of it.
BACKGROUND = """async (e) => {
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const image = new Image();
  image.src = style.backgroundImage.slice(5, -2);
  await image.decode();
  const [columns, rows] = style.backgroundSize.split(" ").map((part) => parseFloat(part) / 100);
  const [x, y] = style.backgroundPosition.split(" ").map((part) => parseFloat(part) / 100);
  const [width, height] = [image.width / columns, image.height / rows];
  const canvas = document.createElement("canvas").getContext("2d");
  [canvas.canvas.width, canvas.canvas.height] = [width, height];
  canvas.drawImage(image, x * (image.width - width), y * (image.height - height), width, height,
    0, 0, width, height);
  return { pixels: [...canvas.getImageData(0, 0, width, height).data], width, height,
    shape: box.width / box.height };
}"""


def background(element: Locator) -> NDArray[np.uint8]:
    """The part of a contact sheet that an element shows, RGB."""
    found = element.evaluate(BACKGROUND)
    assert abs(found["shape"] - found["width"] / found["height"]) < 0.02, "the picture is stretched"
    shape = (int(found["height"]), int(found["width"]), 4)
    return np.array(found["pixels"], np.uint8).reshape(shape)[..., :3]


def ask(page: Page, question: str, turns: int) -> None:
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")
    page.locator(f".turn:nth-child({turns}):not(.open)").wait_for()
    assert box.input_value() == ""


def onset_at(page: Page) -> int:
    return int(page.locator(".mark.onset").get_attribute("aria-valuenow") or -1)
