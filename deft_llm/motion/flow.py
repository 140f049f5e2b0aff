"""Classical optical flow behind one interface, with presets for sub-pixel motion of faces.

Every estimator maps two images of one size to ``(2, H, W)`` float32 pixels, ``u`` to the right
and ``v`` down, such that ``b(x + u, y + v)`` shows what ``a(x, y)`` shows.

Images are turned to grey and normalised locally before any estimator sees them
(``local_normalise``): cheeks and forehead, whose contrast is a few grey levels, then use the
eight bits that OpenCV's estimators work in.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError

FloatArray = NDArray[np.float32]

# Local normalisation: Gaussian window (px), contrast below which texture is left alone (grey
# levels), and the grey levels that one local SD is mapped to.
_WINDOW, _CONTRAST, _GAIN = 10.0, 6.0, 45.0


class FlowEstimator(Protocol):
    """Dense flow from one image to another."""

    name: str

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> FloatArray:
        """Flow from ``a`` to ``b``.

        Args:
            a: uint8 RGB (H, W, 3), or uint8 or float32 grey (H, W) in 0..255.
            b: The same size.

        Returns:
            float32 (2, H, W), pixels; finite everywhere.

        Raises:
            UserError: If the sizes differ or an image is no image.
        """
        ...


def to_grey(image: NDArray[Any]) -> FloatArray:
    """Luma of an RGB image, or a grey image as it is: float32 (H, W) in 0..255.

    Raises:
        UserError: If the array is neither (H, W) nor (H, W, 3).
    """
    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if image.ndim != 2:
        raise UserError(
            f"flow: an image of shape {image.shape}; expected RGB (H, W, 3) or grey (H, W)"
        )
    return image.astype(np.float32)


def local_normalise(grey: FloatArray) -> NDArray[np.uint8]:
    """Subtract the local mean, divide by the local contrast: uint8 (H, W) around 128."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _WINDOW)
    variance = cv2.GaussianBlur(detail * detail, (0, 0), _WINDOW)
    scaled = 128.0 + _GAIN * detail / np.sqrt(variance + _CONTRAST**2)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


class _OpenCVFlow:
    """Shared checks and preparation; a subclass computes flow between normalised images."""

    name: str

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> FloatArray:
        if a.shape[:2] != b.shape[:2]:
            raise UserError(
                f"flow: images of {a.shape[1]}x{a.shape[0]} and {b.shape[1]}x{b.shape[0]} pixels; "
                "expected one size; align or resize the clip first"
            )
        flow = self._calc(local_normalise(to_grey(a)), local_normalise(to_grey(b)))
        return np.ascontiguousarray(np.nan_to_num(flow).transpose(2, 0, 1), dtype=np.float32)

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        raise NotImplementedError


class DISFlow(_OpenCVFlow):
    """Dense inverse search (Kroeger et al., ECCV 2016), the default.

    Stops at half resolution and refines there: on noisy, H.264-coded faces the finest scale
    raises the endpoint error (0.114 against 0.077 px for 0.1-px motion) and triples the time.
    """

    name = "dis"

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(1)
        self._dis.setPatchSize(8)
        self._dis.setPatchStride(3)
        self._dis.setGradientDescentIterations(12)
        self._dis.setVariationalRefinementIterations(5)
        self._dis.setVariationalRefinementGamma(5.0)

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        return self._dis.calc(a, b, None)


class TVL1Flow(_OpenCVFlow):
    """TV-L1 (Zach, Pock and Bischof, DAGM 2007), reduced from OpenCV's default (557 ms)."""

    name = "tvl1"

    def __init__(self) -> None:
        self._tvl1 = cv2.optflow.DualTVL1OpticalFlow_create(
            tau=0.25,
            lambda_=0.08,
            theta=0.6,
            nscales=3,
            warps=1,
            epsilon=0.02,
            innnerIterations=10,
            outerIterations=4,
            scaleStep=0.5,
            medianFiltering=1,
        )

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        return self._tvl1.calc(a, b, None)


class FarnebackFlow(_OpenCVFlow):
    """Polynomial expansion (Farnebäck, SCIA 2003), 21-pixel window."""

    name = "farneback"

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 21, 3, 5, 1.1, 0)


FLOW_METHODS: dict[str, str] = {
    "dis": "deft_llm.motion.flow:DISFlow",
    "tvl1": "deft_llm.motion.flow:TVL1Flow",
    "farneback": "deft_llm.motion.flow:FarnebackFlow",
}


def flow_estimator(name: str = "dis") -> FlowEstimator:
    """A new estimator by its name in ``FLOW_METHODS``.

    Raises:
        UserError: If the name is not registered.
    """
    if name not in FLOW_METHODS:
        near = difflib.get_close_matches(name, FLOW_METHODS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"flow method {name!r}: expected one of {', '.join(FLOW_METHODS)}{hint}")
    module, _, attribute = FLOW_METHODS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()
