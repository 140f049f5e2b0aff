"""Face finders: OpenCV's Haar cascades (offline default) and YuNet (by path)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError


@dataclass(frozen=True)
class FaceBox:
    """One face in one image.

    The box is square and has the same meaning for every finder: the box of OpenCV's frontal
    cascades, from the middle of the forehead to just below the lips, cheek to cheek. On average the
    eye centres are at 0.40 of its height and 0.385 of its width apart.

    Attributes:
        x: Left edge, pixels; may lie outside the image.
        y: Top edge, pixels.
        w: Width, pixels.
        h: Height, pixels.
        score: Confidence, higher is better; comparable only between boxes of one finder.
        landmarks5: Eye centres, nose tip, mouth corners, image-left first, (5, 2), or None.
    """

    x: float
    y: float
    w: float
    h: float
    score: float
    landmarks5: NDArray[np.float64] | None = None

    @property
    def corners(self) -> NDArray[np.float64]:
        """(x, y, w, h) as an array."""
        return np.array([self.x, self.y, self.w, self.h])


class FaceFinder(Protocol):
    """Interface of face finders."""

    def find(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Faces in an RGB image (H, W, 3), highest score first; empty if there is none."""
        ...


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    low = np.maximum(a[:2], b[:2])
    high = np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (float(a[2] * a[3] + b[2] * b[3]) - shared)


class HaarFinder:
    """Frontal faces by OpenCV's Haar cascade; needs no file beyond OpenCV's wheel.

    Only ``frontalface_alt2``: ``frontalface_default`` finds hardly more faces, but also tracked a
    turning globe for 259 of 901 frames. If nothing is found, the search is repeated with a margin
    around the image, because the cropped faces of the corpora fill the whole frame and the cascade
    needs some forehead and chin.

    Args:
        working_side: Longer side of the image during the search, pixels.
        min_face: Smallest face, as a share of the image's shorter side.
    """

    MARGIN = 0.25

    def __init__(self, working_side: int = 240, min_face: float = 0.15) -> None:
        self.working_side = working_side
        self.min_face = min_face
        self._cascade = load_cascade("haarcascade_frontalface_alt2")

    def find(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Faces in an RGB image (H, W, 3), highest score first."""
        height, width = image.shape[:2]
        scale = min(1.0, self.working_side / max(height, width))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # Histogram equalisation is the usual preparation for OpenCV's cascades.
        grey = cv2.equalizeHist(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        for border in (0, round(self.MARGIN * max(size))):
            padded = cv2.copyMakeBorder(grey, border, border, border, border, cv2.BORDER_REPLICATE)
            faces = self._detect(np.asarray(padded, np.uint8), border, scale, min(size))
            if faces:
                return faces
        return []

    def _detect(
        self, grey: NDArray[np.uint8], border: int, scale: float, short_side: int
    ) -> list[FaceBox]:
        """Faces in a prepared image, in pixels of the original image."""
        # The cascade was trained on windows of 20 px and sees nothing smaller.
        smallest = max(20, round(self.min_face * short_side))
        # The "3" variant also returns the last stage's weight, which serves as the score.
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, 1.1, 4, minSize=(smallest, smallest), outputRejectLevels=True
        )
        faces = []
        for box, weight in zip(np.reshape(boxes, (-1, 4)), np.ravel(weights), strict=True):
            x, y, w, h = (float(v) for v in box)
            place = ((x - border) / scale, (y - border) / scale, w / scale, h / scale)
            faces.append(FaceBox(*place, score=float(weight)))
        return sorted(faces, key=lambda face: -face.score)


class YuNetFinder:
    """YuNet by OpenCV's ``FaceDetectorYN``, with five points for each face.

    Args:
        path: The ONNX file, for example ``yunet_n_640_640.onnx`` of libfacedetection.
        min_score: Faces with a lower score are dropped, 0 to 1.
        working_side: Longer side of the image during the search, pixels.

    Raises:
        UserError: If the file is missing or OpenCV cannot load it.
    """

    # YuNet's box (hairline to chin) relative to the cascades' box; medians over two portrait clips.
    BOX_SCALE, BOX_CENTRE = 0.91, 0.49

    def __init__(self, path: Path | str, min_score: float = 0.7, working_side: int = 640) -> None:
        if not Path(path).is_file():
            raise UserError(
                f"{path}: no such file; expected YuNet's ONNX model, see "
                "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
            )
        self.working_side = working_side
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score)
        except cv2.error as error:
            raise UserError(
                f"{path}: OpenCV {cv2.__version__} cannot load this model; take the export with a "
                "fixed input shape"
            ) from error

    def find(self, image: NDArray[np.uint8]) -> list[FaceBox]:
        """Faces in an RGB image (H, W, 3), highest score first, each with `landmarks5`."""
        height, width = image.shape[:2]
        scale = min(1.0, self.working_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(image[:, :, ::-1], size, interpolation=cv2.INTER_AREA)
        self._net.setInputSize(size)
        _, rows = self._net.detect(bgr)
        if rows is None:
            return []
        return sorted((self._box(row, scale) for row in rows), key=lambda box: -box.score)

    def _box(self, row: NDArray[np.float32], scale: float) -> FaceBox:
        x, y, w, h = np.asarray(row[:4], np.float64) / scale
        # Make YuNet's box the cascades' square (see FaceBox), so that both finders can be
        # exchanged.
        side = self.BOX_SCALE * h
        left, top = x + w / 2 - side / 2, y + self.BOX_CENTRE * h - side / 2
        points = np.asarray(row[4:14], np.float64).reshape(5, 2) / scale
        return FaceBox(left, top, side, side, float(row[14]), points)


def load_cascade(name: str) -> cv2.CascadeClassifier:
    """Load a cascade from OpenCV's wheel.

    Raises:
        UserError: If this OpenCV does not include it.
    """
    # A missing file raises nothing: the classifier is just empty.
    path = Path(cv2.__file__).parent / "data" / f"{name}.xml"
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise UserError(
            f"OpenCV {cv2.__version__} does not carry {name}; install "
            "'opencv-contrib-python-headless>=4.10,<5'"
        )
    return cascade
