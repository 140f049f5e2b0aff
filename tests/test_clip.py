"""The nouns refuse what no later stage could make sense of."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from deft_llm.clip import Clip, Evidence, Explanation, Interval
from deft_llm.errors import UserError


def make_clip(name: str = "a", times: tuple[float, ...] = (0.0, 0.1, 0.2), fill: int = 0) -> Clip:
    return Clip(name, np.full((len(times), 4, 6, 3), fill, np.uint8), np.asarray(times, np.float64))


@pytest.mark.parametrize("frames", [(-1, 0, 1), (3, 2, 5), (1, 5, 4)])
def test_interval_in_the_wrong_order_is_named(frames: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="onset <= apex <= offset") as caught:
        Interval(*frames)
    assert all(str(frame) in str(caught.value) for frame in frames)


def test_interval_is_inclusive() -> None:
    assert [frame in Interval(2, 3, 4) for frame in range(6)] == [False, False, *[True] * 3, False]
    assert 7 in Interval(7, 7, 7)


def test_frames_of_an_interval_are_whole_numbers() -> None:
    """A sheet gives floats and text, an array numbers that JSON does not take."""
    assert json.dumps(vars(Interval(*np.array([1, 2, 3])))) == (
        '{"onset": 1, "apex": 2, "offset": 3}'
    )
    for frame in (1.5, "1", None):
        with pytest.raises(UserError, match=r"interval onset .*: expected the number of a frame"):
            Interval(frame, 2, 3)  # type: ignore[arg-type]


def test_a_clip_is_shown_in_a_line() -> None:
    clip = make_clip()
    assert repr(clip) == "<Clip 'a': 3 frames of 6x4, 10 fps>"
    assert clip in [make_clip(), clip] and len({clip, clip}) == 1


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((3, 4, 6), np.uint8),
        np.zeros((3, 4, 6, 4), np.uint8),
        np.zeros((3, 4, 6, 3), np.float32),
    ],
)
def test_frames_must_be_uint8_rgb(frames: np.ndarray) -> None:
    with pytest.raises(UserError, match="uint8 RGB"):
        Clip("a", frames, np.arange(3.0))


@pytest.mark.parametrize(
    "times",
    [(0.0, 0.1), (0.0, 0.1, 0.1), (0.0, 0.2, 0.1), (0.0, np.nan, 0.2), (0.0, 0.1, np.inf)],
)
def test_timestamps_must_increase_one_a_frame(times: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="strictly increasing"):
        Clip("a", np.zeros((3, 4, 6, 3), np.uint8), np.array(times))


def test_rate_and_duration() -> None:
    """The median forgives one late frame; the last frame lasts a step as well."""
    clip = make_clip(times=(0.0, 0.1, 0.2, 0.5))
    assert clip.fps == pytest.approx(10.0)
    assert clip.duration == pytest.approx(0.6)
    assert len(clip) == 4


def test_a_single_frame_has_no_rate() -> None:
    clip = make_clip(times=(0.0,))
    assert (clip.fps, clip.duration) == (0.0, 0.0)


def test_content_hash_follows_pixels_not_names() -> None:
    assert make_clip("a").content_hash() == make_clip("b").content_hash()
    assert make_clip(fill=0).content_hash() != make_clip(fill=1).content_hash()
    tall = Clip("a", np.zeros((3, 6, 4, 3), np.uint8), np.arange(3.0))
    assert tall.content_hash() != make_clip().content_hash()


def test_content_hash_reads_views_as_their_pixels() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 4, 6, 3)).astype(np.uint8)
    view = Clip("a", frames[:, :, ::-1], np.arange(3.0))
    copy = Clip("a", frames[:, :, ::-1].copy(), np.arange(3.0))
    assert view.content_hash() == copy.content_hash()


def test_explanation_is_json_ready() -> None:
    evidence = (Evidence("chin", "up", 0.5, 4.0, ("17",)),)
    explanation = Explanation("anger", {"anger": 1.0}, {"17": 0.9}, evidence)
    record = json.loads(json.dumps(explanation.to_dict()))
    assert record["evidence"][0]["region"] == "chin"
    assert (record["remarks"], record["status"]) == ([], "ok")
    told = replace(explanation, remarks=("two movements; the first", "dark")).to_dict()
    assert told["status"] == "two movements; the first; dark" and len(told["remarks"]) == 2
