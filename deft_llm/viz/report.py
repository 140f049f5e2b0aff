"""The report of one clip: a self-contained HTML page, the same content as JSON, and one picture.

``report.html`` embeds everything it shows (pictures as data URIs; no scripts, fonts or network
requests); ``explanation.json`` has the numbers; ``overlay.png`` is the strip of onset, apex,
motion and regions. All text from a file or a model is escaped.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import __version__
from deft_llm.clip import Clip, Evidence, Explanation
from deft_llm.metrics.landmarks import interocular
from deft_llm.motion.measure import Measurement
from deft_llm.motion.onset_apex import REGION_WEIGHTS
from deft_llm.motion.regions import REGION_NAMES, RegionTable, region_masks
from deft_llm.viz import curves, overlay, page
from deft_llm.viz.overlay import Arrow, Image

HTML, JSON, PICTURE = "report.html", "explanation.json", "overlay.png"


@dataclass(frozen=True)
class ClipInfo:
    """Clip details shown at the top of a report.

    Attributes:
        name: Shown as the title.
        frames: Number of frames.
        fps: Frames per second, median.
        duration: Seconds.
    """

    name: str
    frames: int
    fps: float
    duration: float

    @classmethod
    def of(cls, clip: Clip) -> ClipInfo:
        """Build from a clip; a clip read from disk takes its file's name."""
        name = clip.source.name if clip.source is not None else clip.name
        # A name may hold bytes that are no text, which neither HTML nor JSON can contain.
        name = name.encode("utf-8", "backslashreplace").decode()
        return cls(name, len(clip), clip.fps, clip.duration)


def write_report(
    folder: Path | str,
    measurement: Measurement,
    explanation: Explanation,
    *,
    clip_info: ClipInfo,
    source: str | None = None,
) -> Path:
    """Write ``report.html``, ``explanation.json`` and ``overlay.png``.

    All three are written to a temporary folder beside the target and then moved into place, so an
    interruption while writing leaves the old report intact. Other files in the folder are kept.

    Args:
        folder: Where the report goes; created if missing.
        measurement: Aligned face, interval, flow, region tables.
        explanation: The model's explanation.
        clip_info: The clip's name, length and rate.
        source: Noted in the JSON: which clip this is the report of (``viz.report_folder``).

    Returns:
        The path of ``report.html``.
    """
    target = Path(folder)
    pictures = face_pictures(measurement, explanation.evidence)
    record = report_values(measurement, explanation, clip_info)
    if source is not None:
        record["source"] = source
    html = _page(measurement, explanation, clip_info, pictures)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so on the same file system: there ``os.replace`` is an atomic rename.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".report-") as name:
        scratch = Path(name)
        strip = overlay.strip(list(pictures.values()), list(pictures))
        (scratch / PICTURE).write_bytes(overlay.encode_png(strip))
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (scratch / JSON).write_text(text + "\n", encoding="utf-8")
        (scratch / HTML).write_text(html, encoding="utf-8")
        target.mkdir(exist_ok=True)
        # The page goes last: once it is new, the files beside it are new as well.
        for file in (PICTURE, JSON, HTML):
            os.replace(scratch / file, target / file)
    return target / HTML


def report_values(
    measurement: Measurement, explanation: Explanation, clip_info: ClipInfo
) -> dict[str, Any]:
    """Everything in the report, as a JSON-ready dictionary.

    Args:
        measurement: The clip's measurement.
        explanation: The model's explanation.
        clip_info: The clip's name, length and rate.

    Returns:
        Keys ``version``, ``status``, ``clip``, ``frames_with_face``, ``found``, ``interval``
        (frames and seconds), ``head_motion_px``, ``landmark_uncertainty_px``,
        ``interocular_px``, ``noise_pairs``, ``regions`` (both phases) and ``explanation``.
    """
    return {
        "version": __version__,
        "status": measurement.status,
        "clip": asdict(clip_info),
        "frames_with_face": int(np.count_nonzero(measurement.aligned.present)),
        "found": measurement.found,
        "interval": _moments(measurement),
        "head_motion_px": round(float(measurement.head_motion), 3),
        "landmark_uncertainty_px": round(measurement.aligned.placement_uncertainty, 3),
        "interocular_px": round(eye_distance(measurement), 3),
        "noise_pairs": measurement.noise_pairs,
        "regions": {
            "onset_to_apex": _rows(measurement.table_apex),
            "apex_to_offset": _rows(measurement.table_offset),
        },
        "explanation": explanation.to_dict(),
    }


def face_pictures(measurement: Measurement, evidence: Sequence[Evidence]) -> dict[str, Image]:
    """The four pictures of a report.

    Args:
        measurement: The clip's measurement.
        evidence: The regions that get an arrow.

    Returns:
        Caption -> RGB picture: onset, apex (first and furthest frame if no expression was found),
        motion as heat, arrows of the regions.
    """
    frames, interval = measurement.aligned.frames, measurement.interval
    onset, apex = frames[interval.onset], frames[interval.apex]
    moments = _moments(measurement)
    # Without an expression the interval is only the pair of frames that was compared: no onset,
    # no apex.
    first, second = ("onset", "apex") if measurement.found else ("first frame", "furthest frame")
    return {
        f"{first} {moments['onset']['seconds']:.3f} s": onset,
        f"{second} {moments['apex']['seconds']:.3f} s": apex,
        f"motion from {first} to {second}": overlay.flow_heat(
            onset,
            measurement.flow_apex,
            measurement.aligned.landmarks,
            # One floor for the whole picture, though noise differs by region: the typical region's.
            floor=2.0 * float(np.median(measurement.noise)),
        ),
        "regions that moved": overlay.draw_region_arrows(
            onset, region_arrows(measurement, evidence)
        ),
    }


def region_arrows(measurement: Measurement, evidence: Sequence[Evidence]) -> list[Arrow]:
    """Motion of each region from onset to apex, drawn from the region's centre.

    Args:
        measurement: The clip's measurement.
        evidence: The regions that count as moved, so that the picture agrees with the table.

    Returns:
        One arrow per region that the landmarks place reliably (``RegionTable.placed``).
    """
    named = {e.region for e in evidence}
    table, size = measurement.table_apex, measurement.aligned.frames.shape[1]
    masks = region_masks(measurement.aligned.landmarks, size)
    ys, xs = np.mgrid[:size, :size]
    return [
        Arrow(
            x=float(np.average(xs, weights=masks[i])),
            y=float(np.average(ys, weights=masks[i])),
            u=float(table.u[i]),
            v=float(table.v[i]),
            active=REGION_NAMES[i] in named,
        )
        # A region wholly outside the picture has no weights, and ``np.average`` would fail on it.
        for i in np.flatnonzero(table.placed & (masks.sum(axis=(1, 2)) > 0))
    ]


def curve_floor(measurement: Measurement) -> float:
    """The height that the motion curve reaches from noise alone, canonical pixels.

    The curve is a weighted RMS over regions of motion with two components, so its floor is the
    weighted RMS of the regions' floors (each for one component), times the square root of two.
    """
    variance = np.average(measurement.noise.astype(np.float64) ** 2, weights=REGION_WEIGHTS)
    return float(np.sqrt(2.0 * variance))


def _page(
    measurement: Measurement,
    explanation: Explanation,
    info: ClipInfo,
    pictures: dict[str, Image],
) -> str:
    alts = ("The aligned face", "The aligned face", "Heat over the face", "Arrows on the face")
    return page.fill_template(
        "report.html",
        info=info,
        summary=summary_line(measurement, info),
        explanation=explanation,
        interocular=eye_distance(measurement),
        pictures=[
            {"caption": caption, "png": overlay.encode_png(picture), "alt": alt}
            for (caption, picture), alt in zip(pictures.items(), alts, strict=True)
        ],
        curve={
            "light": _curve(measurement, curves.LIGHT),
            "dark": _curve(measurement, curves.DARK),
        },
        facts=_facts(measurement),
        version=__version__,
    )


def _curve(measurement: Measurement, theme: curves.Theme) -> bytes:
    return curves.draw_motion_curve(
        measurement.aligned.timestamps,
        measurement.curve,
        measurement.interval if measurement.found else None,
        curve_floor(measurement),
        theme,
    )


def summary_line(measurement: Measurement, info: ClipInfo) -> str:
    """Number of frames, rate, length, and how many frames show a face."""
    seen = int(np.count_nonzero(measurement.aligned.present))
    return (
        f"{info.frames} frames at {info.fps:.4g} fps · {info.duration:.2f} s · "
        f"face in {seen} of {len(measurement.aligned.present)} frames"
    )


def _facts(measurement: Measurement) -> dict[str, str]:
    aligned, pairs = measurement.aligned, measurement.noise_pairs
    moments = _moments(measurement)
    named = " · ".join(f"{k} {m['seconds']:.3f} s (frame {m['frame']})" for k, m in moments.items())
    eyes = eye_distance(measurement)
    floors = measurement.noise
    source = f"from {pairs} pairs of frames at rest" if pairs else "prior from the sensor noise"
    rows = {
        "Interval": named if measurement.found else f"no expression found; compared: {named}",
        "Head motion": f"up to {measurement.head_motion:.1f} px, removed",
        "Placement": f"landmarks are sure to {aligned.placement_uncertainty:.1f} px "
        f"({100 * aligned.placement_uncertainty / eyes:.1f} % of the eye distance), placed by "
        f"{aligned.landmark_method}",
        "Noise floor": f"{floors.min():.3f} to {floors.max():.3f} px by region, {source}",
        "Eye distance": f"{eyes:.0f} px on the canonical face",
    }
    if measurement.status != "ok":
        rows["Remarks"] = measurement.status
    return rows


def _moments(measurement: Measurement) -> dict[str, dict[str, Any]]:
    interval, times = measurement.interval, measurement.aligned.timestamps
    named = {"onset": interval.onset, "apex": interval.apex, "offset": interval.offset}
    # Microseconds are enough for any frame rate, and hide float noise in the JSON.
    return {k: {"frame": t, "seconds": round(float(times[t]), 6)} for k, t in named.items()}


def _rows(table: RegionTable) -> list[dict[str, Any]]:
    return [
        {
            "region": name,
            "direction": table.direction(i),
            "magnitude_px": round(float(table.magnitude[i]), 4),
            "noise_px": round(float(table.noise[i]), 4),
            "z": round(float(table.z[i]), 2),
            "active": bool(table.active[i]),
            "placed": bool(table.placed[i]),
        }
        for i, name in enumerate(REGION_NAMES)
    ]


def eye_distance(measurement: Measurement) -> float:
    """Distance between the eye centres, canonical pixels."""
    return float(interocular(measurement.aligned.landmarks))
