from __future__ import annotations

import numpy as np
import pytest

from deft_llm.gaze.local_flow import LocalFlow, half_sides, local_flow, shifts
from deft_llm.gaze.refine import RefineSettings, refine
from deft_llm.media.events import Events


def _drifting(across: float, down: float, count: int = 3000) -> Events:
    """Events over 100 ms at (320, 240), which moves by so many px meanwhile."""
    share = np.linspace(0, 1, count)
    t = (share * 100_000).astype(np.int64)
    x, y = 320 + np.floor(across * share), 240 + np.floor(down * share)
    return Events(t, x.astype(np.int16), y.astype(np.int16), np.ones(count, np.uint8))


def _released(events: Events) -> np.ndarray:
    times = np.arange(1, 11) * 10_000
    return refine(events, np.full((10, 2), (40.0, 30.0)), times, RefineSettings(released=True)).xy


def test_release_moves_along_an_axis() -> None:
    # Golden: measured with the released method.py.
    xy = _released(_drifting(30, 0))
    np.testing.assert_allclose(xy, np.full((10, 2), (40.125, 30.0)))


def test_release_truncates_other_directions() -> None:
    # Golden, likewise: the unit vector becomes whole, so an oblique one becomes zero.
    xy = _released(_drifting(30, 3))
    assert (xy[:, 0] == 40.0).sum() == 3
    assert (xy[:, 1] == 30.0).all()


@pytest.mark.parametrize("estimator", ["centroid", "plane"])
@pytest.mark.parametrize("degrees", [0, 37, 90, 200, 315])
def test_a_moving_dot_is_followed(estimator: str, degrees: float) -> None:
    rng = np.random.default_rng(3)
    t = np.sort(rng.integers(0, 10_000, 2000))
    way = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    places = 320 + 12 * (t / 10_000)[:, None] * way + rng.normal(0, 0.5, (2000, 2))
    x, y = np.round(places).astype(np.int16).T
    events = Events(t, x, y, np.ones(2000, np.uint8))
    flow = local_flow(events, np.full((1, 2), 320.0), np.array([-1, 10_000]), estimator)  # type: ignore[arg-type]
    moved = flow.moved[0]
    angle = np.degrees(np.arctan2(moved[1], moved[0]) - np.radians(degrees))
    assert abs((angle + 180) % 360 - 180) < 10
    assert np.hypot(*moved) == pytest.approx(12, rel=0.25)
    assert flow.count[0] == 2000
    assert flow.steadiness[0] > 0.9


def test_few_events_say_nothing() -> None:
    events = _drifting(30, 0, count=700)  # 70 a period, no more than 10 tau
    flow = local_flow(events, np.full((10, 2), (320.0, 240.0)), np.arange(11) * 10_000)
    assert (flow.moved == 0).all()
    assert abs(flow.count - 70).max() <= 1


def test_one_polarity_alone() -> None:
    events = _drifting(30, 0)
    edges = np.arange(11) * 10_000
    points = np.full((10, 2), (320.0, 240.0))
    assert (local_flow(events, points, edges, polarity=0).count == 0).all()
    assert (local_flow(events, points, edges, polarity=1).count > 0).all()


def test_shift_is_capped_by_the_step_and_by_the_motion() -> None:
    flow = LocalFlow(
        np.array([[30.0, 40.0], [0.3, 0.4], [30.0, 40.0]]),
        np.array([500, 500, 500]),
        np.array([1.0, 1.0, 0.1]),
    )
    moved = shifts(flow, step=2.0, least_steadiness=0.5)
    np.testing.assert_allclose(moved, [[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]])


def test_square_grows_after_a_jump() -> None:
    points = np.full((20, 2), 320.0)
    points[12:] += 100
    sides = half_sides(points)
    assert (sides[:6] == 80).all()  # the first samples
    assert (sides[6:12] == 64).all()
    assert sides[12] == 120
