"""The pieces of the demo's page: what they say, where they stand, and that they are escaped."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deft_llm.clip import Evidence, Explanation
from deft_llm.errors import UserError
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.motion.flow import flow_estimator, to_grey
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, region_masks
from deft_llm.stages import STAGES
from deft_llm.viz import cards, magnify, overlay, page, stage
from deft_llm.viz.cards import ChatTurn, Sentence
from deft_llm.viz.report import ClipInfo
from deft_llm.viz.timeline import timeline

MakeMeasurement = Callable[..., Measurement]
MOVED = (Evidence("left inner brow", "up", 0.8, 16.0, ("1",)),)
TEMPLATES = Path(page.__file__).parent / "templates"
BAD = "<img src=x onerror=alert(1)>"


def test_outlines_stand_on_their_regions(make_measurement: MakeMeasurement) -> None:
    """A lit outline on the wrong place would be false evidence."""
    measurement = make_measurement()
    html = stage.face_stage(measurement, MOVED)
    masks = region_masks(measurement.aligned.landmarks, CANONICAL_SIZE)
    found = dict(re.findall(r'points="([\d, ]+)" data-region="([a-z ]+)"', html))
    assert sorted(found.values()) == sorted(REGION_NAMES)
    ys, xs = np.mgrid[:CANONICAL_SIZE, :CANONICAL_SIZE]
    for points, name in found.items():
        corners = np.array([tuple(map(int, p.split(","))) for p in points.split()])
        mask = masks[REGION_NAMES.index(name)]
        centre = [np.average(axis, weights=mask) for axis in (xs, ys)]
        middle = (corners.min(0) + corners.max(0)) / 2
        assert np.abs(middle - centre).max() < 3, name
    assert re.findall(r'class="region moved"[^>]*data-region="([a-z ]+)"', html) == [
        "left inner brow"
    ]


def test_numbers_of_a_region(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    line = stage.region_numbers(measurement, "left inner brow", MOVED)
    size = float(measurement.table_apex.magnitude[REGION_NAMES.index("left inner brow")])
    assert f"up {size:.2f} px" in line and line.endswith("fits AU1")
    assert "not above the noise" in stage.region_numbers(measurement, "chin", MOVED)
    unplaced = replace(measurement.table_apex, placed=np.zeros(len(REGION_NAMES), bool))
    unsure = replace(measurement, table_apex=unplaced)
    assert "too uncertain" in stage.region_numbers(unsure, "chin")


def test_a_region_above_its_noise_that_does_not_count_is_not_below_it(
    make_measurement: MakeMeasurement,
) -> None:
    """Alone in a clip without a movement, z of 16 is no motion; "not above" would be wrong."""
    measurement = make_measurement()
    still = np.zeros(len(REGION_NAMES), bool)
    alone = replace(measurement, table_apex=replace(measurement.table_apex, active=still))
    line = stage.region_numbers(alone, "left inner brow")
    assert "not above the noise" not in line and line.endswith("too alone, to be motion")


def test_one_sided_codes_are_written_as_coders_do(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    moved = (Evidence("left inner brow", "up", 0.8, 16.0, ("4", "L1")),)
    explanation = Explanation("surprise", {"surprise": 1.0}, {"L1": 0.9}, moved)
    line = stage.region_numbers(measurement, "left inner brow", moved)
    assert line.endswith("fits L1, AU4")
    assert "<td>L1 AU4</td>" not in stage.region_rows(measurement, moved)
    table = measurement.table_apex
    compared = cards.comparison(("a", "b"), (table, table), (explanation, explanation))
    assert "<td>L1</td>" in compared
    everything = stage.face_stage(measurement, moved) + stage.region_rows(measurement, moved)
    assert "AUL" not in everything + compared


def test_the_stage_shows_the_forehead(make_measurement: MakeMeasurement) -> None:
    """Pictures, heat and regions of one size: the rows above the square move nothing."""
    measurement = make_measurement()
    above = np.full((12, 48, CANONICAL_SIZE, 3), 90, np.uint8)
    tall = replace(measurement, aligned=replace(measurement.aligned, above=above))
    html, square = stage.face_stage(tall, MOVED), stage.face_stage(measurement, MOVED)
    assert 'viewBox="0 -48 224 272"' in html and "aspect-ratio: 224 / 272" in html
    assert 'viewBox="0 0 224 224"' in square
    outlines = re.compile(r'points="[^"]+"')
    assert outlines.findall(html) == outlines.findall(square)
    pictures = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    sizes = [
        cv2.imdecode(np.frombuffer(base64.b64decode(p), np.uint8), -1).shape[:2] for p in pictures
    ]
    assert sizes == [(272, 224)] * 3


def test_regions_are_listed_strongest_first(make_measurement: MakeMeasurement) -> None:
    html = stage.region_rows(make_measurement(), MOVED)
    names = re.findall(r'<tr[^>]*data-region="([a-z ]+)"', html)
    assert names[0] == "left inner brow" and sorted(names) == sorted(REGION_NAMES)


def test_heat_has_its_place_and_its_scale(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement(1.5)
    heat, top = overlay.heat_layer(measurement.flow_apex, measurement.aligned.landmarks, 0.1)
    mask = region_masks(measurement.aligned.landmarks, CANONICAL_SIZE)
    brow = mask[REGION_NAMES.index("left inner brow")]
    assert heat.min() >= 0 and heat.max() <= 1 and 1.0 < top <= 1.5
    assert heat[..., 3][brow == 1].mean() > 0.5 and heat[..., 3][brow == 0].max() == 0


def test_timeline_holds_every_moment(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    curve = measurement.curve.copy()
    curve[6] = np.nan
    html = timeline(replace(measurement, curve=curve))
    data = json.loads(unescape(re.search(r"data-clip='([^']+)'", html)[1]))  # type: ignore[index]
    assert data["times"] == [round(t, 4) for t in measurement.aligned.timestamps.tolist()]
    assert data["places"][0] == 0 and data["places"][-1] == 1
    assert data["shown"] == list(range(12)) and data["rows"] == 2
    assert re.findall(r'aria-valuenow="(\d+)"', html) == ["1", "5", "9"]
    path = re.search(r'class="curve" d="([^"]+)"', html)[1]  # type: ignore[index]
    assert path.count("M") == 2, "the curve is broken where no face was seen"


def test_timeline_says_whose_frames_and_how_much_motion(make_measurement: MakeMeasurement) -> None:
    moving, still = make_measurement(), make_measurement(0.0, found=False)
    peak = re.search(r"motion, up to ([\d.]+) px", timeline(moving))
    assert peak is not None and peak[1] == "1", "the peak of the curve, not the top of its axis"
    verdicts = {
        "interval found": moving,
        "nothing above the noise: likeliest frames": still,
        "given frames": replace(moving, given=True),
        "given frames: nothing above the noise": replace(still, found=True, given=True),
    }
    for words, measurement in verdicts.items():
        assert f'<span class="verdict">{words}</span>' in timeline(measurement)


def test_a_long_clip_travels_as_few_frames(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    aligned = measurement.aligned
    long = replace(
        measurement,
        aligned=replace(
            aligned, frames=np.repeat(aligned.frames[:1], 700, 0), timestamps=np.arange(700) / 200
        ),
        curve=np.zeros(700, np.float32),
    )
    data = json.loads(re.search(r"data-clip='([^']+)'", timeline(long))[1])  # type: ignore[index]
    # The last frame as well, which the offset may be moved to.
    assert len(data["shown"]) <= 164 and {1, 5, 9, 699} <= set(data["shown"])


def test_texts_of_models_and_files_are_escaped(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    explanation = Explanation(
        "surprise", {"surprise": 1.0}, {}, MOVED, remarks=(BAD,), rationale=BAD
    )
    sentence = Sentence(BAD, ("left inner brow",), False, f'"{BAD}')
    row: dict[str, str | float] = {"onset s": 0.1, "apex s": 0.2, "offset s": 0.3}
    row |= {"emotion": BAD, "aus": BAD, "strongest motion": BAD, "doubt": BAD, "remark": BAD}
    table = measurement.table_apex
    for html in (
        cards.reading(
            ClipInfo(BAD, 1, 1.0, 1.0), measurement, explanation, (sentence, Sentence(BAD))
        ),
        cards.conversation([ChatTurn(BAD, (sentence, Sentence(BAD)))]),
        cards.comparison((BAD, BAD), (table, table), (explanation, explanation)),
        cards.interval_card(row, measurement, (sentence,)),
        cards.downloads({BAD: (f'"{BAD}', b"x", "text/plain")}),
    ):
        assert "<img src=x" not in html and "&lt;img src=x" in html
        assert not re.search(r'="[^"]*"<', html), "a quote ended an attribute"


def test_no_template_switches_escaping_off() -> None:
    templates = sorted(TEMPLATES.glob("*.html"))
    assert templates
    for path in templates:
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text(encoding="utf-8")), path.name


def test_pieces_within_a_piece_are_escaped_once(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    face = stage.face_stage(measurement, MOVED)
    explanation = Explanation("surprise", {"surprise": 1.0}, {}, MOVED)
    table = cards.comparison((BAD, "b"), (measurement.table_apex,) * 2, (explanation, explanation))
    html = cards.side_by_side([face, face], table)
    assert html.count(face) == 2 and table in html
    assert "&lt;div" not in html and "&amp;lt;" not in html


def test_claims_are_links_and_bad_ones_are_marked() -> None:
    html = cards.sentences(
        (
            Sentence("Both inner brows move up. ", ("left inner brow", "right inner brow")),
            Sentence("The chin moves down. ", ("chin",), False, "chin: still"),
            Sentence("This is read as surprise."),
        )
    )
    assert re.findall(r'class="(claim[a-z ]*)"', html) == ["claim", "claim unproven"]
    assert 'data-region="left inner brow|right inner brow"' in html
    assert html.count("not borne out by the motion") == 1
    assert html.endswith("This is read as surprise.")


def test_comparison_says_whether_regions_move_alike(make_measurement: MakeMeasurement) -> None:
    up, down = make_measurement(0.8).table_apex, make_measurement(-0.8).table_apex
    still = make_measurement(0.0).table_apex
    explanation = Explanation(None, {}, {}, ())
    for other, expected in ((up, "+1.00"), (down, "-1.00"), (still, "–")):
        html = cards.comparison(("a", "b"), (up, other), (explanation, explanation))
        row = re.search(r"left inner brow</th>(.*?)</tr>", html)[1]  # type: ignore[index]
        assert f'class="n">{expected}<' in row


def test_a_table_of_clips_has_a_line_each_and_cuts_with_a_title() -> None:
    long = "no face found in clip grey: a face in 0 of the 12 frames looked at, <b>"
    rows: list[dict[str, Any]] = [
        {"file": "a.mp4", "emotion": "fear", "probability": 0.8521, "remark": ""},
        {"file": BAD, "emotion": None, "probability": None, "remark": long},
    ]
    html = cards.clip_table(("file", "emotion", "probability", "remark"), rows)
    assert html.count("<tr>") == 3 and "None" not in html and "<b>" not in html
    title = re.search(r'title="(no face[^"]*)"', html)
    assert title is not None and unescape(title[1]) == long
    assert '<td class="n">0.8521</td>' in html
    assert 'class="failed" colspan="3"' in html, "its reason is not behind the right edge"


def test_the_stage_of_the_work_is_marked() -> None:
    html = cards.working("measuring")
    assert '<span aria-current="step">measuring</span>' in html
    order = [html.index(f">{stage}<") for stage in STAGES]
    assert order == sorted(order) and html.count("aria-current") == 1


# --------------------------------------------------------------------------- magnification


@pytest.mark.parametrize("factor", [2.0, 5.0])
def test_a_magnified_face_moved_so_many_times_as_far(
    make_measurement: MakeMeasurement, factor: float
) -> None:
    """Measured by the flow estimator, which did not make the picture."""
    measurement = make_measurement(0.6)
    face = measurement.aligned.frames[0]
    warped = magnify.magnify_frame(face, measurement.flow_apex, factor)
    flow = flow_estimator()(to_grey(face), to_grey(warped))
    mask = region_masks(measurement.aligned.landmarks, CANONICAL_SIZE)
    brow = mask[REGION_NAMES.index("left inner brow")] == 1
    assert flow[1][brow].mean() == pytest.approx(-factor * 0.6, rel=0.15)
    assert np.abs(flow[:, mask.sum(0) == 0]).mean() < 0.05


def test_no_motion_stays_no_motion(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    frames = magnify.magnified_frames(measurement, 20.0)
    still, large = frames[:, :, :CANONICAL_SIZE], frames[:, :, CANONICAL_SIZE:]
    assert len(frames) == 9  # onset to offset
    assert np.abs(still.astype(int) - large).mean() < 1


def test_a_film_shows_the_forehead_and_has_a_size(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    above = np.full((12, 48, CANONICAL_SIZE, 3), 90, np.uint8)
    tall = replace(measurement, aligned=replace(measurement.aligned, above=above))
    frames = magnify.magnified_frames(tall, 4.0)
    assert frames.shape[1:] == (CANONICAL_SIZE + 48, 2 * CANONICAL_SIZE, 3)
    html = cards.film_card(frames, b"", 4.0, 0.8)
    assert '<video width="448" height="272"' in html and "tears" not in html
    assert "Motion of 144 px tears" in cards.film_card(frames, b"", 8.0, 18.0)


@pytest.mark.parametrize("factor", [1.0, 21.0, float("nan")])
def test_factor_out_of_range(make_measurement: MakeMeasurement, factor: float) -> None:
    with pytest.raises(UserError, match="expected ×2 to ×20"):
        magnify.magnified_frames(make_measurement(), factor)
