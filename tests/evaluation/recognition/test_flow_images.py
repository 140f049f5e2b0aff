"""Flow images are read from the published layout; what is wrong in a folder is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm import facs
from deft_llm.data.flow_images import read_flow_images
from deft_llm.data.labelled import labelled, three_class
from deft_llm.errors import UserError


def test_reading_the_published_layout(benchmark_file: Path) -> None:
    images = read_flow_images(benchmark_file.parent / "data" / "flow")
    assert len(images) == 30
    assert images.clips[0] == "006_0_0"
    assert set(images.datasets[images.subjects == "s01"]) == {"SMIC"}
    assert set(images.datasets[images.subjects == "006"]) == {"SAMM"}
    labels = labelled(images, facs.THREE_CLASSES, three_class).labels
    assert np.bincount(labels).tolist() == [10, 10, 10]


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; expected <subject>/u_test"):
        read_flow_images(tmp_path / "absent")
    with pytest.raises(UserError, match="no images; expected"):
        read_flow_images(tmp_path)


def test_reading_a_wrong_image(benchmark_file: Path) -> None:
    file = next((benchmark_file.parent / "data" / "flow").glob("s01/u_test/0/*.png"))
    cv2.imwrite(str(file), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match="expected a 28x28 RGB PNG"):
        read_flow_images(benchmark_file.parent / "data" / "flow")
    file.write_bytes(b"")
    with pytest.raises(UserError, match="no image"):
        read_flow_images(benchmark_file.parent / "data" / "flow")
