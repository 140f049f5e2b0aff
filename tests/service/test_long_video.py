"""A long video with several movements of one face: each is told once, and nothing else is.

The example of the demo (rendered, through H.264): raised brows, a blink, a smile, lowered brows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from deft_llm.clip import Explanation
from deft_llm.media.video import read_clip, write_video
from deft_llm.motion.measure import Measurement
from deft_llm.service import views
from deft_llm.service.clip_service import ClipResult, ClipService
from deft_llm.service.long_video import Found, of_kind, search_video
from deft_llm.service.models import Models
from deft_llm.spotters.returning import WINDOW
from deft_llm.viz.report import ClipInfo
from tests.spotters.finders import spotted

(VIDEO,) = (Path(__file__).resolve().parents[2] / "demo" / "clips" / "long").glob("*.mp4")
FPS = 50
APEXES = {1.16: "left outer brow", 2.2: "left mouth corner", 4.9: "left inner brow"}
Cut = Callable[[float, float], Path]


@pytest.fixture
def service(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> ClipService:
    monkeypatch.setattr("deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8)
    return ClipService(Models(tiny_checkpoint))


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """``cut(a, b)`` -> the seconds from a to b as a video of their own."""

    def write(start: float, stop: float) -> Path:
        frames = read_clip(VIDEO, start=round(start * FPS), stop=round(stop * FPS)).frames
        write_video(tmp_path / "cut.mp4", frames, FPS)
        return tmp_path / "cut.mp4"

    return write


def test_two_expressions_one_second_apart_with_a_blink_between(
    service: ClipService, cut: Cut
) -> None:
    found = [each for _, new in search_video(service, cut(0.9, 2.6)) for each in new]
    assert [each.apex + 0.9 for each in found] == pytest.approx([1.16, 2.2], abs=0.1)


@pytest.mark.slow
def test_every_movement_is_told_once_and_no_blink(service: ClipService) -> None:
    """Two of them lie one second apart in one window, and one of these in the next window too."""
    parts = list(search_video(service, VIDEO))
    progress, found = [share for share, _ in parts], [each for _, new in parts for each in new]
    assert progress == sorted(progress) and progress[-1] == 1.0
    assert [each.apex for each in found] == pytest.approx(list(APEXES), abs=0.1)
    assert len(parts[0][1]) == 2, "both of the first window"
    for each, region in zip(found, APEXES.values(), strict=True):
        assert each.onset < each.apex < each.offset < each.onset + 1.0
        measured = each.seen.measurement
        assert region in [row.region for row in each.seen.explanation.evidence]
        assert each.seen.info.duration > WINDOW, "the video goes by its own length"
        times = measured.aligned.timestamps
        others = [apex for apex in APEXES if abs(apex - each.apex) > 0.1]
        assert not any(times[0] <= apex <= times[-1] for apex in others), "measured by itself"


def test_the_page_lists_macro_expressions_apart(
    make_measurement: Callable[..., Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that rises and falls in two movements is one; each card is drawn once."""
    drawn: list[Found] = []

    def card(each: Found) -> str:
        drawn.append(each)
        return f"[{each.spotted.kind} {each.apex}]"

    monkeypatch.setattr(views, "_interval_view", card)
    info = ClipInfo("v", 100, 25.0, 4.0)
    seen = ClipResult(info, make_measurement(), cast(Explanation, None))
    rise, fade = spotted(10, 14, 20, "macro", 8.0), spotted(24, 26, 30, "macro", 4.0)
    small = spotted(70, 74, 80)
    found = [Found(each, seen) for each in (rise, fade, small)]
    assert [(f.onset, f.apex, f.offset) for f in of_kind(found, "macro")] == [(0.4, 0.56, 1.2)]
    cards: dict[tuple[float, float, float], str] = {}
    views.intervals_view(found, cards)
    page = views.intervals_view(found, cards)
    assert len(drawn) == 2
    assert page.index("[micro 2.96]") < page.index(views.MACROS) < page.index("[macro 0.56]")
    assert views.MACROS not in views.intervals_view(found[2:], cards)


@pytest.mark.parametrize(("start", "stop"), [(1.36, 1.8), (3.0, 4.0)])
def test_a_blink_or_a_still_face_is_nothing(
    service: ClipService, cut: Cut, start: float, stop: float
) -> None:
    assert [new for _, new in search_video(service, cut(start, stop))] == [()]


@pytest.mark.slow
def test_an_expression_at_the_border_of_two_windows_is_told_whole(
    service: ClipService, cut: Cut
) -> None:
    """Cut off by the end of the first window, it is left to the second."""
    found = [each for _, new in search_video(service, cut(1.9, 5.6)) for each in new]
    assert [each.apex + 1.9 for each in found] == pytest.approx([2.2, 4.9], abs=0.1)
    assert all(each.offset - each.onset > 0.2 for each in found)
