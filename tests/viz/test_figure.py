"""The figure for a paper: its width, its text, what stands in it, and that nothing overlaps."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from deft_llm.clip import Evidence, Interval
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.viz import figure as paper

MakeMeasurement = Callable[..., Measurement]
MOVED = (Evidence("left inner brow", "up", 0.8, 16.0, ("1",)),)
MANY = tuple(Evidence(name, "up", 0.3 + 0.1 * k, 9.0) for k, name in enumerate(REGION_NAMES))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, make_measurement: MakeMeasurement) -> Path:
    folder = tmp_path_factory.mktemp("figure")
    for turn in "ab":
        paths = [folder / f"{turn}.{kind}" for kind in ("pdf", "svg")]
        paper.write_figure(paths, make_measurement(), MOVED)
    return folder


def test_the_same_clip_gives_the_same_bytes(files: Path) -> None:
    for kind in ("pdf", "svg"):
        first = (files / f"a.{kind}").read_bytes()
        assert first == (files / f"b.{kind}").read_bytes()
        assert b"Date" not in first and b"matplotlib.org" not in first


def test_text_stays_text_of_eight_points(files: Path) -> None:
    root = ET.parse(files / "a.svg").getroot()
    assert root.get("width") == f"{180 / 25.4 * 72:g}pt" or root.get("width", "").startswith(
        "510.2"
    )
    texts = list(root.iter(f"{SVG}text"))
    words = ["".join(each.itertext()) for each in texts]
    for statement in (
        *("a", "b", "c", "d", "e", "f", "onset, 0.005 s", "apex, 0.025 s", "left inner brow"),
        *("40 px (50 % interocular)", "onset 0.005 s", "apex 0.025 s", "offset 0.045 s"),
        *("motion (px)", "regions that moved, ×20", "0.5 px (0.63 % interocular)"),
    ):
        assert statement in words, statement
    assert any(re.fullmatch(r"time \(s\); dashed: noise floor, [\d.]+ px", w) for w in words)
    assert any(re.fullmatch(r"[\d.]+ px \([\d.]+ % interocular\)", w) for w in words)
    assert {re.search(r"([\d.]+)px", each.get("style", ""))[1] for each in texts} == {"8"}  # type: ignore[index]


def test_the_pdf_embeds_truetype(files: Path) -> None:
    content = (files / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/FontFile2" in content and b"/Type3" not in content
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert box is not None and float(box[1]) == pytest.approx(180 / 25.4 * 72, abs=0.1)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    drawn = b"".join(zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"x")
    assert b" Tj" in drawn or b" TJ" in drawn


def _overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that overlap, and texts that leave the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    shown: list[Text] = []
    for axes in figure.axes:
        shown += axes.texts
        for axis, (low, high) in (
            ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim())))
            if axes.axison
            else ()
        ):
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            shown += [axis.label, *(label for place, label in ticks if low <= place <= high)]
    # Of an annotation the words alone: its own box would include its arrow.
    boxes = [(t.get_text(), Text.get_window_extent(t, renderer)) for t in shown if t.get_text()]
    pairs = [(a, b) for (a, x), (b, y) in combinations(boxes, 2) if _cross(x, y)]
    page = figure.bbox
    return pairs + [
        (text, "outside")
        for text, box in boxes
        if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1
    ]


def _cross(a: object, b: object) -> bool:
    across = min(a.x1, b.x1) - max(a.x0, b.x0)  # type: ignore[attr-defined]
    along = min(a.y1, b.y1) - max(a.y0, b.y0)  # type: ignore[attr-defined]
    return bool(across > 0.5 and along > 0.5)


@pytest.mark.parametrize(
    ("interval", "lift", "evidence"),
    [
        (Interval(1, 5, 9), 0.8, MOVED),
        (Interval(0, 0, 1), 0.8, MOVED),  # all three at the start
        (Interval(10, 11, 11), 18.0, MANY),  # all three at the end, large motion, every region
        (Interval(1, 5, 9), 0.0, ()),
    ],
)
def test_no_text_overlaps_another(
    make_measurement: MakeMeasurement,
    interval: Interval,
    lift: float,
    evidence: tuple[Evidence, ...],
) -> None:
    measurement = replace(make_measurement(lift, found=bool(evidence)), interval=interval)
    above = np.full((12, 64, 224, 3), 90, np.uint8)
    measurement = replace(measurement, aligned=replace(measurement.aligned, above=above))
    assert _overlaps(paper.draw_figure(measurement, evidence)) == []


def test_moments_are_marked_where_they_are(make_measurement: MakeMeasurement) -> None:
    figure = paper.draw_figure(make_measurement(), MOVED)
    curve = figure.axes[4]
    marks = [line.get_xdata()[0] for line in curve.lines if len(line.get_xdata()) == 2]  # type: ignore[index,arg-type]
    assert marks[1:] == [0.005, 0.025, 0.045]
    tips = [t.xy[0] for t in curve.texts if isinstance(t, Annotation) and " s" in t.get_text()]
    assert tips == [0.005, 0.025, 0.045]
    bars = figure.axes[5].patches
    assert [round(bar.get_width(), 6) for bar in bars] == [0.8]  # type: ignore[attr-defined]


def test_a_still_face_shows_no_motion(make_measurement: MakeMeasurement) -> None:
    """Noise is not drawn as heat where no region moved."""
    measurement = make_measurement(0.0, found=False)
    noisy = np.random.default_rng(0).normal(0, 0.5, measurement.flow_apex.shape)
    measurement = replace(measurement, flow_apex=noisy.astype(np.float32))
    heat = figure_picture(paper.draw_figure(measurement, ()), 2)
    assert np.ptp(heat[..., :3].astype(int), axis=-1).max() == 0


def figure_picture(figure: Figure, panel: int) -> np.ndarray:
    return np.asarray(figure.axes[panel].images[0].get_array())
