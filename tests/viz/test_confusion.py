"""The confusion matrix shows every clip that the table counts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deft_llm.viz.confusion import confusion_plot

CLASSES = ("negative", "positive")


def width(matrix: np.ndarray) -> int:
    picture = cv2.imdecode(np.frombuffer(confusion_plot(matrix, CLASSES, "a"), np.uint8), 1)
    return int(picture.shape[1])


def test_answers_of_no_class_have_a_column_where_there_are_any() -> None:
    read = np.array([[3, 1, 0], [0, 2, 0]])
    unread = read + np.array([[0, 0, 4], [0, 0, 0]])
    assert width(unread) > width(read)
    with pytest.raises(ValueError, match=r"\(2, 2\) for 2 classes"):
        width(read[:, :2])
