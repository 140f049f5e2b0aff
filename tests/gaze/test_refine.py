from __future__ import annotations

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.gaze.observe import observe
from deft_llm.gaze.online import OnlineGaze
from deft_llm.gaze.recordings import CELL
from deft_llm.gaze.refine import CAUSAL, PAPER, RefineSettings, refine
from deft_llm.gaze.saccades import find_saccades
from deft_llm.media.events import as_events
from deft_llm.metrics.gaze import gaze_errors
from deft_llm.simulator.events import EyeRecording, EyeSpec, simulate_eye

Array = np.ndarray
NONE = as_events(np.zeros((0, 4), np.int64))


@pytest.fixture(scope="module")
def truth(recording: EyeRecording) -> Array:
    return recording.pupil / CELL


@pytest.fixture(scope="module")
def noisy(recording: EyeRecording, truth: Array) -> Array:
    rng = np.random.default_rng(1)
    spread = np.where(recording.closed, 10.0, 1.5)
    return truth + spread[:, None] * rng.normal(0, 1, truth.shape)


def test_noise_and_blinks_go(recording: EyeRecording, truth: Array, noisy: Array) -> None:
    raw = gaze_errors(noisy, truth)["l2"]
    found = refine(recording.events, noisy, recording.times)
    assert gaze_errors(found.xy, truth)["l2"] < 0.6 * raw
    assert np.isinf(found.latency)
    # The numbers are those of arrays as well.
    e = recording.events
    table = np.stack([e.t, e.x, e.y, 2 * e.p.astype(int) - 1], axis=1)
    np.testing.assert_array_equal(refine(table, noisy, recording.times).xy, found.xy)


def test_blinks_are_found() -> None:
    # By the light alone: an eye whose lids are clearly brighter than what they cover.
    made = simulate_eye(EyeSpec(seed=602, eye=6002, seconds=8.0, activity="reading"))
    found = refine(made.events, made.pupil / CELL, made.times)
    assert len(made.blinks) > 1
    assert len(found.blinks) == len(made.blinks)
    for first, last in made.blinks:
        assert sum(a < last and b > first for a, b in found.blinks) == 1
    assert found.blink[made.closed].mean() > 0.7


def test_causal_looks_no_further_than_it_says(
    recording: EyeRecording, truth: Array, noisy: Array
) -> None:
    found = refine(recording.events, noisy, recording.times, CAUSAL)
    assert found.latency == pytest.approx(0.02)
    other = noisy.copy()
    other[150:] += 5
    again = refine(recording.events, other, recording.times, CAUSAL)
    np.testing.assert_array_equal(found.xy[:148], again.xy[:148])
    assert gaze_errors(found.xy, truth)["l2"] < 0.8 * gaze_errors(noisy, truth)["l2"]


def test_online_equals_causal(recording: EyeRecording, noisy: Array) -> None:
    noisy = noisy.copy()
    noisy[[5, 60, 61, 62]] = np.nan  # a tracker that loses the eye
    whole = refine(recording.events, noisy, recording.times, CAUSAL)
    online = OnlineGaze()
    assert online.latency == pytest.approx(0.02)
    points = []
    for t, place in zip(recording.times, noisy, strict=True):
        part = recording.events.between(int(t) - 9_999, int(t) + 1)
        point = online.step(part, int(t), place)
        points += [point] if point is not None else []
    points += online.flush()
    np.testing.assert_array_equal([p.t for p in points], recording.times)
    np.testing.assert_array_equal([p.blink for p in points], whole.blink)
    np.testing.assert_allclose([(p.x, p.y) for p in points], whole.xy, atol=1e-9)


def test_online_needs_settings_for_it() -> None:
    with pytest.raises(UserError, match="online use needs ahead"):
        OnlineGaze(RefineSettings())


def test_lost_samples_are_bridged(recording: EyeRecording, noisy: Array) -> None:
    gaps = noisy.copy()
    gaps[40:50] = np.nan
    gaps[100] = np.nan
    ways = (RefineSettings(), PAPER, RefineSettings(filter="none"), RefineSettings(released=True))
    for settings in ways:
        assert np.isfinite(refine(recording.events, gaps, recording.times, settings).xy).all()


def test_the_paper_looks_for_the_flow_around_what_it_filtered(
    recording: EyeRecording, noisy: Array
) -> None:
    asked = []
    for settings in (PAPER, PAPER.model_copy(update={"flow_at": "predicted"})):
        found = refine(recording.events, noisy, recording.times, settings)
        at = {"filtered": found.filtered, "predicted": noisy}[settings.flow_at]
        edges = np.concatenate([[recording.times[0] - 10_000], recording.times])
        around = observe(recording.events, at * CELL, edges, CELL, settings.sensor).flow
        np.testing.assert_array_equal(found.flow.moved, around.moved)
        asked.append(found.flow.moved)
    assert not np.array_equal(asked[0], asked[1], equal_nan=True)
    with pytest.raises(UserError, match="around predictions"):
        OnlineGaze(CAUSAL.model_copy(update={"flow_at": "filtered"}))


def test_predictions_without_events(
    recording: EyeRecording, truth: Array, noisy: Array, caplog: pytest.LogCaptureFixture
) -> None:
    found = refine(NONE, noisy, recording.times)
    assert "no events" in caplog.text
    seeing = ~recording.closed
    assert gaze_errors(found.xy, truth, ~seeing)["l2"] < gaze_errors(noisy, truth, ~seeing)["l2"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"predictions": np.zeros((4, 3))}, r"shape \(4, 3\); expected \(T, 2\)"),
        ({"predictions": np.full((4, 2), np.nan)}, "no prediction is a number"),
        ({"predictions": np.full((4, 2), 300.0)}, "on a grid of 80 x 60"),
        ({"times": [0, 1, 2]}, "4 predictions, times of shape"),
        ({"times": [10, 20, 20, 30]}, "prediction 2 is of 20 µs, not later"),
        ({"times": [10, 30, 20, 40]}, "prediction 2 is of 20 µs, not later"),
        ({"times": [0.01, 0.02, 0.03, 0.04]}, "give whole microseconds"),
        ({"times": [10.0, np.nan, 20.0, 30.0]}, "not a number"),
        ({"times": np.arange(4) * 10**12 + 10**13}, "expected the same clock"),
        ({"events": np.zeros((3, 5))}, r"expected \(N, 4\)"),
        ({"events": np.array([[0, 1, 1, np.nan]])}, "p of event 0 is not a number"),
        ({"events": np.array([[0, 1, 1, 7]])}, "polarity from 7.* expected 0 and 1"),
        ({"events": np.array([[0, -4, 1, 1]])}, "x from -4"),
        ({"events": np.array([[0.5, 4, 1, 1]])}, "whole microseconds"),
    ],
)
def test_wrong_input_is_one_line(change: dict[str, Array], told: str) -> None:
    given = {
        "events": np.array([[0, 1, 1, 0], [40_000, 1, 1, 1]]),
        "predictions": np.full((4, 2), 30.0),
        "times": np.arange(1, 5) * 10_000,
        **change,
    }
    with pytest.raises(UserError, match=told) as caught:
        refine(given["events"], given["predictions"], given["times"])
    assert "\n" not in str(caught.value)


def test_events_out_of_order_are_sorted(recording: EyeRecording, noisy: Array) -> None:
    e = recording.events
    order = np.random.default_rng(0).permutation(len(e))
    mixed = np.stack([e.t, e.x, e.y, e.p], axis=1)[order]
    found, usual = (refine(rows, noisy, recording.times) for rows in (mixed, e))
    np.testing.assert_allclose(found.xy, usual.xy, atol=0.1)


def test_saccades_are_found(recording: EyeRecording, truth: Array) -> None:
    found = find_saccades(truth, recording.times, recording.closed)
    large = [
        (a, b)
        for a, b in recording.saccades
        if not recording.closed[a // 10_000 : b // 10_000 + 2].any()
        and np.hypot(*(truth[min(b // 10_000, 299)] - truth[a // 10_000])) > 2
    ]
    for a, b in large:
        assert any(recording.times[i] <= b + 20_000 and recording.times[j] >= a for i, j in found)
    assert find_saccades(np.zeros((3, 2)), np.arange(3)).shape == (0, 2)


def test_saccades_are_found_behind_samples_without_a_place(
    recording: EyeRecording, truth: Array
) -> None:
    # As a causal trace begins, of a tracker that sees nothing yet: no saccade at all was found.
    whole = find_saccades(truth, recording.times, recording.closed)
    late = truth.copy()
    late[: whole[0, 0] - 4] = np.nan
    found = find_saccades(late, recording.times, recording.closed)
    np.testing.assert_array_equal(found, whole)
