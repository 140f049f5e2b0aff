"""The report of a scan: its views, where the expression was seen on the surface, and the curve.

A folder with ``report.html`` (one file that opens anywhere), ``explanation.json``, ``views.png``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from deft_llm import __version__
from deft_llm.files import write_bytes, write_text
from deft_llm.scans.scan import turned
from deft_llm.viz.overlay import encode_png, heat_colours, strip
from deft_llm.viz.page import fill_template
from deft_llm.viz.report import JSON

HTML, PICTURE = "report.html", "views.png"
WIDTH, HEIGHT = 1000, 100  # of the curve's drawing, which the page stretches to fit
_ENLARGED = 2  # times the side of a view
_APART = 0.06  # of the curve's length: numbers of frames that are nearer touch each other
_FAINT = 0.25  # attention below which the surface stays grey
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ViewPicture:
    """One view in the report.

    Attributes:
        yaw: Degrees by which the head is turned to its left.
        shaded: (S, S) the lit surface, 0..1, 1 around it.
        mask: (S, S) bool, the surface.
        attention: (G, G) how much each place speaks for the expression, 0..1.
        weight: Of the view; None if it was left out.
    """

    yaw: float
    shaded: Floats
    mask: NDArray[np.bool_]
    attention: Floats
    weight: float | None

    @property
    def caption(self) -> str:
        """For example "turned to its left by 45°: weight 0.31"."""
        told = "left out" if self.weight is None else f"weight {self.weight:.2f}"
        return f"{turned(self.yaw)}: {told}"

    def drawn(self) -> NDArray[np.uint8]:
        """The surface under the attention, RGB (2 S, 2 S, 3)."""
        side = _ENLARGED * len(self.shaded)
        grey = cv2.resize(self.shaded, (side, side), interpolation=cv2.INTER_CUBIC)
        heat = cv2.resize(self.attention, (side, side), interpolation=cv2.INTER_CUBIC)
        inside = cv2.resize(self.mask.astype(np.float32), (side, side))
        level = np.clip(heat, 0, 1)
        above = np.clip((level - _FAINT) / (1 - _FAINT), 0, 1) * inside
        # The surface shows through; a view that was left out has no colour.
        opacity = 0.75 * above[..., None] ** 0.7 * (self.weight is not None)
        colour = np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=-1)
        mixed = colour + opacity * (heat_colours(level) - colour)
        return np.round(255 * mixed).astype(np.uint8)


def write_scan_report(
    folder: Path,
    name: str,
    record: Mapping[str, Any],
    views: Sequence[ViewPicture],
    tower: str,
) -> Path:
    """Write the report.

    Args:
        folder: Exists already.
        name: Of the scan.
        record: ``facet.scan_reader.ScanReading.record``, with what else is to be kept.
        views: Its views.
        tower: The text tower, in words.

    Returns:
        The page.
    """
    kind = "sequence" if record["curve_mm"] else "scan"
    page = fill_template(
        "scan.html",
        name=name,
        summary=f"{kind} · {record['expression']}",
        version=__version__,
        **_values(record, views, tower),
    )
    # First what says whose folder it is: a report that was interrupted is written again there.
    write_text(folder / JSON, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    side_by_side = strip([v.drawn() for v in views], [v.caption for v in views])
    write_bytes(folder / PICTURE, encode_png(side_by_side))
    write_text(folder / HTML, str(page))
    return folder / HTML


def scan_card(
    name: str, record: Mapping[str, Any], views: Sequence[ViewPicture], tower: str
) -> Markup:
    """What the report shows, as a part of the demo's page; arguments as `write_scan_report`."""
    return fill_template("scan_card.html", name=name, **_values(record, views, tower))


def _values(record: Mapping[str, Any], views: Sequence[ViewPicture], tower: str) -> dict[str, Any]:
    """What the templates show."""
    curve = record["curve_mm"]
    return {
        "reading": record,
        "views": [(turned(v.yaw), v.weight, encode_png(v.drawn())) for v in views],
        "curve": _curve(curve) if curve else None,
        "tower": tower,
    }


def _curve(values: Sequence[float]) -> dict[str, Any]:
    """Places of the curve on its drawing."""
    # mm; a face at rest must not fill the plot with the scanner's noise.
    top = max(*values, 0.1) * 1.1
    last = max(len(values) - 1, 1)
    points = [f"{WIDTH * t / last:.1f} {HEIGHT * (1 - v / top):.1f}" for t, v in enumerate(values)]
    peak = int(np.argmax(values))
    ticks = {0, len(values) - 1}
    # Or its number would lie upon that of the first or last frame.
    if _APART < peak / last < 1 - _APART:
        ticks.add(peak)
    return {
        "path": "M" + "L".join(points),
        "width": WIDTH,
        "height": HEIGHT,
        "top": top,
        "ticks": [(t + 1, t / last) for t in sorted(ticks)],
        "peak": {"frame": peak + 1, "mm": values[peak]},
    }
