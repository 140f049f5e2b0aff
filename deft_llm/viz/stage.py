"""The face to be looked at in a browser: onset and apex, heat, arrows, regions one by one.

Pieces of HTML that a page's own style sheet and script bring to life (``service/assets``): an
element with ``data-region`` belongs to that region, wherever it stands, and lights up with the
others. Every text that came from a file or a model is escaped; pictures are data URIs.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, region_masks
from deft_llm.viz import overlay
from deft_llm.viz.page import data_uri
from deft_llm.viz.report import interocular, region_arrows

_BORDER = 0.5  # of a region's soft weight: its outline
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """JPEG bytes of an RGB picture (H, W, 3): a fifth of the PNG, for many frames at once."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG)
    assert done, image.shape
    return data.tobytes()


def region_numbers(measurement: Measurement, region: str, evidence: Sequence[Evidence] = ()) -> str:
    """What was measured of one region, in a line.

    Args:
        measurement: The clip.
        region: A key of ``facs.REGIONS``.
        evidence: Rows that say which AUs explain the motion.

    Returns:
        For example "left inner brow: up 1.40 px (1.75 % of the eye distance), 19.5 times its
        noise; fits AU1".
    """
    table, i = measurement.table_apex, REGION_NAMES.index(region)
    if not table.placed[i]:
        return f"{region}: its place is too uncertain to measure"
    size, z = float(table.magnitude[i]), float(table.z[i])
    share = 100 * size / interocular(measurement)
    line = (
        f"{region}: {table.direction(i)} {size:.2f} px ({share:.2f} % of the eye distance), "
        f"{z:.1f} times its noise"
    )
    if not table.active[i]:
        return f"{line}: not above the noise"
    units = sorted({code for row in evidence if row.region == region for code in row.aus})
    return line + (f"; fits {', '.join(f'AU{u}' for u in units)}" if units else "; no AU named")


def face_stage(measurement: Measurement, evidence: Sequence[Evidence]) -> str:
    """The face with everything that can be laid over it.

    Args:
        measurement: What was measured.
        evidence: The regions that count as moved.

    Returns:
        HTML: two pictures under one slider, layers with their switches, a line of numbers.
    """
    aligned, interval = measurement.aligned, measurement.interval
    floor = 2.0 * float(np.median(measurement.noise))
    heat, top = overlay.heat_layer(measurement.flow_apex, aligned.landmarks, floor)
    layer = data_uri(overlay.encode_png(np.rint(heat * 255).astype(np.uint8)))
    onset, apex = (
        data_uri(encode_jpeg(aligned.frames[t]), "image/jpeg")
        for t in (interval.onset, interval.apex)
    )
    size = aligned.frames.shape[1]
    arrows, factor = _arrows(measurement, evidence)
    ramp = ", ".join(
        f"rgb({', '.join(str(round(255 * c)) for c in colour)})"
        for colour in overlay.heat_colours(np.linspace(0, 1, 6))
    )
    return f"""<div class="stage">
<div class="face">
<img class="onset" alt="The face at onset" src="{onset}">
<img class="apex" alt="The face at the apex" src="{apex}">
<img class="heat" alt="Motion as heat" src="{layer}">
<svg viewBox="0 0 {size} {size}" role="group" aria-label="Regions of the face">
<g class="regions">{_outlines(measurement, evidence)}</g>
<g class="arrows" aria-hidden="true">{arrows}</g></svg>
<span class="side left-side">subject’s right</span><span class="side right-side">left</span>
</div>
<div class="switches">
<label class="compare"><span>onset</span><input type="range" min="0" max="100" value="0"
 aria-label="From the onset frame to the apex frame"><span>apex</span></label>
<label><input type="checkbox" data-layer="heat" checked> heat</label>
<label><input type="checkbox" data-layer="arrows" checked> arrows (×{factor})</label>
<label><input type="checkbox" data-layer="regions" checked> regions</label>
<span class="scale"><span>0</span><i style="background: linear-gradient(90deg, {ramp})"></i>
<span>{top:.2g} px</span></span>
</div>
<p class="numbers" role="status">Point at a region, or choose a sentence or a row.</p>
</div>"""


def _outlines(measurement: Measurement, evidence: Sequence[Evidence]) -> str:
    """One focusable outline per placed region, the ones that moved marked."""
    masks = region_masks(measurement.aligned.landmarks, measurement.aligned.frames.shape[1])
    moved = {row.region for row in evidence}
    parts = []
    for i in np.flatnonzero(measurement.table_apex.placed):
        name = REGION_NAMES[i]
        found, _ = cv2.findContours(
            (masks[i] >= _BORDER).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_KCOS
        )
        if not found:
            continue
        line = max(found, key=len).reshape(-1, 2)
        points = " ".join(f"{x},{y}" for x, y in line)
        kind = "region moved" if name in moved else "region"
        words = escape(region_numbers(measurement, name, evidence))
        parts.append(
            f'<polygon class="{kind}" points="{points}" data-region="{name}" data-numbers="{words}"'
            f' role="button" tabindex="0" aria-label="{words}"><title>{words}</title></polygon>'
        )
    return "".join(parts)


def _arrows(measurement: Measurement, evidence: Sequence[Evidence]) -> tuple[str, int]:
    """The moved regions' arrows as SVG, and how many times too long they are drawn."""
    moving = [a for a in region_arrows(measurement, evidence) if a.active]
    factor = overlay.magnification(max((float(np.hypot(a.u, a.v)) for a in moving), default=0.0))
    parts = []
    for a in moving:
        x, y = a.x + factor * a.u, a.y + factor * a.v
        length = max(float(np.hypot(a.u, a.v)) * factor, 1e-6)
        du, dv = factor * a.u / length, factor * a.v / length
        head = min(6.0, length)
        tip = " ".join(
            f"{x - head * du + s * head * 0.5 * dv:.1f},{y - head * dv - s * head * 0.5 * du:.1f}"
            for s in (-1, 1)
        )
        end = f"{x - 0.6 * head * du:.1f} {y - 0.6 * head * dv:.1f}"
        parts.append(
            f'<path class="shaft" d="M{a.x:.1f} {a.y:.1f}L{end}"/>'
            f'<polygon class="head" points="{x:.1f},{y:.1f} {tip}"/>'
        )
    return "".join(parts), factor


def region_table(measurement: Measurement, evidence: Sequence[Evidence]) -> str:
    """Region by region, both phases, the strongest first; a row lights its region up.

    Args:
        measurement: What was measured.
        evidence: The regions that count as moved, with the AUs that explain them.

    Returns:
        An HTML table.
    """
    rise, fall = measurement.table_apex, measurement.table_offset
    units = {row.region: " ".join(f"AU{code}" for code in row.aus) for row in evidence}
    rows = []
    for i in np.argsort(-rise.z, kind="stable"):
        name = REGION_NAMES[i]
        if not rise.placed[i]:
            continue
        kind = ' class="moved"' if name in units else ""
        words = escape(region_numbers(measurement, name, evidence))
        rows.append(
            f'<tr{kind} data-region="{name}" data-numbers="{words}">'
            f'<th scope="row"><button type="button">{name}</button></th>'
            f"<td>{rise.direction(i)}</td>{_number(rise.magnitude[i], 2)}{_number(rise.z[i], 1)}"
            f"<td>{units.get(name) or '–'}</td>"
            f"<td>{fall.direction(i) if fall.active[i] else '–'}</td>"
            f"{_number(fall.magnitude[i], 2)}{_number(fall.z[i], 1)}</tr>"
        )
    head = (
        '<tr><th rowspan="2" scope="col">region</th><th colspan="4" scope="colgroup">onset to apex'
        '</th><th colspan="3" scope="colgroup">apex to offset</th></tr><tr>'
        '<th scope="col">direction</th><th scope="col" class="n">px</th><th scope="col" class="n">z'
        '</th><th scope="col">fits</th><th scope="col">direction</th><th scope="col" class="n">px'
        '</th><th scope="col" class="n">z</th></tr>'
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Motion of {len(rows)} '
        f'of {len(facs.REGIONS)} regions"><table class="by-region"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _number(value: np.floating, digits: int) -> str:
    return f'<td class="n">{float(value):.{digits}f}</td>'
