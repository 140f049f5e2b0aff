"""Flow estimators: contract, and accuracy on known sub-pixel motion."""

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.motion.flow import FLOW_METHODS, flow_estimator

from .conftest import bump, grid, warp

INSIDE = (slice(24, 200), slice(24, 200))
# Mean endpoint error in px that each method keeps to at 2.5 grey levels of noise, 0.05-3 px.
BARS = {"lk": 0.16, "dis": 0.16, "farneback": 0.20, "tvl1": 0.20}


@pytest.mark.parametrize("name", BARS)
@pytest.mark.parametrize("peak", [0.05, 0.5, 3.0])
def test_known_motion(name: str, peak: float, face: np.ndarray) -> None:
    truth = bump(80, 140, 16, peak, -0.5 * peak) + bump(150, 40, 20, 0, peak)
    rng = np.random.default_rng(1)
    a, b = (im + rng.normal(0, 2.5, im.shape) for im in (face, warp(face, truth)))
    flow = flow_estimator(name)(a.astype(np.float32), b.astype(np.float32))
    assert flow.shape == (2, 224, 224) and flow.dtype == np.float32
    error = np.hypot(*(flow - truth))[INSIDE].mean()
    assert error < BARS[name]


@pytest.mark.parametrize("name", BARS)
def test_direction_convention(name: str, face: np.ndarray) -> None:
    """b(x + u, y + v) is a(x, y): an image moved right and up has u > 0, v < 0."""
    x, y = grid()
    shifted = cv2.remap(face, x - 0.8, y + 0.4, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    flow = flow_estimator(name)(face, shifted)[(slice(None), *INSIDE)]
    assert np.median(flow[0]) == pytest.approx(0.8, abs=0.1)
    assert np.median(flow[1]) == pytest.approx(-0.4, abs=0.1)


@pytest.mark.parametrize("name", BARS)
def test_flat_images_give_finite_flow(name: str) -> None:
    flat = np.full((64, 48, 3), 7, np.uint8)
    flow = flow_estimator(name)(flat, flat)
    assert flow.shape == (2, 64, 48) and np.isfinite(flow).all()


def test_images_of_any_number_type(face: np.ndarray) -> None:
    """Whoever computes with pictures has doubles."""
    rgb = np.repeat(face[..., None], 3, axis=2)
    moved = np.roll(rgb, 1, axis=1)
    estimate = flow_estimator("lk")
    np.testing.assert_array_equal(
        estimate(rgb.astype(np.float64), moved.astype(np.float64)), estimate(rgb, moved)
    )


def test_sizes_must_agree() -> None:
    with pytest.raises(UserError, match="224x200 and 224x224"):
        flow_estimator()(np.zeros((200, 224), np.uint8), np.zeros((224, 224), np.uint8))


@pytest.mark.parametrize("name", FLOW_METHODS)
def test_what_is_no_image_is_named(name: str) -> None:
    """By all methods alike: none may take NaN for black, or 16 bits for 8."""
    estimate = flow_estimator(name)
    for image, words in (
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\)"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.full((32, 32), 60_000, np.uint16), "uint16"),
        (np.full((32, 32), np.nan, np.float32), "NaN"),
    ):
        with pytest.raises(UserError, match=words):
            estimate(image, image)


@pytest.mark.parametrize("name", FLOW_METHODS)
def test_images_of_few_pixels_give_flow_or_one_line(name: str) -> None:
    estimate = flow_estimator(name)
    for size in ((1, 1), (1, 9), (5, 7), (12, 12)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        try:
            assert estimate(image, image).shape == (2, *size)
        except UserError as error:
            assert name in ("dis", "tvl1") and f"{size[1]}x{size[0]} pixels" in str(error)


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'farneback'"):
        flow_estimator("farnebeck")


def test_unknown_parameter_is_named() -> None:
    with pytest.raises(UserError, match="no parameter 'windw'"):
        flow_estimator("lk", windw=3)


def test_the_trained_network_sees_where_and_which_way(face: np.ndarray) -> None:
    """The committed weights; how good they are is measured by ``eval/benchmarks/srflow.yaml``."""
    truth = bump(80, 140, 16, 1.0, -0.5) + bump(150, 40, 20, 0, 1.0)
    flow = flow_estimator("srflow")(face, warp(face, truth))
    assert flow.shape == truth.shape and flow.dtype == np.float32
    error, zero = (np.hypot(*rest)[INSIDE].mean() for rest in (flow - truth, truth))
    assert error < 0.8 * zero
    moving = np.hypot(*truth) > 0.5
    across = (flow * truth).sum(0)[moving] / (np.hypot(*truth) * np.hypot(*flow) + 1e-9)[moving]
    assert np.median(across) > np.cos(np.radians(22.5))
