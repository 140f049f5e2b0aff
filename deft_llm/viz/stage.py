"""The face in a browser: onset and apex, heat, arrows, and each region.

The HTML needs the page's style sheet and script (``service/assets``): all elements with the same
``data-region`` are highlighted together, wherever they are on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import ACTIVE_Z, REGION_NAMES, region_masks
from deft_llm.viz import overlay
from deft_llm.viz.faces import eye_distance, heat_flow, region_arrows
from deft_llm.viz.page import fill_template

_BORDER = 0.5  # soft weight at which a region's outline is drawn
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """JPEG bytes of an RGB picture (H, W, 3); a fifth of a PNG's size, for many frames at once."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG)
    assert done, image.shape
    return data.tobytes()


def region_numbers(measurement: Measurement, region: str, evidence: Sequence[Evidence] = ()) -> str:
    """The measurements of one region, in one line.

    Args:
        measurement: The clip.
        region: A key of ``facs.REGIONS``.
        evidence: Rows with the AUs that explain the motion.

    Returns:
        For example "left inner brow: up 1.40 px (1.75 % of the eye distance), 19.5 times its
        noise; fits AU1".
    """
    table, i = measurement.table_apex, REGION_NAMES.index(region)
    if not table.placed[i]:
        return f"{region}: not measured, its place is too uncertain or hidden"
    size, z = float(table.magnitude[i]), float(table.z[i])
    share = 100 * size / eye_distance(measurement)
    line = (
        f"{region}: {table.direction(i)} {size:.2f} px ({share:.2f} % of the eye distance), "
        f"{z:.1f} times its noise"
    )
    if not table.active[i]:
        # Above its noise and yet not active: too little, or alone in a clip without a movement.
        weak = "not above the noise" if z < ACTIVE_Z else "too little, or too alone, to be motion"
        return f"{line}: {weak}"
    aus = facs.sort_aus(code for row in evidence if row.region == region for code in row.aus)
    return f"{line}; " + (f"fits {', '.join(map(facs.au_short, aus))}" if aus else "fits no AU")


def face_stage(measurement: Measurement, evidence: Sequence[Evidence]) -> Markup:
    """The face with all its overlays.

    Args:
        measurement: The clip's measurement.
        evidence: The regions that count as moved.

    Returns:
        HTML: two pictures under one slider, layers with their switches, a line of numbers.
    """
    aligned, interval = measurement.aligned, measurement.interval
    onset, apex = aligned.pictures(interval.onset), aligned.pictures(interval.apex)
    # As in the report's picture, so that both show the same motion.
    flow, floor = heat_flow(measurement)
    heat, top = overlay.heat_layer(flow, aligned.landmarks, floor)
    above = len(onset) - len(heat)
    heat = np.pad(heat, ((above, 0), (0, 0), (0, 0)))
    arrows, factor = _arrows(measurement, evidence)
    return fill_template(
        "stage.html",
        onset=encode_jpeg(onset),
        apex=encode_jpeg(apex),
        heat=overlay.encode_png(np.rint(heat * 255).astype(np.uint8)),
        width=onset.shape[1],
        height=len(onset),
        above=above,
        outlines=_outlines(measurement, evidence),
        arrows=arrows,
        factor=factor,
        ramp=np.rint(255 * overlay.heat_colours(np.linspace(0, 1, 6))).astype(int),
        top=top,
    )


def _outlines(
    measurement: Measurement, evidence: Sequence[Evidence]
) -> Iterator[dict[str, str | bool]]:
    """The outline of each placed region, with a mark on those that moved."""
    masks = region_masks(measurement.aligned.landmarks, measurement.aligned.frames.shape[1])
    moved = {row.region for row in evidence}
    for i in np.flatnonzero(measurement.table_apex.placed):
        name = REGION_NAMES[i]
        found, _ = cv2.findContours(
            (masks[i] >= _BORDER).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_KCOS
        )
        if not found:
            continue
        # A region in two pieces, such as lips: the longer outline.
        line = max(found, key=len).reshape(-1, 2)
        yield {
            "region": name,
            "moved": name in moved,
            "points": " ".join(f"{x},{y}" for x, y in line),
            "numbers": region_numbers(measurement, name, evidence),
        }


def _arrows(
    measurement: Measurement, evidence: Sequence[Evidence]
) -> tuple[list[dict[str, str]], int]:
    """The moved regions' arrows as SVG shapes, and their magnification factor."""
    moving = [a for a in region_arrows(measurement, evidence) if a.active]
    factor = overlay.magnification(max((float(np.hypot(a.u, a.v)) for a in moving), default=0.0))
    parts = []
    for a in moving:
        # SVG counts y down, as v does.
        x, y = a.x + factor * a.u, a.y + factor * a.v
        length = max(float(np.hypot(a.u, a.v)) * factor, 1e-6)
        du, dv = factor * a.u / length, factor * a.v / length
        # The head is never longer than the arrow.
        head = min(6.0, length)
        tip = " ".join(
            # (dv, -du) is the direction turned by a quarter: the two corners of the head.
            f"{x - head * du + s * head * 0.5 * dv:.1f},{y - head * dv - s * head * 0.5 * du:.1f}"
            for s in (-1, 1)
        )
        # The shaft ends inside the head: drawn to the tip, its width would blunt it.
        end = f"{x - 0.6 * head * du:.1f} {y - 0.6 * head * dv:.1f}"
        parts.append({"shaft": f"M{a.x:.1f} {a.y:.1f}L{end}", "head": f"{x:.1f},{y:.1f} {tip}"})
    return parts, factor


def region_rows(measurement: Measurement, evidence: Sequence[Evidence]) -> Markup:
    """Table of all regions in both phases, strongest first; a row highlights its region.

    Args:
        measurement: The clip's measurement.
        evidence: The regions that count as moved, with the AUs that explain them.

    Returns:
        An HTML table.
    """
    onset_phase, offset_phase = measurement.table_apex, measurement.table_offset
    aus = {row.region: " ".join(map(facs.au_short, row.aus)) for row in evidence}
    rows = [
        {
            "i": i,
            "region": name,
            "moved": name in aus,
            "fits": aus.get(name),
            "numbers": region_numbers(measurement, name, evidence),
        }
        for i in np.argsort(-onset_phase.z, kind="stable")
        for name in [REGION_NAMES[i]]
        if onset_phase.placed[i]
    ]
    return fill_template(
        "regions.html",
        rows=rows,
        onset_phase=onset_phase,
        offset_phase=offset_phase,
        total=len(facs.REGIONS),
    )
