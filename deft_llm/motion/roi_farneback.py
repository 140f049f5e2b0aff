"""Motion of the regions in the form of the ME-TST papers, on single frames against a first one.

Farnebäck's flow inside each part of the face, the mean of the pixels that moved most, and the
motion of the nose bridge taken away for the head's. Where the public code errs, this does not
follow it: the face's box is shifted by pixels of the video (not of the crop), small regions keep
their place where the image cuts their part of the face, and a box stays inside the image. An empty
region moves by minus the nose's motion, as there.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.rois import CROP_SIDE, ROIS, Box, Roi, crop_boxes, roi_box

Grey = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
Bounds = tuple[int, int, int, int]
"""Top, bottom, left, right, inside the image."""

# In OpenCV's order: pyramid scale, levels, window, iterations, poly_n, poly_sigma, flags. These and
# the numbers of the nose below are the public code's.
_FLOW: tuple[Any, ...] = (0.5, 3, 15, 5, 7, 1.5, 0)
_NOSE, _NOSE_MARGIN, _NOSE_SHARE = slice(29, 31), 13, 0.7
_NOSE_INSIDE = (slice(15, -10), slice(5, -5))
_SHIFTS = 3  # the box follows the nose so many times
_SHORT_EDGE = 4  # px: lower edge of a brow that would be too low to lose more


class FarnebackRois:
    """Regions of one face, measured against its first image.

    Args:
        first: (H, W) grey image.
        landmarks: (68, 2) in its pixels.
    """

    def __init__(self, first: Grey, landmarks: NDArray[Any]) -> None:
        (right_x, right_y), (left_x, left_y) = landmarks[39], landmarks[42]
        # Half the distance of the eyes' inner corners; the crop is 9 x 9 of it, as in the public
        # code.
        unit = int((left_x - right_x) / 2)
        x, y = int((left_x + right_x) / 2), int((left_y + right_y) / 2)
        top, left = max(y - int(3.5 * unit), 0), max(x - int(4.5 * unit), 0)
        height, width = first.shape
        bottom, right = min(y + int(5.5 * unit), height), min(x + int(4.5 * unit), width)
        self.box = np.array([top, bottom, left, right])
        scale = CROP_SIDE / np.array([right - left, bottom - top])
        # Whole pixels, as landmarks of the usual detector are.
        self.points = ((np.asarray(landmarks, np.float64) - (left, top)) * scale).astype(int)
        self.crops = {name: _bounds(box) for name, box in crop_boxes(self.points).items()}
        self.first = self._face(first)

    def __call__(self, image: Grey) -> FloatArray:
        """Motion of every region since the first image, (18, 2), px of the crop.

        Args:
            image: (H, W), the next one in time: where the face's box went stays known.
        """
        face = self._face(image)
        head = self._nose(face)
        for _ in range(_SHIFTS):
            # px^2: the public code follows the nose until it is within a pixel.
            if head @ head <= 1.0:
                break
            self._shift(head, image.shape)
            face = self._face(image)
            head = self._nose(face)
        flows = {name: _flow(self.first, face, bounds) for name, bounds in self.crops.items()}
        moved = [_largest(self._inside(roi, flows[roi.crop]), roi.share) for roi in ROIS]
        return (np.stack(moved) - head).astype(np.float32)

    def _face(self, image: Grey) -> Grey:
        top, bottom, left, right = self.box
        return np.asarray(cv2.resize(image[top:bottom, left:right], (CROP_SIDE, CROP_SIDE)))

    def _nose(self, face: Grey) -> NDArray[np.float64]:
        (left, top), (right, bottom) = self.points[_NOSE].min(0), self.points[_NOSE].max(0)
        margin = _NOSE_MARGIN
        around = _bounds((top - margin, bottom + margin, left - margin, right + margin))
        return _largest(_flow(self.first, face, around)[_NOSE_INSIDE], _NOSE_SHARE)

    def _shift(self, head: NDArray[np.float64], shape: tuple[int, ...]) -> None:
        top, bottom, left, right = self.box
        # From pixels of the crop to those of the video; the public code forgets this.
        down = round(head[1] * (bottom - top) / CROP_SIDE)
        across = round(head[0] * (right - left) / CROP_SIDE)
        down = int(np.clip(down, -top, shape[0] - bottom))
        across = int(np.clip(across, -left, shape[1] - right))
        self.box = self.box + np.array([down, down, across, across])

    def _inside(self, roi: Roi, flow: FloatArray) -> FloatArray:
        """The part of the flow of a region's part of the face that is its own."""
        top, bottom, left, _ = self.crops[roi.crop]
        # From the part before the image cut it: a brow at its edge loses less above.
        rows, end, columns, stop = roi_box(roi, self.points, crop_boxes(self.points))
        if roi.name == "right brow" and end < rows + 3:
            end = bottom - _SHORT_EDGE
        first, last = max(int(rows) - top, 0), max(int(end) - top, 0)
        return flow[first:last, max(int(columns) - left, 0) : max(int(stop) - left, 0)]


def _bounds(box: Box) -> Bounds:
    """A box in whole pixels inside the crop."""
    top, bottom, left, right = (int(np.clip(int(x), 0, CROP_SIDE)) for x in box)
    return top, bottom, left, right


def _flow(first: Grey, face: Grey, bounds: Bounds) -> FloatArray:
    """Flow (h, w, 2) inside a box; none of an empty one."""
    top, bottom, left, right = bounds
    a, b = first[top:bottom, left:right], face[top:bottom, left:right]
    if not a.size:
        return np.zeros((0, 0, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(a, b, None, *_FLOW), np.float32)


def _largest(flow: FloatArray, share: float) -> NDArray[np.float64]:
    """Mean (u, v) of the share of the pixels that moved most; 0 without pixels."""
    vectors = flow.reshape(-1, 2).astype(np.float64)
    if not len(vectors):
        return np.zeros(2)
    order = np.argsort(np.hypot(*vectors.T))
    return np.asarray(vectors[order[int(len(order) * (1 - share)) :]].mean(0))
