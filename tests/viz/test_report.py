"""The report says what was measured, opens anywhere, and never half exists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deft_llm.clip import Evidence, Explanation, Interval
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.viz import faces, page, report
from deft_llm.viz.report import ClipInfo, write_report

MakeMeasurement = Callable[..., Measurement]
INFO = ClipInfo("surprise <03> é.mp4", 12, 200.0, 0.06)
NOTHING = Explanation(None, {}, {}, (), remarks=("no motion above the noise floor",))


class _Page(HTMLParser):
    """Collects tags, where they point and the words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "srcset", "href"}]

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"


def _explanation() -> Explanation:
    return Explanation(
        emotion="surprise",
        probabilities={"negative": 0.06, "surprise": 0.91, "positive": 0.03},
        aus={"1": 0.97, "L2": 0.6},
        evidence=(Evidence("left inner brow", "up", 0.8, 16.0, ("1",)),),
        disagreement="the AU head gives AU2 only 0.05",
        rationale="The inner brow rises <script>alert(1)</script>",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, make_measurement: MakeMeasurement) -> Path:
    folder = tmp_path_factory.mktemp("out") / "clip é 1"
    return write_report(folder, make_measurement(), _explanation(), clip_info=INFO, figure=True)


def test_page_holds_everything_it_shows(written: Path) -> None:
    # It must open from a mail or a stick: nothing fetched, nothing run.
    seen = _Page(written.read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    # Onset, apex, offset, heat and arrows; what it links to lies beside it.
    pictures, links = seen.links[:5], seen.links[5:]
    assert all(link.startswith("data:image/png;base64,") for link in pictures)
    assert links == list(report.FIGURES) and "svg" in seen.tags
    assert "url(" not in written.read_text(encoding="utf-8")


def test_page_states_the_findings(written: Path) -> None:
    words = " ".join(_Page(written.read_text(encoding="utf-8")).words.split())
    for statement in (
        "surprise <03> é.mp4",
        "12 frames at 200 fps · 0.06 s · face in 12 of 12 frames",
        "AU1 inner brow raiser",
        "AU2 outer brow raiser, left",
        "onset 0.005 s (frame 1)",
        "onset 0.005 s apex 0.025 s offset 0.045 s motion from onset to apex regions that moved",
        "up to 1.8 px, removed",
        "Doubt: the AU head gives AU2 only 0.05",
        "prior from the sensor noise",
        "Not for decisions about people",
    ):
        assert statement in words


@pytest.mark.parametrize(
    ("samples", "fitted", "told"),
    [
        (0, False, "prior from the sensor noise"),
        (36, True, "what the fit to 36 frames leaves over"),
        (9, False, "from 9 pairs of frames at rest"),
    ],
)
def test_page_says_where_the_noise_floor_is_from(
    tmp_path: Path, make_measurement: MakeMeasurement, samples: int, fitted: bool, told: str
) -> None:
    measurement = replace(make_measurement(), noise_samples=samples, noise_fitted=fitted)
    path = write_report(tmp_path / "a", measurement, _explanation(), clip_info=INFO)
    assert f"px by region, {told}" in path.read_text(encoding="utf-8")


def test_texts_of_files_and_models_are_escaped(written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "surprise &lt;03&gt;" in html


def test_probabilities_are_listed_from_the_largest() -> None:
    html = page.piece("emotion", _explanation())
    order = [html.index(f"<dt>{name}") for name in ("surprise", "negative", "positive")]
    assert order == sorted(order)


def test_percent_is_of_the_interocular_distance() -> None:
    html = page.piece("evidence", _explanation().evidence, 80.0)
    assert re.findall(r'class="n">([\d.]+)<', html) == ["0.80", "1.00", "16.0"]


def test_json_agrees_with_the_measurement(written: Path) -> None:
    record = json.loads((written.parent / report.JSON).read_text(encoding="utf-8"))
    assert record["interval"]["apex"] == {"frame": 5, "seconds": 0.025}
    assert record["explanation"]["emotion"] == "surprise"
    active = {r["region"]: r for r in record["regions"]["onset_to_apex"] if r["active"]}
    brow = active["left inner brow"]
    assert brow["direction"] == "up" and 0.5 < brow["magnitude_px"] <= 0.8
    assert record["regions"]["apex_to_offset"][0]["region"] == REGION_NAMES[0]


def test_arrows_stand_on_their_regions(make_measurement: MakeMeasurement) -> None:
    # The subject's left is image right: an arrow on the wrong side would tell the wrong story.
    arrows = faces.region_arrows(make_measurement(), _explanation().evidence)
    (moving,) = [a for a in arrows if a.active]
    assert moving.x > CANONICAL_SIZE / 2 and moving.y < 70
    assert moving.v < -0.5 and abs(moving.u) < 0.1


def test_a_scan_beside_the_clip_has_a_section_of_its_own(
    tmp_path: Path, make_measurement: MakeMeasurement
) -> None:
    scan = {
        **{"name": "face <1>.obj", "expression": "anger", "notes": ["lengths were in metres"]},
        **{
            "probabilities": {"fear": 0.2, "anger": 0.8},
            "views": {"0": 0.5, "-45": 0.3, "45": 0.2},
        },
    }
    path = write_report(
        tmp_path / "r", make_measurement(), _explanation(), clip_info=INFO, scan=scan
    )
    words = " ".join(_Page(path.read_text(encoding="utf-8")).words.split())
    before, _, section = words.partition("From the scan beside the clip")
    assert "surprise" in before and "anger" not in before, "the scan changes nothing above it"
    assert "face <1>.obj, read by itself" in section
    assert "anger anger 0.80 fear 0.20" in section
    assert "ahead 0.50 turned to its right by 45° 0.30 turned to its left by 45° 0.20" in section
    assert "Lengths were in metres." in section
    assert json.loads((path.parent / report.JSON).read_text(encoding="utf-8"))["scan"] == scan


def test_clip_without_motion_gets_a_report_without_an_emotion(
    tmp_path: Path, make_measurement: MakeMeasurement
) -> None:
    path = write_report(tmp_path / "r", make_measurement(0.0, found=False), NOTHING, clip_info=INFO)
    words = " ".join(_Page(path.read_text(encoding="utf-8")).words.split())
    assert "none named No motion above the noise floor. Action units" in words
    assert "No emotion is named: no motion to explain was measured." in words
    assert "no expression found; compared" in words
    assert "surprise 0" not in words
    assert "regions that moved" not in words and "no region moved" in words


def test_second_report_replaces_the_first_and_nothing_else(
    tmp_path: Path, make_measurement: MakeMeasurement
) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.txt").write_text("keep", encoding="utf-8")
    write_report(target, make_measurement(), _explanation(), clip_info=INFO, figure=True)
    assert {p.name for p in target.iterdir()} >= set(report.FIGURES)
    path = write_report(target, make_measurement(), NOTHING, clip_info=INFO)
    assert "none named" in path.read_text(encoding="utf-8")
    expected = {report.HTML, report.JSON, report.PICTURE, "notes.txt"}
    assert {p.name for p in target.iterdir()} == expected, "the figure is of the clip before"
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_interruption_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_measurement: MakeMeasurement
) -> None:
    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(report.json, "dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path / "r", make_measurement(), _explanation(), clip_info=INFO)
    assert list(tmp_path.iterdir()) == []


def test_the_three_moments_show_their_frames(make_measurement: MakeMeasurement) -> None:
    """The picture called offset is the offset's, with the forehead above it."""
    measurement = make_measurement()
    aligned = measurement.aligned
    frames = np.arange(12, dtype=np.uint8).repeat(224 * 224 * 3).reshape(12, 224, 224, 3)
    measurement = replace(
        measurement, aligned=replace(aligned, frames=frames, above=100 + frames[:, :40])
    )
    shown = faces.moment_pictures(measurement)
    assert list(shown) == ["onset 0.005 s", "apex 0.025 s", "offset 0.045 s"]
    for (_, picture), frame in zip(shown.items(), (1, 5, 9), strict=True):
        assert picture.shape == (264, 224, 3)
        assert (picture[40:] == frame).all() and (picture[:40] == 100 + frame).all()
    still = faces.moment_pictures(replace(measurement, found=False))
    assert list(still) == ["first frame 0.005 s", "furthest frame 0.025 s"]
    alone = replace(measurement, found=False, interval=Interval(0, 0, 0))
    assert list(faces.moment_pictures(alone)) == ["first frame 0.000 s"]


def test_long_remarks_are_a_list_and_large_motion_has_no_bars(
    tmp_path: Path, make_measurement: MakeMeasurement
) -> None:
    remarks = (
        "described, not judged: regions moved up to 27.9 px, further than the model knows",
        "the light changed by up to 48 %, evened out",
        "the clip holds another movement; this is the strongest",
    )
    large = Explanation(
        None, {}, {}, _explanation().evidence, rationale="The brow rises, marked.", remarks=remarks
    )
    path = write_report(tmp_path / "r", make_measurement(), large, clip_info=INFO)
    html = path.read_text(encoding="utf-8")
    words = " ".join(_Page(html).words.split())
    assert re.findall("<li>(.*?)</li>", html) == [
        "The light changed by up to 48 %, evened out.",
        "The clip holds another movement; this is the strongest.",
    ]
    assert words.count("described, not judged") + words.count("Described, not judged") == 1
    assert "none named Described, not judged: regions moved up to 27.9 px" in words
    assert "What moved The brow rises, marked." in words and 'class="bars"' not in html


def test_one_sided_codes_are_written_as_coders_do() -> None:
    evidence = (Evidence("left mouth corner", "up", 0.8, 16.0, ("L12", "14")),)
    html = page.piece("evidence", evidence, 80.0)
    assert "<td>L12, AU14</td>" in html and "AUL" not in html
