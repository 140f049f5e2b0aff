"""Flow images in STSTNet's layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm import facs
from deft_llm.data.flow_images import audit_flow_images, clip_name, read_flow_images
from deft_llm.data.labelled import labelled, three_class
from deft_llm.errors import UserError


def write_image(root: Path, subject: str, part: str, label: int, name: str, seed: int) -> Path:
    path = root / subject / part / str(label) / f"{name} .png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (28, 28, 3)).astype(np.uint8)
    image[..., 2] = seed  # file channel R
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    root = tmp_path / "flow"
    write_image(root, "s01", "u_test", 0, "s01_s1_ne_01", 1)
    write_image(root, "s01", "u_test", 1, "s01_s1_po_01", 2)
    write_image(root, "006", "u_test", 2, "006_006_1_2", 3)
    write_image(root, "sub03", "u_test", 2, "sub03_EP01_2", 4)
    return root


def test_flow_images(flow: Path) -> None:
    images = read_flow_images(flow)
    assert images.clips.tolist() == ["006_1_2", "s01_s1_ne_01", "s01_s1_po_01", "sub03_EP01_2"]
    assert images.datasets.tolist() == ["SAMM", "SMIC", "SMIC", "CASME II"]
    assert labelled(images, facs.THREE_CLASSES, three_class).labels.tolist() == [2, 0, 1, 2]
    assert images.stack("flow_image")[:, 0, 0, 0].tolist() == [3, 1, 2, 4]  # u is the file's R
    assert [record.emotion for record in images.records] == [
        *("surprise", "negative", "positive", "surprise")
    ]
    assert len(audit_flow_images(flow)) == 0


def test_training_copies_are_found(flow: Path) -> None:
    def copy(owner: str, label: int, name: str, fold: str) -> None:
        target = flow / fold / "u_train" / str(label) / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(flow / owner / "u_test" / str(label) / f"{name} .png", target)

    copy("006", 2, "006_006_1_2", "s01")
    copy("sub03", 2, "sub03_EP01_2", "s01")
    copy("s01", 0, "s01_s1_ne_01", "s01")  # the fold's own test image
    write_image(flow, "006", "u_train", 0, "unknown", 9)
    assert len(read_flow_images(flow)) == 4
    notes = {(n.file, n.what.split(" ")[0]): n for n in audit_flow_images(flow)}
    assert "2 of 3" in notes["s01/u_train", "2"].what
    assert "leak" in notes["s01/u_train", "1"].why
    assert "nobody's" in notes["006/u_train", "1"].what
    assert len(notes) == 3


def test_equal_images_and_empty_subjects_are_noted(flow: Path) -> None:
    source = flow / "s01" / "u_test" / "0" / "s01_s1_ne_01 .png"
    shutil.copy(source, source.with_name("s01_s1_ne_02.png"))
    (flow / "s05" / "u_test").mkdir(parents=True)
    what = [n.what for n in audit_flow_images(flow)]
    assert what == ["s01_s1_ne_01 = s01_s1_ne_02", "no image in u_test"]


def test_bad_flow_images(flow: Path) -> None:
    with pytest.raises(UserError, match="u_test"):
        read_flow_images(flow / "nowhere")
    write_image(flow, "006", "u_test", 7, "006_006_9_9", 5)
    with pytest.raises(UserError, match="class folder '7'"):
        read_flow_images(flow)
    shutil.rmtree(flow / "006" / "u_test" / "7")
    (flow / "006" / "u_test" / "2" / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.png: no image"):
        read_flow_images(flow)


def test_published_flow(real: Path) -> None:
    images = read_flow_images(real / "megc2019_flow")
    assert len(images) == 297 and len(set(images.subjects.tolist())) == 44
    smic = images.datasets == "SMIC"
    labels = labelled(images, facs.THREE_CLASSES, three_class).labels
    assert np.bincount(labels[smic]).tolist() == [70, 51, 43]
    assert np.bincount(labels[~smic]).tolist() == [92, 26, 15]
    assert len(audit_flow_images(real / "megc2019_flow")) == 0


def test_names_repeat_the_subject() -> None:
    assert clip_name("s11_s11_sur_01 ", "s11") == "s11_sur_01"
    assert clip_name("006_006_1_2 ", "006") == "006_1_2"
