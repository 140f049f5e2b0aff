"""The trained network as a landmark finder: "network" in the registry of ``media/landmarks.py``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Clip
from deft_llm.landmark_models.crops import cut, placed_by_box, placed_by_points
from deft_llm.landmark_models.files import WEIGHTS, load_landmark_net
from deft_llm.landmark_models.network import LandmarkNet
from deft_llm.media.canonical import INTEROCULAR, invert, transform
from deft_llm.media.landmarks import Landmarks
from deft_llm.media.tracking import FaceTrack

#: Number of frames of a clip that the network sees.
FRAMES_LOOKED_AT = 9
#: Number of passes; each cuts the crop around the landmarks of the one before.
PASSES = 2

Points = NDArray[np.float64]
# Cached by folder, so that the finders of a process share the weights.
_network = lru_cache(maxsize=4)(load_landmark_net)
_MIRROR = np.array(facs.MIRROR_68)


class NetworkFinder:
    """Landmarks by a network trained on simulated faces.

    The network sees each chosen frame separately, as it is and mirrored. The head pose maps all
    landmarks to the reference frame. Their median over the frames is the result, so neither a
    blink nor jitter moves the face.

    Args:
        folder: Folder of the weights; by default the project's own.
        frames: Maximum number of frames used.

    Raises:
        UserError: If the folder does not hold a network.
    """

    def __init__(self, folder: Path = WEIGHTS, frames: int = FRAMES_LOOKED_AT) -> None:
        self.network: LandmarkNet = _network(folder)
        self.frames = frames

    def place(self, clip: Clip, track: FaceTrack, poses: NDArray[np.float64]) -> Landmarks:
        """See `media.landmarks.LandmarkFinder`.

        The uncertainty of a point combines three parts: the error that the network predicts, the
        disagreement between frames, and that between a face and its mirror image.
        """
        present = np.flatnonzero(track.present)
        spread_out = np.linspace(0, len(present) - 1, self.frames).round().astype(int)
        chosen = present[np.unique(spread_out)]
        placements = [placed_by_box(track.boxes[i]) for i in chosen]
        points, errors = self.find([clip.frames[i] for i in chosen], placements)
        carried = np.stack([transform(poses[i], p) for i, p in zip(chosen, points, strict=True)])
        median = np.median(carried, axis=0)
        # A median here as well: one blink must not make the lids uncertain.
        wander = np.median(np.linalg.norm(carried - median, axis=-1), axis=0)
        # The poses scale the face, and so its errors.
        zoom = np.sqrt(np.abs(np.linalg.det(poses[chosen][:, :, :2])))[:, None]
        unit = _interocular(median)
        expected = np.hypot(np.median(errors * zoom, axis=0), wander) / unit
        return Landmarks(median, expected, "network")

    def find(
        self, images: list[NDArray[np.uint8]], placements: list[NDArray[np.float64]]
    ) -> tuple[Points, Points]:
        """Landmarks of single images.

        Args:
            images: RGB (H, W, 3) or grey (H, W).
            placements: For each image, an approximate (2, 3) from canonical to its pixels; see
                ``crops``.

        Returns:
            Points (K, 68, 2) in pixels of the images, and the expected RMS error of each,
            (K, 68), pixels.
        """
        for _ in range(PASSES):
            points, errors = self._look(images, placements)
            placements = [placed_by_points(p) for p in points]
        return points, errors

    def _look(
        self, images: list[NDArray[np.uint8]], placements: list[NDArray[np.float64]]
    ) -> tuple[Points, Points]:
        side = self.network.config.side
        cuts = [cut(im, where, side) for im, where in zip(images, placements, strict=True)]
        crops = np.stack([crop for crop, _ in cuts])
        both = np.concatenate([crops, crops[:, :, ::-1]])
        found, scale = self._run(both)
        plain, mirrored = np.split(found, 2)
        # Back to the unmirrored crop, with left and right landmarks swapped.
        mirrored = mirrored[:, _MIRROR] * (-1, 1) + (side - 1, 0)
        scale = (scale[: len(crops)] + scale[len(crops) :][:, _MIRROR]) / 2
        # 2 b is the expected RMS error; half the disagreement is each one's distance from the mean.
        errors = np.hypot(2 * scale, np.linalg.norm(plain - mirrored, axis=-1) / 2)
        middle = (plain + mirrored) / 2
        back = [invert(matrix) for _, matrix in cuts]
        points = np.stack([transform(m, p) for m, p in zip(back, middle, strict=True)])
        zoom = np.array([np.hypot(m[0, 0], m[1, 0]) for m in back])
        return points, errors * zoom[:, None]

    @torch.inference_mode()
    def _run(self, crops: NDArray[np.uint8]) -> tuple[Points, Points]:
        """Points (K, 68, 2) and Laplace scales (K, 68), px of the crops."""
        batch = torch.from_numpy(np.ascontiguousarray(crops))[:, None]
        placed = self.network(batch.to(next(self.network.parameters()).device))
        scale = placed.log_scale.exp() * (self.network.config.side / 16)
        return placed.points.double().cpu().numpy(), scale.double().cpu().numpy()


def _interocular(points: Points) -> float:
    """Interocular distance in px, from the whole face, since a turned face is narrower."""
    matrix = placed_by_points(points)
    return INTEROCULAR * float(np.hypot(matrix[0, 0], matrix[1, 0]))
