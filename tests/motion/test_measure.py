"""The whole measurement on small clips: noise floors, intervals, what cannot be seen."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.errors import UserError
from deft_llm.motion.measure import Measurement, measure
from deft_llm.motion.meter import MotionSettings
from deft_llm.motion.noise import MIN_PAIRS, rest_pairs, sensor_noise
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.motion.remarks import NO_MOTION

from .conftest import bump

FRAMES, TRUE = 30, Interval(11, 15, 20)
CORNER = REGION_NAMES.index("left mouth corner")


def profile() -> np.ndarray:
    t = np.arange(FRAMES)
    onset_phase = np.clip((t - TRUE.onset) / (TRUE.apex - TRUE.onset), 0, 1)
    offset_phase = np.clip((TRUE.offset - t) / (TRUE.offset - TRUE.apex), 0, 1)
    share = np.minimum(onset_phase, offset_phase)
    return share * share * (3 - 2 * share)


def displacements(landmarks: np.ndarray, amplitude: float, drift: float) -> list[np.ndarray]:
    smile = bump(landmarks[54][0] + 4, landmarks[54][1], 12, 0.7, -0.7)
    shift = np.ones((2, 224, 224), np.float32) * drift / FRAMES
    moves = [amplitude * p * smile + t * shift for t, p in enumerate(profile())]
    return [move.astype(np.float32) for move in moves]


@pytest.fixture(scope="module")
def smile(make_clip: Callable[..., Any], landmarks: np.ndarray) -> Any:
    return make_clip(displacements(landmarks, 1.2, 1.0))


@pytest.fixture(scope="module")
def still(make_clip: Callable[..., Any]) -> list[Any]:
    zero = np.zeros((2, 224, 224), np.float32)
    return [make_clip([zero] * FRAMES, seed=seed) for seed in range(3)]


def test_given_interval(smile: Any) -> None:
    result = measure(smile, TRUE)
    assert result.given and result.status == "ok"
    assert result.noise_samples >= MIN_PAIRS and result.noise_fitted
    assert next(result.table_apex.strongest()) == CORNER
    assert result.table_apex.direction(CORNER) == "up and outward"
    assert result.table_offset.direction(CORNER) == "down and inward"
    assert result.flow_apex.shape == result.flow_offset.shape == (2, 224, 224)
    assert result.head_motion == pytest.approx(np.hypot(1, 1) * 29 / 30, rel=0.2)
    assert int(np.argmax(result.curve)) in range(13, 18) and result.curve[TRUE.onset] == 0


def test_interval_is_found(make_clip: Callable[..., Any], landmarks: np.ndarray) -> None:
    """Both mouth corners, on a drifting head."""
    x, y = landmarks[48]
    moves = displacements(landmarks, 2.0, 1.0)
    both = [move + bump(x, y, 12, -p, -p) for move, p in zip(moves, profile(), strict=True)]
    result = measure(make_clip(both))
    assert result.found and not result.given
    for name, tolerance in (("onset", 2), ("apex", 1), ("offset", 2)):
        assert abs(getattr(result.interval, name) - getattr(TRUE, name)) <= tolerance


@pytest.mark.parametrize("who", ["smile", "frown"])
def test_a_blink_at_the_apex_hides_no_movement(
    who: str, make_clip: Callable[..., Any], landmarks: np.ndarray
) -> None:
    """Whether the lids drag the regions that move, as with brows, or not, as with the mouth."""

    def moved(right: list[int], left: list[int], u: float, v: float) -> np.ndarray:
        # Mirror images: what goes left on one side goes right on the other.
        (x, y), (p, q) = landmarks[right].mean(0), landmarks[left].mean(0)
        return np.asarray(bump(x, y, 9, -u, v) + bump(p, q, 9, u, v))

    lids = moved([37, 38], [43, 44], 0, 5)
    brows, mouth = moved([20, 21], [22, 23], 0, 2), moved([48], [54], 1.4, -1.4)
    closed = np.interp(np.arange(FRAMES), [13, 15, 17], [0, 1, 0])
    moving = mouth if who == "smile" else brows
    moves = [p * moving + c * (lids + 0.15 * brows) for p, c in zip(profile(), closed, strict=True)]
    result = measure(make_clip([move.astype(np.float32) for move in moves]))
    name = "mouth corner" if who == "smile" else "inner brow"
    assert result.found and abs(result.interval.apex - TRUE.apex) <= 2
    for side in ("left", "right"):
        assert result.table_apex.active[REGION_NAMES.index(f"{side} {name}")]


def test_a_measurement_is_shown_in_a_line(make_measurement: Callable[..., Measurement]) -> None:
    """A thousand lines of flow otherwise, for whoever types its name."""
    for shown in (measured := make_measurement()), measured.aligned:
        assert len(repr(shown)) < 120 and "\n" not in repr(shown)
        assert shown in [shown]


def test_noise_alone_is_not_motion(still: list[Any]) -> None:
    """The bar is 2 % of the regions, with floors from pairs and from the prior."""
    for interval in (TRUE, Interval(0, 15, 29)):
        tables = [measure(clip, interval).table_apex for clip in still]
        assert np.mean([table.active for table in tables]) < 0.02
    assert [measure(clip).status for clip in still] == [NO_MOTION] * len(still)


def test_head_drift_does_not_reach_the_table(
    make_clip: Callable[..., Any], landmarks: np.ndarray
) -> None:
    tables = [
        measure(make_clip(displacements(landmarks, 1.0, drift)), TRUE).table_apex
        for drift in (0.0, 3.0)
    ]
    np.testing.assert_allclose(tables[0].u, tables[1].u, atol=0.08)
    np.testing.assert_allclose(tables[0].v, tables[1].v, atol=0.08)


def test_frames_without_a_face_are_left_out(smile: Any) -> None:
    present = smile.present.copy()
    present[[2, TRUE.apex]] = False
    frames = smile.frames * present[:, None, None, None]
    hidden = type(smile)(**{**vars(smile), "present": present, "frames": frames})
    result = measure(hidden, TRUE)
    assert result.interval.apex in (TRUE.apex - 1, TRUE.apex + 1)
    assert "2 of 30 frames without a face" in result.status and "moved to" in result.status
    assert np.isnan(result.curve[2]) and np.isfinite(result.curve[3])
    assert np.isfinite(result.flow_apex).all()


def test_an_unsure_region_yields_no_evidence(smile: Any) -> None:
    """The same smile is no evidence where the mouth's corner may lie elsewhere."""
    known = measure(smile, TRUE, MotionSettings(curve=False))
    assert known.table_apex.active[CORNER]
    uncertainty = np.ones(68, np.float32)
    uncertainty[54] = 20.0
    doubtful = SimpleNamespace(**{**vars(smile), "landmark_uncertainty": uncertainty})
    unsure: Any = measure(doubtful, TRUE, MotionSettings(curve=False))  # type: ignore[arg-type]
    for table in (unsure.table_apex, unsure.table_offset):
        assert not table.active[CORNER] and not table.placed[CORNER]
        assert CORNER not in list(table.strongest())
        np.testing.assert_array_equal([table.u[CORNER], table.v[CORNER]], 0)
    assert "not measured, landmarks too uncertain: " in unsure.status


@pytest.mark.parametrize("count", [2, 3])
def test_very_short_clips(count: int, make_clip: Callable[..., Any], landmarks: np.ndarray) -> None:
    moves = [displacements(landmarks, 2.5, 0)[t] for t in (11, 15, 20)][:count]
    result = measure(make_clip(moves, fps=30))
    assert result.interval == Interval(0, 1, count - 1)
    assert result.table_apex.active[CORNER] and result.noise_samples == 0


def test_too_few_faces_and_wrong_intervals_are_told(smile: Any) -> None:
    with pytest.raises(UserError, match="clip has 30 frames"):
        measure(smile, Interval(5, 10, 30))
    alone = type(smile)(**{**vars(smile), "present": np.arange(FRAMES) == 3})
    with pytest.raises(UserError, match="1 of 30 frames show a face"):
        measure(alone)


def test_from_a_frame_to_itself_nothing_moves(smile: Any) -> None:
    """As in a sheet that names the apex as the onset, or as the offset."""
    for given, still in ((Interval(15, 15, 20), 0), (Interval(11, 15, 15), 1)):
        result = measure(smile, given)
        tables = result.table_apex, result.table_offset
        assert not tables[still].magnitude.any() and not tables[still].active.any()
        assert tables[1 - still].active[CORNER]
    nowhere = measure(smile, Interval(15, 15, 15))
    assert not nowhere.table_apex.active.any() and NO_MOTION in nowhere.status


@pytest.mark.parametrize("flow", ["dis", "farneback"])
def test_other_flow_methods(flow: str, smile: Any) -> None:
    table = measure(smile, TRUE, MotionSettings(flow=flow)).table_apex
    assert next(table.strongest()) == CORNER


def test_rest_pairs_avoid_the_expression() -> None:
    present = np.ones(FRAMES, bool)
    present[3] = False
    pairs = rest_pairs(TRUE, present)
    assert len(pairs) >= MIN_PAIRS and pairs == rest_pairs(TRUE, present)
    for i, j in pairs:
        assert i not in TRUE and j not in TRUE and present[i] and present[j]
        assert 2 <= j - i <= 8
    assert rest_pairs(Interval(0, 5, 29), present) == []


def test_sensor_noise_is_recovered_under_motion(face: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    a = face + rng.normal(0, 3, face.shape)
    b = np.roll(face, 0, axis=1) * 1.03 + rng.normal(0, 3, face.shape)
    assert sensor_noise(a, b) == pytest.approx(3.0, rel=0.1)


def test_an_unknown_way_to_measure_names_the_known_ones(smile: Any) -> None:
    with pytest.raises(UserError, match="flow 'all_frame': expected one of all_frames, lk"):
        measure(smile, TRUE, MotionSettings("all_frame"))


def test_onset_and_apex_alone_are_measured_as_far_as_they_moved(
    make_clip: Callable[..., Any], landmarks: np.ndarray
) -> None:
    moves = displacements(landmarks, 1.5, 0)
    two = measure(make_clip([moves[TRUE.onset], moves[TRUE.apex]], fps=2))
    whole = measure(make_clip(moves), TRUE)
    assert two.found and two.table_apex.active[CORNER]
    sizes = [result.table_apex.magnitude[CORNER] for result in (two, whole)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.25)
