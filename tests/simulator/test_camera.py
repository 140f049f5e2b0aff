"""Projection, light and sensor do what their names say."""

from typing import Any

import numpy as np
import pytest

from deft_llm.simulator.render.camera import (
    Framing,
    Light,
    Sensor,
    View,
    draw_light,
    draw_sensor,
)


def _sensor(**changes: Any) -> Sensor:
    plain: dict[str, Any] = {
        "grey": False,
        "gamma": 1.0,
        "blur": 0.0,
        "read_noise": 1.0,
        "shot_noise": 4.0,
        "background": 0.5,
        "background_seed": 1,
        "noise_seed": 2,
    }
    return Sensor(**{**plain, **changes})


def test_framing_gives_the_wanted_interocular_distance() -> None:
    view = Framing(80.0, 60.0, (0.5, 0.4)).view(288, eye_gap=6.2, eye_depth=8.5)
    eyes = view.project(np.array([[-3.1, 0, 8.5], [3.1, 0, 8.5]], np.float32))
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(80, abs=1e-3)
    assert eyes[:, 1] == pytest.approx(0.4 * 288, abs=1e-3)


def test_up_in_space_is_up_in_the_image() -> None:
    view = View(100.0, 50.0, (10.0, 10.0))
    u, v = view.project(np.array([1, 2, 0], np.float32))
    assert u > 10 and v < 10


def test_light_follows_lambert_and_flickers_by_its_amplitude() -> None:
    light = Light((0.0, 0.0, 1.0), 0.4, 1.0, (1, 1, 1), 0.01, 2.0, 0.0)
    normals = np.array([[0, 0, 1], [1, 0, 0], [0, 0, -1]], np.float32)
    one = np.ones(3, np.float32)
    shaded = light.shade(one[:, None], normals, 0.0, one, 0 * one)[:, 0] ** 2.2
    np.testing.assert_allclose(shaded, [1.0, 0.4, 0.4], rtol=1e-4)
    levels = [light.at(t) for t in np.linspace(0, 1, 100)]
    assert max(levels) == pytest.approx(1.01, abs=1e-3)


@pytest.mark.parametrize("value", [0.2, 0.7])
def test_noise_has_the_stated_variance_and_no_bias(value: float) -> None:
    sensor = _sensor()
    empty, clear = np.zeros((200, 200, 3), np.float32), np.ones((200, 200), np.float32)
    frame = sensor.expose(empty, clear, np.full_like(empty, value), 0).astype(float)
    assert frame.mean() == pytest.approx(255 * value, abs=0.1)
    assert frame.var() == pytest.approx(1.0 + 4.0 * value + 1 / 12, rel=0.05)


def test_noise_differs_between_frames_and_rows_but_not_between_runs() -> None:
    sensor = _sensor(grey=True)
    empty, clear = np.zeros((64, 64, 1), np.float32), np.ones((64, 64), np.float32)
    back = np.full_like(empty, 0.5)
    first, again, second = (sensor.expose(empty, clear, back, i) for i in (0, 0, 1))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first[..., 0].ravel(), second[..., 0].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(first[0, :, 0], first[1, :, 0])[0, 1]) < 0.5
    assert np.array_equal(first[..., 0], first[..., 2])


def test_grey_backdrop_and_albedo_have_one_channel() -> None:
    sensor = _sensor(grey=True)
    assert sensor.backdrop(32).shape == (32, 32, 1)
    assert sensor.develop(np.ones((5, 3), np.float32), (1, 1, 1)).shape == (5, 1)


def test_drawn_cameras_are_valid() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        light, sensor = draw_light(rng), draw_sensor(rng)
        assert np.linalg.norm(light.direction) == pytest.approx(1)
        assert light.direction[2] > 0, "light from behind leaves a silhouette"
        backdrop = sensor.backdrop(16)
        assert 0 <= backdrop.min() <= backdrop.max() <= 1
