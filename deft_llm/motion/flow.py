"""Optical flow behind one interface: classical estimators with presets for sub-pixel motion.

The registry also names a trained network, "srflow", which is in ``flow_models``.

Every estimator maps two images of one size to ``(2, H, W)`` float32 pixels, ``u`` to the right
and ``v`` down, such that ``b(x + u, y + v)`` shows what ``a(x, y)`` shows.

OpenCV's estimators work on 8-bit images, so they get locally normalised grey images
(``local_normalise``): the few grey levels of contrast on cheeks and forehead then use the full
range. The default, ``LucasKanadeFlow``, works on floats and does not need this.

Measured on 24 simulated clips through H.264 (motion 0.3-3 px at the peak, region means, exact
landmarks): share of the true motion that is found 0.93 (DIS 0.62, Farnebäck 0.48), direction
within 45 degrees in 93 % of the regions that moved 0.1 px (DIS 88 %), regions found at 5 % false
alarms 74 % (DIS 56 %). DIS loses this motion to its smoothness term.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.motion.pixels import carried_back, slopes
from deft_llm.registry import resolve

FloatArray = NDArray[np.float32]

# Local normalisation: SD of the Gaussian window (px), contrast added in quadrature so that flat
# areas are not amplified without limit (grey levels), and grey levels that one local SD maps to.
_WINDOW, _CONTRAST, _GAIN = 10.0, 6.0, 45.0


class FlowEstimator(Protocol):
    """Dense flow from one image to another."""

    name: str

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> FloatArray:
        """Flow from ``a`` to ``b``.

        Args:
            a: RGB (H, W, 3) or grey (H, W), uint8 or floats in 0..255.
            b: The same size.

        Returns:
            float32 (2, H, W), pixels; finite everywhere.

        Raises:
            UserError: If the sizes differ, an array is not an image or holds NaN or infinity, or
                the images have too few pixels for the method.
        """
        ...


def check_pair(a: NDArray[Any], b: NDArray[Any]) -> None:
    """Fail if two arrays are no images of one size; see :class:`FlowEstimator`.

    Raises:
        UserError: If they are not.
    """
    for image in (a, b):
        if image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (3,)):
            raise UserError(
                f"flow: an image of shape {image.shape}; expected RGB (H, W, 3) or grey (H, W)"
            )
        if image.dtype == np.uint8:
            continue
        if image.dtype.kind != "f":
            raise UserError(f"flow: an image of {image.dtype}; expected uint8, or floats in 0..255")
        if not np.isfinite(image).all():
            raise UserError("flow: an image holds NaN or infinity; expected values in 0..255")
    if a.shape[:2] != b.shape[:2]:
        raise UserError(
            f"flow: images of {a.shape[1]}x{a.shape[0]} and {b.shape[1]}x{b.shape[0]} pixels; "
            "expected one size; align or resize the clip first"
        )


def to_grey(image: NDArray[Any]) -> FloatArray:
    """Luma of an RGB image, or a grey image unchanged: float32 (H, W) in 0..255.

    Raises:
        UserError: If the array is neither (H, W) nor (H, W, 3).
    """
    if image.ndim == 3 and image.shape[2] == 3:
        if image.dtype != np.uint8:  # OpenCV takes no doubles
            image = image.astype(np.float32)
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


class _Checked:
    """Shared checks; subclasses compute flow between float32 grey images."""

    name: str

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> FloatArray:
        check_pair(a, b)
        flow = self._flow(to_grey(a), to_grey(b))
        # One non-finite pixel would spoil the mean of a whole region.
        return np.ascontiguousarray(np.nan_to_num(flow), dtype=np.float32)

    def _flow(self, a: FloatArray, b: FloatArray) -> FloatArray:
        raise NotImplementedError


class _OpenCVFlow(_Checked):
    """An OpenCV estimator applied to locally normalised images."""

    def _flow(self, a: FloatArray, b: FloatArray) -> FloatArray:
        try:
            flow = self._calc(local_normalise(a), local_normalise(b))
        except cv2.error as error:
            # Mostly images of a few pixels; how few are too few differs by method and version.
            raise UserError(
                f"flow: {self.name} fails on images of {a.shape[1]}x{a.shape[0]} pixels "
                f"({error.err}); give them in another size, or use lk"
            ) from error
        # OpenCV puts u and v last; everywhere else in this project they come first.
        return flow.transpose(2, 0, 1)

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        raise NotImplementedError


class DISFlow(_OpenCVFlow):
    """Dense inverse search (Kroeger et al., ECCV 2016).

    Stops at half resolution and refines there. On noisy (2.5 grey levels), H.264-coded faces with
    0.1 / 1 / 3 px of motion the endpoint error is 0.08 / 0.11 / 0.16 px (0.19 / 0.25 / 0.47 for
    zero flow). The finest scale takes three times as long and is worse: 0.11 / 0.13 / 0.17 px.
    About 10 ms for a 224x224 pair on one core, including normalisation.

    Args:
        finest: Scale at which the search stops; 0 is full resolution.
        alpha: Weight of smoothness in the refinement.
        refinements: Iterations of the refinement.
    """

    name = "dis"

    def __init__(self, finest: int = 1, alpha: float = 10.0, refinements: int = 5) -> None:
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(finest)
        self._dis.setPatchSize(8)
        self._dis.setPatchStride(3)
        self._dis.setGradientDescentIterations(12)
        self._dis.setVariationalRefinementIterations(refinements)
        self._dis.setVariationalRefinementAlpha(alpha)
        self._dis.setVariationalRefinementGamma(5.0)

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        return self._dis.calc(a, b, None)


class LucasKanadeFlow(_Checked):
    """Dense, iterative Lucas-Kanade on an image pyramid, the default.

    Lucas and Kanade (IJCAI 1981) in the pyramidal form of Bouguet (2000), solved at every pixel
    with a Gaussian window. The local mean is removed from the difference image, so that a slow
    change of light is not read as motion. We chose the parameters on simulated clips.

    Args:
        window: SD of the Gaussian window, px of each level.
        damping: Added to the diagonal of the structure tensor, squared grey levels per px.
        iterations: Steps on each pyramid level, coarsest first.
    """

    name = "lk"

    def __init__(
        self,
        window: float = 5.0,
        damping: float = 5.0,
        iterations: tuple[int, ...] = (4, 3, 3),
    ) -> None:
        self.window, self.damping, self.iterations = window, damping, iterations

    def _flow(self, a: FloatArray, b: FloatArray) -> FloatArray:
        # The blur lowers sensor noise on the finest level; pyrDown blurs the others.
        pyramid = [tuple(cv2.GaussianBlur(image, (0, 0), 1.0) for image in (a, b))]
        while len(pyramid) < len(self.iterations):
            pyramid.append(tuple(cv2.pyrDown(image) for image in pyramid[-1]))
        flow = np.zeros((*pyramid[-1][0].shape, 2), np.float32)
        for (first, second), count in zip(reversed(pyramid), self.iterations, strict=True):
            height, width = first.shape
            if flow.shape[:2] != first.shape:
                flow = 2 * cv2.resize(flow, (width, height))  # px of the finer level
            flow = self.refine(first, second, flow, count)
        return flow.transpose(2, 0, 1)

    def refine(self, a: FloatArray, b: FloatArray, flow: FloatArray, count: int) -> FloatArray:
        """Gauss-Newton steps at one size; one structure tensor, from the gradients of ``a``.

        Args:
            a: (H, W) grey levels.
            b: The same size.
            flow: (H, W, 2) pixels, to begin with.
            count: Number of steps.

        Returns:
            (H, W, 2) pixels.
        """
        dx, dy = slopes(a)
        xx, xy, yy = cv2.split(self._mean(cv2.merge([dx * dx, dx * dy, dy * dy])))
        # Damping keeps the 2x2 system solvable where there is no texture; flow there tends to zero.
        xx, yy = xx + self.damping, yy + self.damping
        determinant = xx * yy - xy * xy
        for _ in range(count):
            difference = a - carried_back(b, flow.transpose(2, 0, 1))
            difference -= self._mean(difference)
            bx, by = cv2.split(self._mean(cv2.merge([dx * difference, dy * difference])))
            # Cramer's rule for the 2x2 systems of all pixels at once.
            step = [(yy * bx - xy * by) / determinant, (xx * by - xy * bx) / determinant]
            flow = flow + cv2.merge(step)
        return flow

    def _mean(self, image: FloatArray) -> FloatArray:
        return cv2.GaussianBlur(image, (0, 0), self.window)


class TVL1Flow(_OpenCVFlow):
    """TV-L1 (Zach, Pock and Bischof, DAGM 2007), reduced to about 90 ms a pair.

    Args:
        weight: Weight of brightness constancy against total variation.
        theta: Coupling of the two terms.
        warps: Number of warps on each scale.
    """

    name = "tvl1"

    def __init__(self, weight: float = 0.08, theta: float = 0.6, warps: int = 1) -> None:
        self._tvl1 = cv2.optflow.DualTVL1OpticalFlow_create(
            tau=0.25,
            lambda_=weight,
            theta=theta,
            nscales=3,
            warps=warps,
            epsilon=0.02,
            innnerIterations=10,  # OpenCV spells it with three n
            outerIterations=4,
            scaleStep=0.5,
            medianFiltering=1,
        )

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        return self._tvl1.calc(a, b, None)


class FarnebackFlow(_OpenCVFlow):
    """Polynomial expansion (Farnebäck, SCIA 2003).

    Args:
        window: Side of the averaging window, px.
        neighbours: Side of the neighbourhood for the polynomial fit, px.
        spread: SD of the weights in that neighbourhood, px.
    """

    name = "farneback"

    def __init__(self, window: int = 21, neighbours: int = 5, spread: float = 1.1) -> None:
        # 3 iterations; below, a pyramid of 3 levels, each half of the one before.
        self._fit = (window, 3, neighbours, spread)

    def _calc(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[Any]:
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, *self._fit, 0)


FLOW_METHODS: dict[str, str] = {
    "lk": "deft_llm.motion.flow:LucasKanadeFlow",
    "dis": "deft_llm.motion.flow:DISFlow",
    "tvl1": "deft_llm.motion.flow:TVL1Flow",
    "farneback": "deft_llm.motion.flow:FarnebackFlow",
    "srflow": "deft_llm.flow_models.estimator:SRFlow",
}


def flow_estimator(name: str = "lk", **parameters: Any) -> FlowEstimator:
    """Make a new estimator by its name in ``FLOW_METHODS``.

    Args:
        name: The name.
        **parameters: Arguments of its class; they replace the presets.

    Raises:
        UserError: If the name is not registered, or the class has no such parameter.
    """
    factory = resolve(FLOW_METHODS, name, "flow method")
    known = list(inspect.signature(factory).parameters)
    if unknown := sorted(set(parameters) - set(known)):
        raise UserError(f"flow method {name!r}: no parameter {unknown[0]!r}; it has {known}")
    estimator: FlowEstimator = factory(**parameters)
    return estimator
