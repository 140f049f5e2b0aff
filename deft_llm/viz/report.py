"""The report of one clip: a self-contained HTML page, the same content as JSON, and pictures.

``report.html`` embeds everything it shows (pictures as data URIs; no scripts, fonts or network
requests); ``explanation.json`` has the numbers; ``overlay.png`` is the strip of onset, apex,
offset, motion and regions; ``figure.pdf`` and ``figure.svg`` are for a paper (``viz/figure.py``).
All text from a file or a model is escaped.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import __version__
from deft_llm.clip import Clip, Explanation
from deft_llm.files import text_of
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.viz import overlay, page
from deft_llm.viz.curves import motion_chart
from deft_llm.viz.faces import eye_distance, moment_pictures, motion_pictures
from deft_llm.viz.figure import write_figure
from deft_llm.viz.overlay import Image

HTML, JSON, PICTURE = "report.html", "explanation.json", "overlay.png"
FIGURES = ("figure.pdf", "figure.svg")


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
        return cls(text_of(name), len(clip), clip.fps, clip.duration)


def write_report(
    folder: Path | str,
    measurement: Measurement,
    explanation: Explanation,
    *,
    clip_info: ClipInfo,
    source: str | None = None,
    scan: Mapping[str, Any] | None = None,
    figure: bool = False,
) -> Path:
    """Write ``report.html``, ``explanation.json``, ``overlay.png`` and the figure for a paper.

    All are written to a temporary folder beside the target and then moved into place, so an
    interruption while writing leaves the old report intact. Other files in the folder are kept.

    Args:
        folder: Where the report goes; created if missing.
        measurement: Aligned face, interval, flow, region tables.
        explanation: The model's explanation.
        clip_info: The clip's name, length and rate.
        source: Noted in the JSON: which clip this is the report of (``viz.report_folder``).
        scan: What a 3D scan beside the clip was read as, see ``report_values``.
        figure: Also write ``figure.pdf`` and ``figure.svg``, which takes a second or more; without
            it, older ones are removed.

    Returns:
        The path of ``report.html``.
    """
    target = Path(folder)
    moments = moment_pictures(measurement)
    motion = motion_pictures(measurement, explanation.evidence)
    record = report_values(measurement, explanation, clip_info, scan)
    if source is not None:
        # Not of ``report_values``: in the demo a clip has no place on disk.
        record["source"] = source
    files = FIGURES if figure else ()
    html = _page(measurement, explanation, clip_info, moments, motion, files, scan)
    strip = overlay.strip([*moments.values(), *motion.values()], [*moments, *motion])
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so on the same file system: there ``os.replace`` is an atomic rename.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".report-") as name:
        scratch = Path(name)
        (scratch / PICTURE).write_bytes(overlay.encode_png(strip))
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (scratch / JSON).write_text(text + "\n", encoding="utf-8")
        (scratch / HTML).write_text(html, encoding="utf-8")
        if figure:
            write_figure([scratch / name for name in FIGURES], measurement, explanation.evidence)
        target.mkdir(exist_ok=True)
        # The page goes last: once it is new, the files beside it are new as well.
        for file in (*files, PICTURE, JSON, HTML):
            os.replace(scratch / file, target / file)
        for file in FIGURES[len(files) :]:
            (target / file).unlink(missing_ok=True)
    return target / HTML


def report_page(
    measurement: Measurement,
    explanation: Explanation,
    clip_info: ClipInfo,
    scan: Mapping[str, Any] | None = None,
) -> str:
    """The report as one HTML page, without files beside it; arguments as in ``write_report``."""
    moments = moment_pictures(measurement)
    motion = motion_pictures(measurement, explanation.evidence)
    return _page(measurement, explanation, clip_info, moments, motion, (), scan)


def report_values(
    measurement: Measurement,
    explanation: Explanation,
    clip_info: ClipInfo,
    scan: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything in the report, as a JSON-ready dictionary.

    Args:
        measurement: The clip's measurement.
        explanation: The model's explanation.
        clip_info: The clip's name, length and rate.
        scan: ``facet.scan_reader.ScanReading.record`` of a 3D scan beside the clip, with its
            ``name``; a reading of its own, on which nothing else here rests.

    Returns:
        Keys ``version``, ``status``, ``clip``, ``frames_with_face``, ``found``, ``interval``
        (frames and seconds), ``head_motion_px``, ``landmark_uncertainty_px``,
        ``interocular_px``, ``noise_samples``, ``regions`` (both phases), ``explanation``, and
        ``scan`` if there is one.
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
        "noise_samples": measurement.noise_samples,
        "regions": {
            "onset_to_apex": _rows(measurement.table_apex),
            "apex_to_offset": _rows(measurement.table_offset),
        },
        "explanation": explanation.to_dict(),
        **({} if scan is None else {"scan": dict(scan)}),
    }


def _page(
    measurement: Measurement,
    explanation: Explanation,
    info: ClipInfo,
    moments: dict[str, Image],
    motion: dict[str, Image],
    figures: Sequence[str],
    scan: Mapping[str, Any] | None,
) -> str:
    return page.fill_template(
        "report.html",
        name=info.name,
        summary=summary_line(measurement, info),
        explanation=explanation,
        interocular=eye_distance(measurement),
        moments={caption: overlay.encode_png(face) for caption, face in moments.items()},
        motion={caption: overlay.encode_png(face) for caption, face in motion.items()},
        chart=motion_chart(measurement),
        facts=_facts(measurement),
        scan=scan,
        figures=figures,
        version=__version__,
    )


def summary_line(measurement: Measurement, info: ClipInfo) -> str:
    """Number of frames, rate, length, and how many frames show a face."""
    seen = int(np.count_nonzero(measurement.aligned.present))
    return (
        f"{info.frames} frames at {info.fps:.4g} fps · {info.duration:.2f} s · "
        f"face in {seen} of {len(measurement.aligned.present)} frames"
    )


def _facts(measurement: Measurement) -> dict[str, str]:
    aligned = measurement.aligned
    moments = _moments(measurement)
    named = " · ".join(f"{k} {m['seconds']:.3f} s (frame {m['frame']})" for k, m in moments.items())
    eyes = eye_distance(measurement)
    floors = measurement.noise
    rows = {
        "Interval": named if measurement.found else f"no expression found; compared: {named}",
        "Head motion": f"up to {measurement.head_motion:.1f} px, removed",
        "Placement": f"landmarks are sure to {aligned.placement_uncertainty:.1f} px "
        f"({100 * aligned.placement_uncertainty / eyes:.1f} % of the eye distance), placed by "
        f"{aligned.landmark_method}",
        "Noise floor": f"{floors.min():.3f} to {floors.max():.3f} px by region, "
        f"{_noise_source(measurement)}",
        "Eye distance": f"{eyes:.0f} px on the canonical face",
    }
    return rows


def _noise_source(measurement: Measurement) -> str:
    samples = measurement.noise_samples
    # Too few frames at rest give no pairs, and the noise is that of the sensor.
    if not samples:
        return "prior from the sensor noise"
    if measurement.noise_fitted:
        return f"what the fit to {samples} frames leaves over"
    return f"from {samples} pairs of frames at rest"


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
