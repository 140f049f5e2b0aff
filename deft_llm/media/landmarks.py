"""68 landmarks for one frame of a track, from a finder in the registry.

"mean" fits the canonical mean shape to the face finder's output, so it ignores individual
proportions. "network" is a trained network in ``landmark_models``. "face-mesh" is MediaPipe's,
whose file a user downloads once (``deft-llm models get face-mesh``). The result includes the
expected error of the landmarks.

The library, and with it every recipe and benchmark, uses "network" unless another is named, so that
no figure depends on what a machine has downloaded. Commands and page use `usual_finder`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.downloads import FACE_MESH, model_file
from deft_llm.media.canonical import (
    CANONICAL_LANDMARKS,
    fit_similarity,
    five_points,
    transform,
)
from deft_llm.media.finders import load_cascade
from deft_llm.media.tracking import FaceTrack
from deft_llm.registry import resolve

logger = logging.getLogger(__name__)

#: Eye centres in a face box: height, and distance over width (see `FaceBox`); means over two real
#: and a dozen simulated people.
EYE_HEIGHT, EYE_DISTANCE = 0.402, 0.385
#: The eyes are searched for in at most this many frames.
MAX_EYE_FRAMES = 7
#: Expected RMS errors of brow, eye, nose and mouth landmarks, shares of the interocular distance.
#: Measured on 24 simulated heads: box alone 0.063, eyes and box 0.062, YuNet's points 0.085 (mean
#: residual of 0.045 at its own points on portraits). A box alone has no tilt, hence its higher
#: value.
UNCERTAINTY = {"box": 0.08, "eyes": 0.065, "five points": 0.065}


@dataclass(frozen=True)
class Landmarks:
    """68 landmarks of one frame.

    Attributes:
        points: float64 (68, 2), pixels of the reference frame, iBUG order.
        uncertainty: float64 (68,), RMS error to expect of each landmark, as a share of the
            interocular distance.
        method: What they were placed by: "box", "eyes", "five points", or a finder's name.
        depth: float64 (68,), how much nearer to the camera each is than the nose bridge (27), as
            a share of the interocular distance; None if the finder does not tell.
    """

    points: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    method: str
    depth: NDArray[np.float64] | None = None


class LandmarkFinder(Protocol):
    """Interface of landmark finders."""

    def place(self, clip: Clip, track: FaceTrack, poses: NDArray[np.float64]) -> Landmarks:
        """Landmarks in the reference frame; `poses` (T, 2, 3) map every frame to it."""
        ...


# Name -> "module:Class", imported on first use: importing this module loads no torch.
LANDMARK_FINDERS: dict[str, str] = {
    "network": "deft_llm.landmark_models.finder:NetworkFinder",
    FACE_MESH: "deft_llm.landmark_models.face_mesh:FaceMeshFinder",
    "mean": "deft_llm.media.landmarks:MeanShapeFinder",
}


#: The finder used when none is named.
DEFAULT_FINDER = "network"


def usual_finder() -> str:
    """Name of the finder for a user's own clip: the face mesh if it was downloaded.

    Its use is told once a process.
    """
    if model_file(FACE_MESH) is None:
        return DEFAULT_FINDER
    _tell_once()
    return FACE_MESH


@cache
def _tell_once() -> None:
    logger.info("landmarks are placed by the face mesh, which was downloaded")


def landmark_finder(name: str = DEFAULT_FINDER, **parameters: Any) -> LandmarkFinder:
    """Make a landmark finder by its name in ``LANDMARK_FINDERS``.

    Args:
        name: The name.
        **parameters: Arguments of its class.

    Raises:
        UserError: If the name is not registered, or the finder's file is missing.
    """
    finder: LandmarkFinder = resolve(LANDMARK_FINDERS, name, "landmark finder")(**parameters)
    return finder


class MeanShapeFinder:
    """The canonical mean face placed by five points, else by both eyes, else by the box.

    Every measurement is mapped to the reference frame by the head pose, and the median over the
    detections is used, so that one bad detection does not move the face.
    """

    def place(self, clip: Clip, track: FaceTrack, poses: NDArray[np.float64]) -> Landmarks:
        """See `LandmarkFinder`."""
        five = [
            transform(poses[index], box.landmarks5)
            for index, box in track.detections
            if box.landmarks5 is not None
        ]
        if five:
            source = five_points(CANONICAL_LANDMARKS)
            return self._placed(source, np.median(five, axis=0), "five points")
        boxed = [transform(poses[i], _eyes_in_box(box.corners)) for i, box in track.detections]
        by_box = np.median(boxed, axis=0)
        source = five_points(CANONICAL_LANDMARKS)[:2]
        eyes = self._find_eyes(clip, track, poses, by_box)
        if eyes is None:
            return self._placed(source, by_box, "box")
        return self._placed(source, _blend(eyes, by_box), "eyes")

    def _placed(
        self, source: NDArray[np.float64], target: NDArray[np.float64], method: str
    ) -> Landmarks:
        matrix = fit_similarity(source, target)
        points = transform(matrix, CANONICAL_LANDMARKS)
        return Landmarks(points, np.full(len(points), UNCERTAINTY[method]), method)

    def _find_eyes(
        self,
        clip: Clip,
        track: FaceTrack,
        poses: NDArray[np.float64],
        by_box: NDArray[np.float64],
    ) -> NDArray[np.float64] | None:
        """Both eye centres in the reference frame (2, 2), or None if the detections disagree."""
        seeker = EyeFinder()
        spread_out = np.linspace(0, len(track.detections) - 1, MAX_EYE_FRAMES).round().astype(int)
        chosen = [track.detections[i] for i in np.unique(spread_out)]
        found = [(i, seeker.find(clip.frames[i], box.corners)) for i, box in chosen]
        pairs = [transform(poses[i], pair) for i, pair in found if pair is not None]
        if len(pairs) < max(1, len(chosen) // 2):
            return None
        pair = np.median(pairs, axis=0)
        width = float(np.linalg.norm(by_box[1] - by_box[0]))
        spread = np.median(np.linalg.norm(np.asarray(pairs) - pair, axis=-1))
        apart = float(np.linalg.norm(pair[1] - pair[0])) / width
        off = float(np.linalg.norm(pair.mean(axis=0) - by_box.mean(axis=0))) / width
        # Cascades also fire on brows and nostrils: eyes must agree over time and roughly with the
        # box.
        if spread > 0.1 * width or not 0.75 < apart < 1.3 or off > 0.3:
            return None
        return pair


def _blend(eyes: NDArray[np.float64], by_box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eye centres with the tilt of the eyes, and the mean position and distance of both sources."""
    # Boxes are upright, so only the eyes know the tilt. Distances are averaged geometrically,
    # because they act as a scale.
    middle = (eyes.mean(axis=0) + by_box.mean(axis=0)) / 2
    along = eyes[1] - eyes[0]
    length, by_box_length = np.linalg.norm(along), np.linalg.norm(by_box[1] - by_box[0])
    half = along / length * np.sqrt(length * by_box_length) / 2
    return np.stack([middle - half, middle + half])


def _eyes_in_box(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eye centres expected from a face box, (2, 2)."""
    x, y, w, h = box
    half = EYE_DISTANCE / 2
    return np.array(
        [[x + (0.5 - half) * w, y + EYE_HEIGHT * h], [x + (0.5 + half) * w, y + EYE_HEIGHT * h]]
    )


class EyeFinder:
    """Eye centres by OpenCV's eye cascades inside a face box."""

    # The face box is searched at this width, pixels; eyes are then about 36 pixels wide.
    WORKING_WIDTH = 160
    # The cascades' eye boxes are too low and too close together compared with YuNet's points;
    # shares of the eye distance.
    DROP, DISTANCE = 0.03, 0.94

    def __init__(self) -> None:
        self._cascades = [load_cascade(f"haarcascade_{n}") for n in ("eye_tree_eyeglasses", "eye")]

    def find(
        self, image: NDArray[np.uint8], box: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Centres of the image-left and image-right eye (2, 2) in pixels, or None."""
        x, y, w = box[:3]
        scale = self.WORKING_WIDTH / w
        # Only the upper 62 % of the box, to leave out the mouth. Cut with sub-pixel precision.
        size = (self.WORKING_WIDTH, round(0.62 * self.WORKING_WIDTH))
        cut = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
        upper = cv2.warpAffine(image, cut, size, borderMode=cv2.BORDER_REPLICATE)
        grey = cv2.equalizeHist(cv2.cvtColor(upper, cv2.COLOR_RGB2GRAY))
        for cascade in self._cascades:
            # A step of 1.1 between scales, and three hits that agree.
            found = cascade.detectMultiScale(grey, 1.1, 3, minSize=(26, 26), maxSize=(60, 60))
            centres = np.reshape(found, (-1, 4)).astype(np.float64)
            pair = self._pair(centres[:, :2] + centres[:, 2:] / 2)
            if pair is not None:
                half = (pair[1] - pair[0]) / 2 / self.DISTANCE
                # DROP is a share of the whole distance, and half of that is at hand.
                middle = pair.mean(axis=0) - (0, self.DROP * 2 * float(np.linalg.norm(half)))
                return np.stack([middle - half, middle + half]) / scale + (x, y)
        return None

    def _pair(self, centres: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """The two candidates nearest to the expected eye centres of a face box."""
        expected = _eyes_in_box(np.array([0.0, 0.0, self.WORKING_WIDTH, self.WORKING_WIDTH]))
        if len(centres) < 2:
            return None
        distance = np.linalg.norm(centres[None] - expected[:, None], axis=-1)
        nearest = distance.argmin(axis=1)
        if nearest[0] == nearest[1] or distance.min(axis=1).max() > 0.12 * self.WORKING_WIDTH:
            return None
        return centres[nearest]
