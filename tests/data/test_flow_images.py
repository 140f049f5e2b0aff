"""Flow images in STSTNet's layout, and tracks in OpenFace's and py-feat's columns."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deft_llm import facs
from deft_llm.corpora.tracks import read_track
from deft_llm.data.flow_images import audit, clip_name, read_flow_images
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
    assert len(audit(flow)) == 0


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
    said = {(n.file, n.what.split(" ")[0]): n for n in audit(flow)}
    assert "2 of 3" in said["s01/u_train", "2"].what
    assert "leak" in said["s01/u_train", "1"].why
    assert "nobody's" in said["006/u_train", "1"].what
    assert len(said) == 3


def test_equal_images_and_empty_subjects_are_noted(flow: Path) -> None:
    source = flow / "s01" / "u_test" / "0" / "s01_s1_ne_01 .png"
    shutil.copy(source, source.with_name("s01_s1_ne_02.png"))
    (flow / "s05" / "u_test").mkdir(parents=True)
    what = [n.what for n in audit(flow)]
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
    assert len(audit(real / "megc2019_flow")) == 0


def test_names_repeat_the_subject() -> None:
    assert clip_name("s11_s11_sur_01 ", "s11") == "s11_sur_01"
    assert clip_name("006_006_1_2 ", "006") == "006_1_2"


def columns(prefix: str, faces: int) -> dict[str, list[float]]:
    found = {}
    for i in range(68):
        found[f"{prefix}x_{i}"] = [100.0 * f + i for f in range(faces)]
        found[f"{prefix}y_{i}"] = [100.0 * f + 2 * i for f in range(faces)]
    return found


def test_openface(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "frame": [1, 2, 2, 3],
            " face_id": [0, 0, 1, 0],
            " timestamp": [0.0, 0.01, 0.01, 0.02],
            " confidence": [0.98, 0.97, 0.9, 0.1],
            " success": [1, 1, 1, 0],
            **columns(" ", 4),
            " AU12_r": [0.0, 2.5, 5.0, 0.0],
            " AU12_c": [0, 1, 1, 0],
        }
    )
    table.to_csv(tmp_path / "clip.csv", index=False)
    track = read_track(tmp_path / "clip.csv")
    assert track.tool == "openface" and track.frames.tolist() == [0, 1, 2]
    assert track.landmarks[1, 5].tolist() == [105.0, 110.0]  # the other face is left out
    assert track.present.tolist() == [True, True, False] and np.isnan(track.landmarks[2]).all()
    assert track.intensity[12].tolist() == [0.0, 2.5, 0.0]
    assert track.presence[12].tolist() == [0.0, 1.0, 0.0]
    assert track.timestamps.tolist() == [0.0, 0.01, 0.02]


def test_py_feat(tmp_path: Path) -> None:
    scores = {"frame": [0, 1, 1, 4], "FaceScore": [0.9, 0.5, 0.8, np.nan]}
    table = pd.DataFrame({**scores, **columns("", 4), "AU01": [0.1, 0.2, 0.7, np.nan]})
    table.to_csv(tmp_path / "fex.csv", index=False)
    track = read_track(tmp_path / "fex.csv")
    assert track.tool == "py-feat" and track.frames.tolist() == [0, 1, 4]
    assert track.landmarks[1, 0].tolist() == [200.0, 200.0]  # the surer of two faces
    assert track.present.tolist() == [True, True, False]
    assert track.presence[1][:2].tolist() == pytest.approx([0.1, 0.7]) and not track.intensity


def test_bad_tracks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_track(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("frame,x_0\n1,2\n")
    with pytest.raises(UserError, match="no column 'x_1'"):
        read_track(tmp_path / "other.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="not readable as CSV"):
        read_track(tmp_path / "empty.csv")
